package natsflight

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A node of three is killed while calls are made, over connections to that node and to
// another one. All calls return, and the Groups soon share flights again.
func TestKilledNode(t *testing.T) {
	if testing.Short() {
		t.Skip("an election takes seconds")
	}
	e := startCluster(t)
	for _, test := range []struct {
		name  string
		leads bool // the killed node leads the stream
	}{
		{"follower", false},
		{"leader", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, watching := connect(t, e.urls()...)
			c := Config{Replicas: 3}
			newGroup(t, watching, c)
			e.awaitStream(watching, jetstream.StreamConfig{Name: streamOf(t)})
			victim := e.leader(watching, streamOf(t))
			if !test.leads {
				victim = (victim + 1) % 3
			}
			survivor := (victim + 1) % 3

			type member struct {
				nc *nats.Conn
				g  *Group
				c  Config
			}
			var members []member
			for _, node := range []int{victim, survivor} {
				for _, outage := range []Outage{RunLocally, Fail} {
					nc, js := connect(t, e.urls(node)...)
					require.Equal(t, e.nodes[node].url, nc.ConnectedUrl())
					c.OnOutage = outage
					members = append(members, member{nc, newGroup(t, js, c), c})
				}
			}
			rejoined := func() bool {
				for i, m := range members[1:] {
					if !share(t, members[i].g, m.g, m.nc, "shared") {
						return false
					}
				}
				return true
			}
			eventually(t, "flights are shared before", rejoined)

			stop := make(chan struct{})
			var calling sync.WaitGroup
			for i, m := range members {
				calling.Go(func() {
					counts, longest := map[string]int{}, time.Duration(0)
					for n := 0; ; n++ {
						select {
						case <-stop:
							t.Logf("%v, longest %v", counts, longest)
							assert.Less(t, longest, 5*attempt, "no call waits for the election")
							return
						default:
						}
						start, want := time.Now(), fmt.Sprint(i, n)
						select {
						case got := <-do(t.Context(), m.g, fmt.Sprint("own", i), returning(want)):
							longest = max(longest, time.Since(start))
							if m.c.OnOutage == Fail && got.err != nil {
								assert.ErrorIs(t, got.err, ErrUnavailable)
								counts["unavailable"]++
								break
							}
							assert.Equal(t, result{want, nil, false}, got)
							counts["good"]++
						case <-time.After(timeout):
							assert.Fail(t, "a call hangs")
							return
						}
					}
				})
			}
			killed := time.Now()
			e.kill(victim)
			eventually(t, "flights are shared again", rejoined)
			t.Log("shared again after", time.Since(killed))
			close(stop)
			calling.Wait()

			e.restart(victim)
			e.awaitStream(watching, jetstream.StreamConfig{Name: streamOf(t)})
			eventually(t, "flights are shared afterwards", rejoined)
		})
	}
}

// Without a quorum, the stream's leader takes a record and does not store it, and refuses
// the next ones at once. Calls notice that within about a second, and do not spin.
func TestQuorumIsLost(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a cluster")
	}
	e := startCluster(t)
	_, js := connect(t, e.urls()...)
	c := Config{Replicas: 3, OnOutage: Fail}
	newGroup(t, js, c)
	e.awaitStream(js, jetstream.StreamConfig{Name: streamOf(t)})
	leader := e.leader(js, streamOf(t))
	var groups []*Group
	for range 3 {
		_, js := connect(t, e.urls(leader)...)
		groups = append(groups, newGroup(t, js, c))
	}
	for i := range e.nodes {
		if i != leader {
			e.kill(i)
		}
	}
	var calling sync.WaitGroup
	for _, g := range groups {
		calling.Go(func() {
			start, before := time.Now(), g.engine.js.Conn().Stats().OutMsgs
			got := receive(t, do(t.Context(), g, "key", returning("value")))
			assert.ErrorIs(t, got.err, ErrUnavailable)
			assert.Less(t, time.Since(start), 5*attempt)
			assert.Less(t, g.engine.js.Conn().Stats().OutMsgs-before, uint64(1000))
		})
	}
	calling.Wait()
	for _, g := range groups {
		eventually(t, "the engine must take a record to count as reached", func() bool { return g.down.Load() != nil })
	}
}
