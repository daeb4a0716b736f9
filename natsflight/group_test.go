package natsflight

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/actorflight/singleflight"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A fleet is two Groups that share a stream, as two processes do. nc is b's connection.
type fleet struct {
	a, b *Group
	nc   *nats.Conn
}

func startFleet(t *testing.T) fleet { return newFleet(t, startServer(t), Config{}) }

// newFleet starts a fleet on the servers. c needs no Process.
func newFleet(t *testing.T, e *servers, c Config) fleet {
	t.Helper()
	_, js := connect(t, e.urls()...)
	nc, js2 := connect(t, e.urls()...)
	c.Process = "A"
	a := newGroup(t, js, c)
	c.Process = "B"
	return fleet{a: a, b: newGroup(t, js2, c), nc: nc}
}

// join makes a call of b, and returns when it waits for another flight.
func (f fleet) join(t *testing.T, key string, fn function) <-chan result {
	t.Helper()
	return awaitPings(t, f.nc, func() <-chan result { return do(t.Context(), f.b, key, fn) })
}

func TestOneRunsForAll(t *testing.T) {
	f := startFleet(t)
	var tokens []uint64
	for range 3 {
		led, idle := newGate(t, "leader"), newGate(t, "waiter")
		first := do(t.Context(), f.a, "key", led.fn)
		tokens = append(tokens, receive(t, led.led))
		second := f.join(t, "key", idle.fn)
		led.open()
		want := result{led.value(1), nil, true}
		assert.Equal(t, want, receive(t, first))
		assert.Equal(t, want, receive(t, second))
		assert.Zero(t, idle.runs.Load())
	}
	assert.Positive(t, tokens[0])
	assert.IsIncreasing(t, tokens)
}

func TestCallersOfAProcessShareACall(t *testing.T) {
	f := startFleet(t)
	g := newGate(t, "leader")
	first := do(t.Context(), f.a, "key", g.fn)
	receive(t, g.led)
	before := f.a.engine.js.Conn().Stats().OutMsgs
	var others []<-chan result
	for range 10 {
		others = append(others, do(t.Context(), f.a, "key", g.fn))
	}
	eventually(t, "the callers wait", func() bool {
		in := f.a.calls.InFlight()
		return len(in) == 1 && in[0].Callers == 11
	})
	assert.Equal(t, before, f.a.engine.js.Conn().Stats().OutMsgs, "callers that join in the leader's process send no message")
	g.open()
	for _, other := range append(others, first) {
		assert.Equal(t, result{g.value(1), nil, true}, receive(t, other))
	}
}

// What fn ends with reaches callers in its own process as it is, and others as text.
func TestFailuresTravelAsText(t *testing.T) {
	f := startFleet(t)
	failure := errors.New("no such user")
	for text, end := range map[string]func() error{
		"no such user":              func() error { return failure },
		"panic: no such page":       func() error { panic("no such page") },
		"runtime.Goexit was called": func() error { runtime.Goexit(); return nil },
	} {
		t.Run(text, func(t *testing.T) {
			began, unblock := make(chan struct{}), make(chan struct{})
			type ending struct {
				err      error
				panicked any
			}
			ended := make(chan ending, 1)
			go func() {
				var e ending
				defer func() {
					e.panicked = recover()
					ended <- e
				}()
				_, e.err, _ = f.a.Do(t.Context(), text, func(context.Context, uint64) ([]byte, error) {
					close(began)
					<-unblock
					return nil, end()
				})
			}()
			receive(t, began)
			second := f.join(t, text, returning("not run"))
			close(unblock)
			assert.Equal(t, result{"", &RemoteError{"A", text}, true}, receive(t, second))
			e := receive(t, ended)
			switch text {
			case "no such user":
				assert.Equal(t, failure, e.err)
			case "panic: no such page":
				assert.ErrorContains(t, e.panicked.(error), "no such page")
			default:
				assert.Equal(t, ending{}, e)
			}
		})
	}
}

