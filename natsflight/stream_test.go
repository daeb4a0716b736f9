package natsflight

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// byHand returns the configuration of a stream that an operator makes by the line in
// README.md.
func byHand(t *testing.T, name string, replicas int) (c jetstream.StreamConfig) {
	t.Helper()
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	line := regexp.MustCompile(`STREAM\.CREATE\.reports' '(.*)'\$\(date \+%s\)(000000)'(.*)'\n`).FindSubmatch(readme)
	require.NotNil(t, line, "README.md has the line")
	text := fmt.Sprintf("%s%d%s%s", line[1], time.Now().Unix(), line[2], line[3])
	require.NoError(t, json.Unmarshal([]byte(strings.ReplaceAll(text, "reports", name)), &c))
	c.Replicas = replicas
	return c
}

// update changes the stream as an operator does.
func update(t *testing.T, js jetstream.JetStream, c jetstream.StreamConfig) {
	t.Helper()
	_, err := js.UpdateStream(t.Context(), c)
	require.NoError(t, err)
}

// New refuses a stream that drops or refuses records of flights in progress, or that its
// waiters do not hear of.
func TestNewRefusesAnUnfitStream(t *testing.T) {
	e := startServer(t)
	_, js := connect(t, e.urls()...)
	for field, spoil := range map[string]func(c *jetstream.StreamConfig){
		"":                     func(*jetstream.StreamConfig) {},
		"Subjects":             func(c *jetstream.StreamConfig) { c.Subjects, c.RePublish = []string{c.Name + ".x"}, nil },
		"Retention":            func(c *jetstream.StreamConfig) { c.Retention = jetstream.InterestPolicy },
		"Discard":              func(c *jetstream.StreamConfig) { c.Discard, c.MaxBytes = jetstream.DiscardOld, 1<<20 },
		"DiscardNewPerSubject": func(c *jetstream.StreamConfig) { c.DiscardNewPerSubject = true },
		"MaxMsgs":              func(c *jetstream.StreamConfig) { c.MaxMsgs = 1000 },
		"MaxAge":               func(c *jetstream.StreamConfig) { c.MaxAge, c.Duplicates = 9*time.Second, time.Second },
		"MaxMsgSize":           func(c *jetstream.StreamConfig) { c.MaxMsgSize = 1000 },
		"MaxMsgsPerSubject":    func(c *jetstream.StreamConfig) { c.MaxMsgsPerSubject = 2 },
		"AllowMsgTTL":          func(c *jetstream.StreamConfig) { c.AllowMsgTTL = false },
		"RePublish":            func(c *jetstream.StreamConfig) { c.RePublish.HeadersOnly = true },
		"NoAck":                func(c *jetstream.StreamConfig) { c.NoAck = true },
	} {
		c := byHand(t, "stream"+field, 1)
		spoil(&c)
		_, err := js.CreateStream(t.Context(), c)
		require.NoError(t, err, field)
		g, err := open(js, Config{Stream: c.Name})
		if field == "" {
			require.NoError(t, err)
			assert.NotZero(t, ledToken(t, g, "key"))
			closeGroup(t, g)
		} else if assert.ErrorContains(t, err, " has "+field+" ") {
			assert.ErrorContains(t, err, ": it must ")
		} else {
			closeGroup(t, g)
		}
		require.NoError(t, js.DeleteStream(t.Context(), c.Name)) // the server has no room for all
	}
}

// ledToken makes a call that nobody else makes, and returns the token that its fn gets.
func ledToken(t *testing.T, g *Group, key string) uint64 {
	t.Helper()
	fn := newGate(t, key)
	fn.open()
	receive(t, do(t.Context(), g, key, fn.fn))
	return receive(t, fn.led)
}

