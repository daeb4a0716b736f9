package natsflight

import (
	"context"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A node whose disk is full answers questions for the stream, mostly before the node that
// leads it does. They are asked again. Such a node is played by a subscriber that stands
// before the API.
func TestNodeWithAFullDisk(t *testing.T) {
	e := startServer(t)
	node, direct := connect(t, e.urls()...)
	var asked atomic.Int32
	_, err := node.Subscribe("near.>", func(m *nats.Msg) {
		if asked.Add(1)%4 != 0 {
			_ = m.Respond([]byte(`{"type":"io.nats.jetstream.api.v1.stream_msg_get_response",` +
				`"error":{"code":503,"err_code":10008,"description":"JetStream system temporarily unavailable"}}`))
			return
		}
		_ = node.PublishRequest("$JS.API"+strings.TrimPrefix(m.Subject, "near"), m.Reply, m.Data)
	})
	require.NoError(t, err)
	require.NoError(t, node.Flush())
	nc, _ := connect(t, e.urls()...)
	js, err := jetstream.NewWithAPIPrefix(nc, "near")
	require.NoError(t, err)
	f := fleet{a: newGroup(t, direct, Config{}), b: newGroup(t, js, Config{}), nc: nc}
	for _, key := range []string{"1", "2", "3"} {
		held, first := lead(t, f.a, key, key)
		before := nc.Stats().OutMsgs
		second := do(t.Context(), f.b, key, returning("other"))
		awaitSent(t, nc, before+messagesOfWaiter+3)
		held.open()
		want := result{held.value(1), nil, true}
		assert.Equal(t, want, receive(t, first))
		assert.Equal(t, want, receive(t, second))
	}
}

// The connection is made anew while a do record is on its way. The call tries again, and
// leads.
func TestReconnectDoesNotFailCalls(t *testing.T) {
	e := startServer(t)
	proxy := startProxy(t, e.nodes[0].url)
	nc, js := connect(t, proxy.url())
	g := newGroup(t, js, Config{})
	eventually(t, "a call leads, although its first message was lost", func() bool {
		fn := newGate(t, "key")
		fn.open()
		proxy.set(silent)
		returned := do(t.Context(), g, "key", fn.fn)
		eventually(t, "the message is on its way", proxy.holds)
		proxy.set(cut)
		eventually(t, "the connection is broken", func() bool { return !nc.IsConnected() })
		proxy.set(intact)
		receive(t, returned)
		eventually(t, "the connection is made anew", nc.IsConnected)
		return receive(t, fn.led) != 0
	})
}

// A failing is an engine that does not answer for one key.
type failing struct {
	jetstream.JetStream
	key string
}

func (f failing) PublishMsg(ctx context.Context, m *nats.Msg, opts ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	if strings.HasSuffix(m.Subject, hashOf(f.key)) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return f.JetStream.PublishMsg(ctx, m, opts...)
}

// A flaky is an engine that refuses one publish.
type flaky struct {
	jetstream.JetStream
	publishes atomic.Int64
	refused   int64 // the one; the first is 1
	with      error
}

func (f *flaky) PublishMsg(ctx context.Context, m *nats.Msg, opts ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	if f.publishes.Add(1) == f.refused {
		return nil, f.with
	}
	return f.JetStream.PublishMsg(ctx, m, opts...)
}

// An error that says nothing of the record does not end the attempt.
func TestPublishThatFailsIsRepeated(t *testing.T) {
	sick := &jetstream.APIError{Code: 503, ErrorCode: errCodeClusterNotAvailable}
	for name, js := range map[string]*flaky{
		"do, no room in the client":  {refused: 1, with: nats.ErrReconnectBufExceeded},
		"do, by a sick node":         {refused: 1, with: sick},
		"landing, by a sick node":    {refused: 2, with: sick},
		"landing, no room in client": {refused: 2, with: nats.ErrReconnectBufExceeded},
	} {
		t.Run(name, func(t *testing.T) {
			g := startFleet(t).a
			js.JetStream = g.engine.js
			g.engine.js = js
			assert.NotZero(t, ledToken(t, g, "key"))
			eventually(t, "the result is stored", func() bool {
				last, err := g.engine.last(t.Context(), hashOf("key"))
				return err == nil && last.kind == kindValue
			})
		})
	}
}

// That the engine has not answered one call is no outage for the others.
func TestOneFailureIsNoOutage(t *testing.T) {
	g := startFleet(t).a
	g.engine.js = failing{g.engine.js, "unlucky"}
	for range 3 {
		assert.Zero(t, ledToken(t, g, "unlucky"))
		assert.NotZero(t, ledToken(t, g, "key"))
	}
}

// A store that was not synced loses its last records with the power. Tokens go on growing.
func TestStoreLosesRecords(t *testing.T) {
	e := startServer(t)
	_, js := connect(t, e.urls()...)
	g := newGroup(t, js, Config{})
	ledToken(t, g, "key")
	g.tasks.Wait()
	store, before := e.nodes[0].StoreDir, t.TempDir()
	e.kill(0)
	require.NoError(t, os.CopyFS(before, os.DirFS(store)))
	e.restart(0)
	leads := func() (token uint64) {
		eventually(t, "a call leads", func() bool { token = ledToken(t, g, "key"); return token != 0 })
		return token
	}
	newest := leads()
	for range 20 {
		newest = max(newest, leads())
	}
	g.tasks.Wait()
	e.kill(0)
	require.NoError(t, os.RemoveAll(store))
	require.NoError(t, os.CopyFS(store, os.DirFS(before)))
	e.restart(0)
	assert.Greater(t, leads(), newest)
}

// Someone makes the stream anew, and its sequence begins before the tokens that a process
// has seen, by far. The process says so, and does not lead. One that has seen none does.
func TestStreamGoesBack(t *testing.T) {
	e := startServer(t)
	_, js := connect(t, e.urls()...)
	g := newGroup(t, js, Config{OnOutage: Fail})
	assert.NotZero(t, ledToken(t, g, "key"))
	g.tasks.Wait()
	require.NoError(t, js.DeleteStream(t.Context(), streamOf(t)))
	c := byHand(t, streamOf(t), 1)
	c.FirstSeq = 1
	_, err := js.CreateStream(t.Context(), c)
	require.NoError(t, err)
	eventually(t, "the process says what is wrong", func() bool {
		got := receive(t, do(t.Context(), g, "key", returning("value")))
		require.ErrorIs(t, got.err, ErrUnavailable)
		return strings.Contains(got.err.Error(), "it must not go back")
	})
	assert.NotZero(t, ledToken(t, newGroup(t, js, Config{}), "key"))
}

// A purge takes the leases of the flights in progress.
func TestPurge(t *testing.T) {
	f := newFleet(t, startServer(t), Config{Lease: time.Second})
	fn := newGate(t, "purged")
	first := do(t.Context(), f.a, "key", fn.fn)
	token := receive(t, fn.led)
	s, err := f.b.engine.js.Stream(t.Context(), f.b.config.Stream)
	require.NoError(t, err)
	require.NoError(t, s.Purge(t.Context()))
	assert.Equal(t, ErrLeaseLost, receive(t, fn.ended))
	fn.open()
	assert.Equal(t, fn.value(2), receive(t, first).v)
	assert.Greater(t, receive(t, fn.led), token)
}

// The operator lowers max_payload while a function runs. Its result is too large then, for
// all callers, and no one waits.
func TestMaxPayloadIsLowered(t *testing.T) {
	e := startServer(t)
	f := newFleet(t, e, Config{Lease: long})
	unblock := make(chan struct{})
	began := make(chan struct{}, 10)
	fn := func(context.Context, uint64) ([]byte, error) {
		began <- struct{}{}
		<-unblock
		return make([]byte, 100<<10), nil
	}
	first := do(t.Context(), f.a, "key", fn)
	receive(t, began)
	second := f.join(t, "key", fn)
	e.nodes[0].process.tell("max_payload 65536")
	e.nodes[0].process.await("max_payload 65536")
	conn := f.a.engine.js.Conn()
	require.NoError(t, conn.ForceReconnect())
	eventually(t, "the process knows", func() bool { return conn.IsConnected() && conn.MaxPayload() == 64<<10 })
	opened := time.Now()
	close(unblock)
	want := &TooLargeError{100 << 10, 64<<10 - headroom}
	assert.Equal(t, want, receive(t, first).err)
	assert.Equal(t, want, receive(t, second).err)
	assert.Less(t, time.Since(opened), long/2)
}

// A result that the connection does not take is given up at once.
func TestResultIsTooLargeForTheConnection(t *testing.T) {
	g := newFleet(t, startServer(t), Config{Lease: long}).a
	c := &call{group: g, key: "key", hash: hashOf("key")}
	f := c.newFlight(t.Context())
	seq, _, err := g.engine.publish(t.Context(), c.hash, f.do, 0, g.config.Lease)
	require.NoError(t, err)
	r := f.do
	r.kind, r.data = kindValue, make([]byte, 2<<20)
	began := time.Now()
	f.hold(seq, began).land(r)
	g.tasks.Wait()
	assert.Less(t, time.Since(began), long/2)
}