func TestCallerLeaves(t *testing.T) {
	f := startFleet(t)
	g := newGate(t, "leader")
	first := do(t.Context(), f.a, "key", g.fn)
	receive(t, g.led)
	ctx, leave := context.WithCancel(t.Context())
	leaver := do(ctx, f.b, "key", g.fn)
	stayer := f.join(t, "key", g.fn)
	leave()
	assert.Equal(t, context.Canceled, receive(t, leaver).err)
	g.open()
	assert.Equal(t, result{g.value(1), nil, true}, receive(t, first))
	assert.Equal(t, result{g.value(1), nil, true}, receive(t, stayer))
}

// A call that begins after Forget begins a new flight, wherever it is made. Calls
// that have joined the forgotten flight get its result, although the stream has no
// record of it any more.
func TestForget(t *testing.T) {
	f := startFleet(t)
	old, anew := newGate(t, "old"), newGate(t, "new")
	first := do(t.Context(), f.a, "key", old.fn)
	receive(t, old.led)
	second := f.join(t, "key", old.fn)
	require.NoError(t, f.b.Forget(t.Context(), "key"))
	third := do(t.Context(), f.a, "key", anew.fn)
	receive(t, anew.led)
	fourth := f.join(t, "key", anew.fn)
	old.open()
	assert.Equal(t, result{old.value(1), nil, true}, receive(t, first))
	assert.Equal(t, result{old.value(1), nil, true}, receive(t, second))
	anew.open()
	assert.Equal(t, result{anew.value(1), nil, true}, receive(t, third))
	assert.Equal(t, result{anew.value(1), nil, true}, receive(t, fourth))

	assert.NoError(t, f.a.Forget(t.Context(), "key"), "no flight is in progress")
}

// A renewal is refused if a new flight has taken the key. A forgotten flight keeps its
// result anyway.
func TestForgottenFlightOutlivesItsLease(t *testing.T) {
	e := startServer(t)
	_, js := connect(t, e.urls()...)
	g := newGroup(t, js, Config{Lease: time.Second})
	old, anew := newGate(t, "old"), newGate(t, "new")
	first := do(t.Context(), g, "key", old.fn)
	receive(t, old.led)
	require.NoError(t, g.Forget(t.Context(), "key"))
	second := do(t.Context(), g, "key", anew.fn)
	token := receive(t, anew.led)
	eventually(t, "the new flight is renewed four times", func() bool {
		last, err := g.engine.last(t.Context(), hashOf("key"))
		return err == nil && last.seq >= token+4
	})
	old.open()
	assert.Equal(t, result{old.value(1), nil, false}, receive(t, first))
	assert.Empty(t, old.ended)
	anew.open()
	receive(t, second)
}

func TestForgetNeedsAnAnswer(t *testing.T) {
	f := startFleet(t)
	g := newGate(t, "leader")
	first := do(t.Context(), f.a, "key", g.fn)
	receive(t, g.led)
	// The leader's process is there, and does not answer.
	mute, err := f.a.engine.js.Conn().SubscribeSync(f.a.inbox)
	require.NoError(t, err)
	require.NoError(t, f.a.serving.Unsubscribe())
	require.NoError(t, f.a.engine.js.Conn().Flush())
	assert.ErrorIs(t, f.b.Forget(t.Context(), "key"), ErrUnavailable)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	assert.Equal(t, context.Canceled, f.b.Forget(ctx, "key"))
	// It is gone: there is nothing to forget.
	require.NoError(t, mute.Unsubscribe())
	require.NoError(t, f.a.engine.js.Conn().Flush())
	assert.NoError(t, f.b.Forget(t.Context(), "key"))
	g.open()
	receive(t, first)
}