// An operator may change what a running Group can live with. What it cannot live with is
// the cause of ErrUnavailable, until it is changed back.
func TestOperatorChangesTheStream(t *testing.T) {
	e := startServer(t)
	_, js := connect(t, e.urls()...)
	g := newGroup(t, js, Config{OnOutage: Fail})
	s, err := js.Stream(t.Context(), streamOf(t))
	require.NoError(t, err)
	good := s.CachedInfo().Config
	good.Description = "ours"
	good.Metadata = map[string]string{"team": "reports"}
	good.Subjects = append(good.Subjects, "reports.other")
	good.AllowDirect = true
	good.DenyDelete = true
	good.Duplicates = time.Second
	good.MaxBytes, good.Discard = 1<<30, jetstream.DiscardNew
	good.MaxAge = time.Hour
	update(t, js, good)
	hiccup := func() { g.trip() } // after that, the Group looks at the stream again
	hiccup()
	eventually(t, "the Group goes on", func() bool { return receive(t, do(t.Context(), g, "key", returning("value"))).err == nil })
	other := newGroup(t, js, Config{}) // another process, or this one after a restart
	assert.NotZero(t, ledToken(t, other, "key"))

	bad := good
	bad.MaxAge = 9 * time.Second
	update(t, js, bad)
	eventually(t, "the Group says what is wrong", func() bool {
		got := receive(t, do(t.Context(), g, "key", returning("value")))
		return errors.Is(got.err, ErrUnavailable) && strings.Contains(got.err.Error(), "has MaxAge 9s: it must be ")
	})
	update(t, js, good)
	eventually(t, "the Group goes on", func() bool { return receive(t, do(t.Context(), g, "key", returning("value"))).err == nil })
}

// Some accounts require that each stream has a limit.
func TestAccountRequiresALimit(t *testing.T) {
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoLog: true, NoSigs: true,
	})
	require.NoError(t, err)
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	require.NoError(t, s.GlobalAccount().UpdateJetStreamLimits(map[string]server.JetStreamAccountLimits{
		"": {MaxMemory: -1, MaxStore: 1 << 30, MaxStreams: -1, MaxConsumers: -1, MaxBytesRequired: true},
	}))
	_, js := connect(t, s.ClientURL())
	began := time.Now()
	_, err = open(js, Config{Stream: "flights"})
	assert.EqualError(t, err, "natsflight: stream flights cannot be created: set Config.MaxBytes, which the account requires")
	assert.Less(t, time.Since(began), 2*attempt)

	g := newGroup(t, js, Config{Stream: "flights", MaxBytes: 1 << 28})
	assert.NotZero(t, ledToken(t, g, "key"))
	stream, err := js.Stream(t.Context(), "flights")
	require.NoError(t, err)
	assert.EqualValues(t, 1<<28, stream.CachedInfo().Config.MaxBytes)
	assert.Equal(t, jetstream.DiscardNew, stream.CachedInfo().Config.Discard)
}

// withLimitedStream runs test on one node, and on three, with a stream that has a limit.
func withLimitedStream(t *testing.T, test func(t *testing.T, e *servers, js jetstream.JetStream, c jetstream.StreamConfig)) {
	for _, nodes := range []int{1, 3} {
		t.Run(fmt.Sprintf("%d nodes", nodes), func(t *testing.T) {
			if nodes > 1 && testing.Short() {
				t.Skip("starts a cluster")
			}
			e := startServers(t, nodes)
			_, js := connect(t, e.urls()...)
			c := byHand(t, streamOf(t), nodes)
			c.MaxBytes = 64 << 10
			e.awaitStream(js, c)
			test(t, e, js, c)
		})
	}
}

// A stream that others have filled up refuses all records. Callers are told so, and the
// process goes on working with the engine: when there is room again, calls lead again.
func TestBrimfulStream(t *testing.T) {
	withLimitedStream(t, func(t *testing.T, e *servers, js jetstream.JetStream, c jetstream.StreamConfig) {
		f := newFleet(t, e, Config{Replicas: c.Replicas, OnOutage: Fail})
		held, returned := lead(t, f.a, "held", "held")
		for i, size := 0, 1<<13; size > 0; i++ {
			if _, err := js.Publish(t.Context(), fmt.Sprint(c.Name, ".k.", i), make([]byte, size)); err != nil {
				require.True(t, full(err), err)
				size /= 2
			}
		}
		for range 3 {
			began := time.Now()
			got := receive(t, do(t.Context(), f.b, "key", returning("value")))
			assert.ErrorIs(t, got.err, ErrUnavailable)
			assert.ErrorContains(t, got.err, "the stream is full")
			assert.Less(t, time.Since(began), 2*attempt)
		}
		assert.Nil(t, f.b.down.Load())
		second := f.join(t, "held", returning("other"))
		held.open()
		want := result{held.value(1), nil, true}
		assert.Equal(t, want, receive(t, returned))
		assert.Equal(t, want, receive(t, second))
		newGroup(t, js, Config{Stream: c.Name})

		s, err := js.Stream(t.Context(), c.Name)
		require.NoError(t, err)
		require.NoError(t, s.Purge(t.Context()))
		assert.NotZero(t, ledToken(t, f.b, "key"), "there is room again")
	})
}

