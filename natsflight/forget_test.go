package natsflight

import (
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// newPair returns two processes of a fleet, of which the first is behind a proxy.
func newPair(t *testing.T, broken breakage, c Config) *pair {
	e := startServer(t)
	proxy := startProxy(t, e.nodes[0].url)
	nc1, js1 := connect(t, proxy.url())
	nc2, js2 := connect(t, e.urls()...)
	return &pair{t, proxy, broken, c, nc1, nc2, newGroup(t, js1, c), newGroup(t, js2, c), newGate(t, "first"), newGate(t, "second")}
}

// A leader that is cut off while its flight is forgotten comes back as if nothing had
// happened. Later calls do not join its flight.
func TestForgetWhileTheLeaderIsCutOff(t *testing.T) {
	p := newPair(t, cut, Config{})
	first := p.lead1()
	p.forgetCutOff()
	assert.Equal(t, result{"later", nil, false}, receive(t, do(t.Context(), p.g2, "key", returning("later"))))
	p.f1.open()
	receive(t, first)
}

// Calls in the leader's own process do not join its flight, either: neither while they cannot
// ask the stream nor afterwards.
func TestForgetReachesTheCutOffProcess(t *testing.T) {
	p := newPair(t, cut, Config{})
	first := p.lead1()
	p.breakNow()
	require.NoError(t, p.g2.Forget(t.Context(), "key"))
	assert.Equal(t, result{"offline", nil, false}, receive(t, do(t.Context(), p.g1, "key", returning("offline"))))
	p.heal()
	eventually(t, "a call of the process leads", func() bool { return ledToken(t, p.g1, "key") != 0 })
	p.f1.open()
	receive(t, first)
}

// It learns of it by its next renewal. Nothing is lost: its callers get its result.
func TestCutOffLeaderLearnsThatItIsForgotten(t *testing.T) {
	p := newPair(t, cut, Config{Lease: 3 * time.Second, ResultLife: time.Minute})
	first := p.lead1()
	p.forgetCutOff()
	eventually(t, "the leader learns of it", func() (learned bool) {
		p.g1.leading.Range(func(_, f any) bool {
			learned = f.(*flight).forgotten.Load()
			return true
		})
		return learned
	})
	p.f1.open()
	assert.Equal(t, result{p.f1.value(1), nil, false}, receive(t, first))
	assert.Empty(t, p.f1.ended)
}

// forgetCutOff forgets the flight of the first process while that is cut off.
func (p *pair) forgetCutOff() {
	p.breakNow()
	require.NoError(p.t, p.g2.Forget(p.t.Context(), "key"))
	p.heal()
	eventually(p.t, "the leader is back", func() bool {
		state, _ := p.g2.engine.ask(p.t.Context(), record{leader: p.g1.inbox}, askState)
		return state == unknown
	})
}

// outdated makes the next question of g for a key's last record be answered by a node that
// knows of none.
func outdated(t *testing.T, g *Group) {
	t.Helper()
	conn := g.engine.js.Conn()
	js, err := jetstream.NewWithAPIPrefix(conn, "node")
	require.NoError(t, err)
	asked := false
	node, err := conn.Subscribe("node.>", func(m *nats.Msg) {
		if _, api, _ := strings.Cut(m.Subject, "."); asked || !strings.HasPrefix(api, "STREAM.MSG.GET.") {
			assert.NoError(t, conn.PublishRequest(jetstream.DefaultAPIPrefix+api, m.Reply, m.Data))
			return
		}
		asked = true
		assert.NoError(t, m.Respond([]byte(`{"error":{"code":404,"err_code":10037}}`)))
	})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, node.Unsubscribe()) })
	g.engine.js = js
}

// Forget does not believe a node that knows of no flight.
func TestForgetDoesNotTrustARead(t *testing.T) {
	f := startFleet(t)
	g := newGate(t, "leader")
	first := do(t.Context(), f.a, "key", g.fn)
	receive(t, g.led)
	outdated(t, f.b)
	require.NoError(t, f.b.Forget(t.Context(), "key"))
	assert.Equal(t, result{"later", nil, false}, receive(t, do(t.Context(), f.a, "key", returning("later"))))
	g.open()
	assert.Equal(t, g.value(1), receive(t, first).v)
}

// A result that Forget finds in the stream stays there for waiters that have missed it.
func TestForgetKeepsTheResult(t *testing.T) {
	f := newFleet(t, startServer(t), Config{ResultLife: time.Minute})
	receive(t, do(t.Context(), f.a, "key", returning("value")))
	f.a.tasks.Wait() // for the landing
	before, err := f.b.engine.last(t.Context(), hashOf("key"))
	require.NoError(t, err)
	require.NoError(t, f.b.Forget(t.Context(), "key"))
	after, err := f.b.engine.last(t.Context(), hashOf("key"))
	require.NoError(t, err)
	assert.Greater(t, after.seq, before.seq, "an accepted publish has proved that no flight is in progress")
	before.seq = after.seq
	assert.Equal(t, before, after)
	assert.Equal(t, result{"next", nil, false}, receive(t, do(t.Context(), f.a, "key", returning("next"))))
}

// A leader takes a record for its own only if it has this id and kind. It tells that its
// flight has been forgotten from the loss of its lease.
func TestLeaderKnowsItsOwnRecords(t *testing.T) {
	g := startFleet(t).a
	for name, test := range map[string]struct {
		replace   func(do record) record
		want      error
		forgotten bool
	}{
		"own value":       {func(r record) record { return value(&flight{call: &call{group: g}, do: r}, "value") }, nil, false},
		"another's end":   {func(r record) record { r.kind = kindGone; return r }, errRefused, false},
		"forgotten":       {func(r record) record { return r.forgotten() }, errRefused, true},
		"other forgotten": {func(r record) record { r.id = "other"; return r.forgotten() }, errRefused, false},
	} {
		c := &call{group: g, key: name, hash: hashOf(name)}
		f := c.newFlight(t.Context())
		seq, _, err := g.engine.publish(t.Context(), c.hash, f.do, 0, g.config.Lease)
		require.NoError(t, err)
		_, _, err = g.engine.publish(t.Context(), c.hash, test.replace(f.do), seq, g.config.Lease)
		require.NoError(t, err)
		l := &lease{flight: f, seq: seq}
		_, err = l.publish(t.Context(), value(f, "value"), g.config.ResultLife)
		assert.Equal(t, test.want, err, name)
		assert.Equal(t, test.forgotten, f.forgotten.Load(), name)
		g.leading.Delete(f.do.id)
	}
}