// A call that fn makes for its own flight is refused, also if that flight is not the
// first that its call has had to do with, and if it runs without the engine.
func TestNestedCallIsRefused(t *testing.T) {
	e := startServer(t)
	f := newFleet(t, e, Config{})
	nests := func(g *Group) function {
		return func(ctx context.Context, _ uint64) ([]byte, error) {
			v, err, _ := g.Do(ctx, "key", returning("nested"))
			return v, err
		}
	}
	assert.Equal(t, singleflight.ErrDeadlock, receive(t, do(t.Context(), f.a, "key", nests(f.a))).err)

	assert.Equal(t, result{"nested", nil, false}, receive(t, do(t.Context(), f.a, "key", func(ctx context.Context, token uint64) ([]byte, error) {
		if err := f.a.Forget(ctx, "key"); err != nil {
			return nil, err
		}
		return nests(f.a)(ctx, token)
	})))

	// A call in another flight that outlives the one that began it does not wait for it.
	landed, other := make(chan struct{}), make(chan (<-chan result), 1)
	receive(t, do(t.Context(), f.a, "key", func(ctx context.Context, _ uint64) ([]byte, error) {
		other <- do(context.WithoutCancel(ctx), f.a, "other", func(ctx context.Context, token uint64) ([]byte, error) {
			<-landed
			return nests(f.a)(ctx, token)
		})
		return nil, nil
	}))
	close(landed)
	assert.Equal(t, result{"nested", nil, false}, receive(t, receive(t, other)))

	end := abandon(t, f.a, "key", nil, context.Canceled)
	second := f.join(t, "key", nests(f.b))
	end()
	assert.Equal(t, singleflight.ErrDeadlock, receive(t, second).err, "it leads after it has waited")

	e.kill(0)
	assert.Equal(t, singleflight.ErrDeadlock, receive(t, do(t.Context(), f.a, "key", nests(f.a))).err, "without the engine")
}

func TestBadArguments(t *testing.T) {
	g := startFleet(t).a
	assert.PanicsWithValue(t, "natsflight: nil fn", func() { g.Do(t.Context(), "key", nil) })
	assert.PanicsWithValue(t, "natsflight: nil ctx", func() {
		g.Do(nil, "key", returning("")) //nolint:staticcheck // it must panic
	})
	assert.PanicsWithValue(t, "natsflight: nil JetStream", func() { _, _ = New(context.Background(), nil, Config{Stream: "S"}) })
}

// A process replaces a record of its own without asking for it.
func TestNextCallKnowsTheRecord(t *testing.T) {
	f := startFleet(t)
	sent := func() uint64 {
		before := f.nc.Stats().OutMsgs
		receive(t, do(t.Context(), f.b, "key", returning("value")))
		f.b.tasks.Wait() // for the landing
		return f.nc.Stats().OutMsgs - before
	}
	assert.EqualValues(t, 2, sent(), "do and the landing")
	assert.EqualValues(t, 2, sent(), "do and the landing, in place of the first")
	receive(t, do(t.Context(), f.a, "key", returning("value")))
	f.a.tasks.Wait()
	assert.EqualValues(t, 4, sent(), "a refused do and a question besides")
}

// A record whose process knows nothing of its flight, or that is no record, does not
// hold up a call.
func TestStrayRecord(t *testing.T) {
	g := startFleet(t).a
	for name, r := range map[string]record{
		"unknown flight": {kind: kindDo, id: "stray", leader: g.inbox},
		"dead process":   {kind: kindDo, id: "stray", leader: "no.such.process"},
		"no record":      {kind: "junk"},
	} {
		_, _, err := g.engine.publish(t.Context(), hashOf(name), r, 0, g.config.Lease)
		require.NoError(t, err)
		assert.Equal(t, result{"value", nil, false}, receive(t, do(t.Context(), g, name, returning("value"))), name)
	}
}

// value returns the record with which f lands if fn returns v.
func value(f *flight, v string) record {
	r, _ := f.end([]byte(v), nil)
	return r
}

// A renewal may have been stored although its answer did not arrive. The lease goes on
// from it, and never from another flight's record.
func TestLeaseFindsItsRenewal(t *testing.T) {
	g := startFleet(t).a
	c := &call{group: g, key: "key", hash: hashOf("key")}
	f := c.newFlight(t.Context())
	first, _, err := g.engine.publish(t.Context(), c.hash, f.do, 0, g.config.Lease)
	require.NoError(t, err)
	unknown, _, err := g.engine.publish(t.Context(), c.hash, f.do, first, g.config.Lease)
	require.NoError(t, err)

	l := &lease{flight: f, seq: first}
	renewed, err := l.publish(t.Context(), f.do, g.config.Lease)
	require.NoError(t, err)
	assert.Greater(t, renewed, unknown)

	landing := value(f, "value")
	landed, _, err := g.engine.publish(t.Context(), c.hash, landing, l.seq, g.config.ResultLife)
	require.NoError(t, err)
	again, err := l.publish(t.Context(), landing, g.config.ResultLife)
	require.NoError(t, err, "it has landed, by an attempt whose outcome was unknown")
	assert.Equal(t, landed, again)

	_, _, err = g.engine.publish(t.Context(), c.hash, c.newFlight(t.Context()).do, landed, g.config.Lease)
	require.NoError(t, err)
	_, err = l.publish(t.Context(), f.do, g.config.Lease)
	assert.Equal(t, errRefused, err)
}