// When the stream is nearly full, no new flight begins, and callers are told so, soon.
// Those that are in progress keep their leases, can be joined, and land.
func TestFullStream(t *testing.T) {
	withLimitedStream(t, func(t *testing.T, e *servers, js jetstream.JetStream, c jetstream.StreamConfig) {
		f := newFleet(t, e, Config{
			Replicas: c.Replicas, OnOutage: Fail, Lease: 3 * time.Second, ResultLife: time.Minute, MaxResult: 1000,
		})
		held, returned := lead(t, f.a, "held", "held")
		last := func() uint64 {
			r, err := f.a.engine.last(t.Context(), hashOf("held"))
			require.NoError(t, err)
			require.Equal(t, kindDo, r.kind)
			return r.seq
		}

		refusals, landed := 0, 0
		fill := func() {
			began := time.Now()
			got := receive(t, do(t.Context(), f.b, fmt.Sprint(landed), returning(strings.Repeat("x", 500))))
			if got.err == nil {
				landed++
				return
			}
			refusals++
			assert.ErrorIs(t, got.err, ErrUnavailable)
			assert.ErrorContains(t, got.err, "full")
			assert.Less(t, time.Since(began), 2*attempt)
		}
		for refusals < 3 {
			fill()
			require.Less(t, landed, 150, "more than fit into the stream")
		}
		assert.Greater(t, landed, 20)
		for range 4 {
			before := last()
			eventually(t, "the lease is renewed", func() bool { fill(); return last() > before })
		}
		assert.Empty(t, held.ended, "the lease is held")
		second := f.join(t, "held", returning("other"))
		held.open()
		want := result{held.value(1), nil, true}
		assert.Equal(t, want, receive(t, returned))
		assert.Equal(t, want, receive(t, second))
		f.a.tasks.Wait()
		stored, err := f.a.engine.last(t.Context(), hashOf("held"))
		require.NoError(t, err)
		assert.Equal(t, held.value(1), string(stored.data), "the result is stored")

		s, err := js.Stream(t.Context(), c.Name)
		require.NoError(t, err)
		require.NoError(t, s.Purge(t.Context()))
		assert.NotZero(t, ledToken(t, f.b, "anew"), "there is room again")
	})
}

// A measured is an engine of which the questions for the stream wait until they may go on.
type measured struct {
	jetstream.JetStream
	asked atomic.Int32
	may   chan struct{}
}

func (m *measured) Stream(ctx context.Context, name string) (jetstream.Stream, error) {
	m.asked.Add(1)
	<-m.may
	return m.JetStream.Stream(context.WithoutCancel(ctx), name)
}

// Calls that find the stream nearly full at the same time ask once how full it is.
func TestOneMeasureForAll(t *testing.T) {
	const calls = 20
	g := startFleet(t).a
	m := &measured{JetStream: g.engine.js, may: make(chan struct{})}
	g.engine.js = m
	g.engine.limit.Store(100)
	g.engine.used.Store(100)
	var returned []<-chan result
	for i := range calls {
		returned = append(returned, do(t.Context(), g, fmt.Sprint(i), returning("value")))
	}
	eventually(t, "all calls wait for the answer", func() bool {
		in := g.engine.measures.InFlight()
		return len(in) == 1 && in[0].Callers == calls
	})
	close(m.may)
	for _, r := range returned {
		assert.Equal(t, result{"value", nil, false}, receive(t, r))
	}
	assert.EqualValues(t, 1, m.asked.Load())
}

// An unmeasured is an engine that does not say how full the stream is.
type unmeasured struct{ jetstream.JetStream }

func (unmeasured) Stream(context.Context, string) (jetstream.Stream, error) {
	return nil, errors.New("no answer")
}

// A call whose do record was not sent leaves the last result where waiters may find it.
func TestUnsentDoLeavesTheResult(t *testing.T) {
	g := newFleet(t, startServer(t), Config{ResultLife: time.Minute}).a
	assert.NotZero(t, ledToken(t, g, "key"))
	g.tasks.Wait()
	g.engine.limit.Store(100)
	g.engine.used.Store(100)
	g.engine.js = unmeasured{g.engine.js}
	assert.Zero(t, ledToken(t, g, "key"))
	require.NoError(t, g.Close(t.Context()))
	last, err := g.engine.last(t.Context(), hashOf("key"))
	require.NoError(t, err)
	assert.Equal(t, kindValue, last.kind)
}