// If the stream is gone, waiters get the result nevertheless. The stream is created
// again, and tokens go on growing.
func TestDeletedStream(t *testing.T) {
	f := startFleet(t)
	g := newGate(t, "leader")
	first := do(t.Context(), f.a, "key", g.fn)
	token := receive(t, g.led)
	second := f.join(t, "key", g.fn)
	require.NoError(t, f.a.engine.js.DeleteStream(t.Context(), f.a.config.Stream))
	g.open()
	assert.Equal(t, result{g.value(1), nil, true}, receive(t, first))
	assert.Equal(t, result{g.value(1), nil, true}, receive(t, second))
	next := uint64(0)
	eventually(t, "a call leads again", func() bool {
		again := newGate(t, "again")
		again.open()
		receive(t, do(t.Context(), f.b, "key", again.fn))
		next = receive(t, again.led)
		return next != 0
	})
	assert.Greater(t, next, token)

	// The clock of the process that creates it may be late. No probe may create it first.
	f.a.tasks.Wait()
	f.b.tasks.Wait()
	f.a.engine.newest.Store(2 * next)
	require.NoError(t, f.a.engine.js.DeleteStream(t.Context(), f.a.config.Stream))
	require.NoError(t, f.a.engine.measure(t.Context()))
	next, _, err := f.a.engine.publish(t.Context(), hashOf("key"), record{kind: kindGone}, 0, time.Second)
	require.NoError(t, err)
	assert.Greater(t, next, 2*token)
}

func TestNewRefuses(t *testing.T) {
	e := startServer(t)
	nc, js := connect(t, e.urls()...)
	newGroup(t, js, Config{Stream: "flights"})
	_, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "orders"})
	require.NoError(t, err)
	_, err = open(js, Config{Stream: "orders"})
	assert.EqualError(t, err, "natsflight: stream orders has Subjects [orders]: it must contain orders.k.*")

	_, err = open(js, Config{Stream: "a.b", Lease: 1500, MaxResult: 2 << 20})
	assert.ErrorContains(t, err, "Stream")
	assert.ErrorContains(t, err, "Lease")
	assert.ErrorContains(t, err, "MaxResult is 2097152: it must be 1 to 1044480")

	echoless, err := nats.Connect(e.nodes[0].url, nats.NoEcho())
	require.NoError(t, err)
	defer echoless.Close()
	deaf, err := jetstream.New(echoless)
	require.NoError(t, err)
	_, err = open(deaf, Config{Stream: "flights"})
	assert.ErrorContains(t, err, "NoEcho")

	nc.Close()
	_, err = open(js, Config{Stream: "flights"})
	assert.EqualError(t, err, "natsflight: the engine is unavailable: nats: connection closed")
}

// New waits for a connection that is still connecting, as long as its context allows.
func TestNewWaitsForTheConnection(t *testing.T) {
	e := startServer(t)
	proxy := startProxy(t, e.nodes[0].url)
	proxy.set(cut)
	nc, err := nats.Connect(proxy.url(), nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1),
		nats.ReconnectWait(poll), nats.ReconnectJitter(0, 0))
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	require.NoError(t, err)

	ctx, cancel := context.WithTimeout(t.Context(), beat)
	defer cancel()
	_, err = New(ctx, js, Config{Stream: streamOf(t)})
	assert.ErrorIs(t, err, ErrUnavailable)
	assert.ErrorIs(t, err, context.DeadlineExceeded)
	assert.ErrorContains(t, err, "the connection is RECONNECTING")

	made := make(chan *Group, 1)
	go func() {
		g, err := open(js, Config{Stream: streamOf(t)})
		assert.NoError(t, err)
		made <- g
	}()
	proxy.set(intact)
	g := receive(t, made)
	require.NotNil(t, g)
	assert.Equal(t, result{"value", nil, false}, receive(t, do(t.Context(), g, "key", returning("value"))))
	closeGroup(t, g)
}

// Close with a context that ends returns, and the Group goes on ending.
func TestCloseDoesNotWaitForEver(t *testing.T) {
	g := startFleet(t).a
	fn := newGate(t, "slow")
	returned := do(t.Context(), g, "key", fn.fn)
	receive(t, fn.led)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	assert.Equal(t, context.Canceled, g.Close(ctx))
	assert.Equal(t, ErrClosed, receive(t, fn.ended))
	fn.open()
	receive(t, returned)
	closeGroup(t, g)
}

// A function that closes its Group with its own context does not wait for itself.
func TestCloseInFn(t *testing.T) {
	g := startFleet(t).a
	closed := make(chan error, 1)
	receive(t, do(t.Context(), g, "key", func(ctx context.Context, _ uint64) ([]byte, error) {
		closed <- g.Close(ctx)
		return nil, context.Cause(ctx)
	}))
	assert.Equal(t, context.Canceled, receive(t, closed))
	closeGroup(t, g)
}

// A refused renewal is enough: the lease need not run out.
func TestLeaseIsLostWithTheKey(t *testing.T) {
	e := startServer(t)
	_, js := connect(t, e.urls()...)
	g := newGroup(t, js, Config{Lease: time.Second})
	c := &call{group: g, key: "key", hash: hashOf("key")}
	f, other := c.newFlight(t.Context()), c.newFlight(t.Context())
	_, _, err := g.engine.publish(t.Context(), c.hash, other.do, 0, g.config.Lease)
	require.NoError(t, err)
	l := f.hold(1, time.Now().Add(time.Hour))
	receive(t, f.ctx.Done())
	assert.Equal(t, ErrLeaseLost, context.Cause(f.ctx))
	assert.False(t, l.land(value(f, "value")))
}

// A connection that was down may have cost the lease without the leader's knowledge: then
// the landing decides whether callers, and waiters, get the result.
func TestLandingAfterReconnect(t *testing.T) {
	g := startFleet(t).a
	conn := g.engine.js.Conn()
	for _, taken := range []bool{false, true} {
		c := &call{group: g, key: fmt.Sprint(taken), hash: hashOf(fmt.Sprint(taken))}
		f := c.newFlight(t.Context())
		f.reconnects++
		stored := f.do
		if taken {
			stored = c.newFlight(t.Context()).do
		}
		seq, _, err := g.engine.publish(t.Context(), c.hash, stored, 0, g.config.Lease)
		require.NoError(t, err)
		f.joined.Store(true)
		waiter, err := conn.SubscribeSync(g.engine.results(c.hash))
		require.NoError(t, err)
		l := f.hold(seq, time.Now())
		if taken {
			l.seq-- // the record of f was the one before
		}
		assert.Equal(t, !taken, l.land(value(f, "value")))
		g.tasks.Wait()
		require.NoError(t, conn.Flush())
		got, _, err := waiter.Pending()
		require.NoError(t, err)
		assert.Equal(t, !taken, got == 1)
	}
}

// A refusing is an engine that stores nothing.
type refusing struct{ jetstream.JetStream }

func (refusing) PublishMsg(context.Context, *nats.Msg, ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	return nil, errors.New("refused")
}

func TestLeaseRunsOutByTheClock(t *testing.T) {
	e := startServer(t)
	_, js := connect(t, e.urls()...)
	g := newGroup(t, js, Config{Lease: time.Second})
	c := &call{group: g, key: "key", hash: hashOf("key")}
	f := c.newFlight(t.Context())
	g.engine.js = refusing{js}
	sent := time.Now()
	l := f.hold(1, sent)
	receive(t, f.ctx.Done())
	assert.GreaterOrEqual(t, time.Since(sent), time.Second, "it tries again until then")
	assert.False(t, l.land(value(f, "value")))
	g.engine.js = js
}

// A lostAnswer is an engine that stores a do record and is not heard to do so.
type lostAnswer struct{ jetstream.JetStream }

func (l lostAnswer) PublishMsg(ctx context.Context, m *nats.Msg, opts ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	ack, err := l.JetStream.PublishMsg(ctx, m, opts...)
	if m.Header.Get(headerKind) == string(kindDo) && err == nil {
		return nil, context.DeadlineExceeded
	}
	return ack, err
}

// A call that has got no answer asks again, and finds that its do record was stored.
func TestAnswerIsLost(t *testing.T) {
	f := startFleet(t)
	f.a.engine.js = lostAnswer{f.a.engine.js}
	assert.NotZero(t, ledToken(t, f.a, "key"))
}

// A deafened is an engine that stores a do record, after which the process is cut off from it.
type deafened struct {
	jetstream.JetStream
	proxy *proxy
}

func (d deafened) PublishMsg(ctx context.Context, m *nats.Msg, opts ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	ack, err := d.JetStream.PublishMsg(ctx, m, opts...)
	if m.Header.Get(headerKind) != string(kindDo) || err != nil {
		return ack, err
	}
	d.proxy.set(silent)
	return nil, context.DeadlineExceeded
}

// A call that does not know whether its do record was stored does not lead, and frees the
// key, for a process that would have to wait for the lease to run out.
func TestCallGivesUp(t *testing.T) {
	e := startServer(t)
	proxy := startProxy(t, e.nodes[0].url)
	_, js := connect(t, proxy.url())
	_, other := connect(t, e.urls()...)
	f := fleet{a: newGroup(t, js, Config{}), b: newGroup(t, other, Config{})}
	f.a.engine.js = deafened{js, proxy}
	assert.Zero(t, ledToken(t, f.a, "key"))
	proxy.set(intact)
	eventually(t, "the record is withdrawn", func() bool {
		last, err := f.b.engine.last(t.Context(), hashOf("key"))
		return err == nil && last.kind != kindDo
	})
	assert.Equal(t, result{"value", nil, false}, receive(t, do(t.Context(), f.b, "key", returning("value"))))
}

// takeKey puts another record in place of that of the flight that has the key.
func (f fleet) takeKey(t *testing.T, key string) {
	t.Helper()
	hash := hashOf(key)
	eventually(t, "the key has another record", func() bool {
		last, err := f.b.engine.last(t.Context(), hash)
		if err == nil {
			_, _, err = f.b.engine.publish(t.Context(), hash, record{kind: kindGone}, last.seq, time.Minute)
		}
		return err == nil
	})
}

// If a flight loses its lease, calls need not wait for its fn, in any process.
func TestCallsLeaveAFlightThatIsLost(t *testing.T) {
	f := newFleet(t, startServer(t), Config{Lease: time.Second})
	lost, next := newGate(t, "lost"), newGate(t, "next")
	first := do(t.Context(), f.a, "key", lost.fn)
	receive(t, lost.led)
	second := f.join(t, "key", next.fn)
	f.takeKey(t, "key")
	receive(t, next.led)
	assert.Equal(t, ErrLeaseLost, receive(t, lost.ended))
	third := do(t.Context(), f.a, "key", lost.fn)
	awaitSent(t, f.a.engine.js.Conn(), f.a.engine.js.Conn().Stats().OutMsgs+messagesOfWaiter)
	next.open()
	assert.Equal(t, next.value(1), receive(t, second).v)
	assert.Equal(t, next.value(1), receive(t, third).v)
	lost.open()
	assert.Equal(t, lost.value(2), receive(t, first).v, "it begins anew")
}

// Calls that go on and on do not keep Close from its end.
func TestCloseUnderLoad(t *testing.T) {
	g := startFleet(t).a
	stop, failed := make(chan struct{}), make(chan struct{})
	var callers sync.WaitGroup
	for range 64 {
		callers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, err, _ := g.Do(context.Background(), "key", returning("value")); err != nil {
					assert.Equal(t, ErrClosed, err)
					select {
					case failed <- struct{}{}:
					default:
					}
				}
			}
		})
	}
	closed := make(chan struct{})
	go func() { defer close(closed); closeGroup(t, g) }()
	receive(t, failed)
	receive(t, closed)
	close(stop)
	callers.Wait()
}

// A rejecting is an engine that stores no results.
type rejecting struct{ jetstream.JetStream }

func (r rejecting) PublishMsg(ctx context.Context, m *nats.Msg, opts ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	if m.Header.Get(headerKind) != string(kindDo) {
		return nil, &jetstream.APIError{Code: 500, Description: "no room"}
	}
	return r.JetStream.PublishMsg(ctx, m, opts...)
}

// A result that cannot be stored goes to the waiters nevertheless, and is no outage.
func TestResultIsRejected(t *testing.T) {
	f := startFleet(t)
	f.a.engine.js = rejecting{f.a.engine.js}
	g := newGate(t, "leader")
	first := do(t.Context(), f.a, "key", g.fn)
	receive(t, g.led)
	second := f.join(t, "key", g.fn)
	g.open()
	want := result{g.value(1), nil, true}
	assert.Equal(t, want, receive(t, first))
	assert.Equal(t, want, receive(t, second))
	assert.Nil(t, f.a.down.Load())
	assert.Equal(t, result{"next", nil, false}, receive(t, do(t.Context(), f.b, "key", returning("next"))))
}

// A slowLanding is an engine that stores what a flight has landed with only when it may.
type slowLanding struct {
	jetstream.JetStream
	may chan struct{}
}

func (s slowLanding) PublishMsg(ctx context.Context, m *nats.Msg, opts ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	if m.Header.Get(headerKind) != string(kindDo) {
		<-s.may
	}
	return s.JetStream.PublishMsg(ctx, m, opts...)
}

// Do returns before the result is stored. A call that begins then does not get it,
// although the stream says that the flight is in progress.
func TestCallComesWhileTheFlightLands(t *testing.T) {
	f := startFleet(t)
	may := make(chan struct{})
	f.a.engine.js = slowLanding{f.a.engine.js, may}
	assert.Equal(t, result{"first", nil, false}, receive(t, do(t.Context(), f.a, "key", returning("first"))))
	second := f.join(t, "key", returning("second"))
	close(may)
	assert.Equal(t, result{"second", nil, false}, receive(t, second))
}

func TestCloseHandsOver(t *testing.T) {
	f := startFleet(t)
	may := make(chan struct{})
	f.a.engine.js = slowLanding{f.a.engine.js, may}
	receive(t, do(t.Context(), f.a, "key", returning("value")))
	stored := make(chan record, 1)
	go func() {
		closeGroup(t, f.a)
		last, _ := f.b.engine.last(context.Background(), hashOf("key"))
		stored <- last
	}()
	receive(t, f.a.ctx.Done())
	close(may)
	assert.Equal(t, "value", string(receive(t, stored).data))
}

// A caller that comes when the result is on its way begins another call: a waiter in
// another process may have returned before it.
func TestLandingShutsOutItsProcess(t *testing.T) {
	g := startFleet(t).a
	_, err, _ := g.calls.DoContext(t.Context(), "key", func(ctx context.Context) (outcome, error) {
		c := &call{group: g, key: "key", hash: hashOf("key")}
		f := c.newFlight(ctx)
		assert.Equal(t, flying, f.answer(askState))
		assert.True(t, f.hold(1, time.Now()).land(value(f, "value")))
		assert.Equal(t, tooLate, f.answer(askState))
		in := g.calls.InFlight()
		if assert.Len(t, in, 1) {
			assert.Equal(t, singleflight.Forgotten, in[0].State)
		}
		return outcome{}, nil
	})
	assert.NoError(t, err)
}

// A process that was stopped may return from fn before it notices that the lease has run
// out.
func TestLandingAfterTheLease(t *testing.T) {
	g := startFleet(t).a
	c := &call{group: g, key: "key", hash: hashOf("key")}
	f := c.newFlight(t.Context())
	g.leading.Store(f.do.id, f)
	l := f.hold(1, time.Now().Add(-g.config.Lease))
	assert.False(t, l.land(value(f, "late")))
	_, known := g.leading.Load(f.do.id)
	assert.False(t, known)
}
