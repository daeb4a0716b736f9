package natsflight

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"

	"github.com/actorflight/singleflight"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
)

// A Group is one process's member of a fleet whose processes share flights. All Groups
// with the same Config.Stream, on the same NATS account, belong to one fleet. New
// makes a Group. Its methods may be called by several goroutines at the same time.
type Group struct {
	engine  engine
	config  Config
	inbox   string             // the subject on which this process is asked about its flights
	serving *nats.Subscription // to inbox

	calls   singleflight.GroupOf[string, outcome] // to the fleet, by key
	flights singleflight.GroupOf[string, ending]  // that this process leads, by ID
	watches singleflight.GroupOf[string, record]  // of flights that calls wait for, by ID
	offline singleflight.GroupOf[string, []byte]  // what runs without the engine, by key

	questions singleflight.GroupOf[string, struct{}] // to other processes, by their inboxes
	waits     sync.Map                               // what the questions are about: *waiting -> nil

	leading  sync.Map              // the flights that this process is asked about: ID -> *flight
	landings landings              // the latest of this process
	down     atomic.Pointer[error] // why the engine is out of reach; nil if it is not, as far as known
	probing  atomic.Bool           // a probe is running
	fullSaid atomic.Int64          // when Config.Log was told that the stream is full, in Unix time

	ctx    context.Context // ends with ErrClosed
	close  context.CancelCauseFunc
	tasks  sync.WaitGroup // work that outlives calls: landings, stand-ins, the probe
	ending sync.Once      // starts finish
	ended  chan struct{}  // closed when nothing of the Group runs any more

	breaks  chan nats.Status // from the connection to mindBreaks; closed by finish
	minding sync.WaitGroup   // mindBreaks
}

// New returns a Group that works over js, and creates the fleet's stream if it does not
// exist. It waits until the connection is connected and the stream takes records, or ctx
// ends: give it a deadline of some seconds. ctx does not limit the life of the Group.
//
// New returns an error if c has bad values, if the stream would lose leases or results, or
// if the connection has the option [nats.NoEcho]. It returns ErrUnavailable, wrapped with
// the cause, if ctx ends or the connection is closed. While rights are missing, the server
// seems not to answer. It must be version 2.11 or newer.
//
// The connection stays the caller's, and must stay open until Close has returned nil.
func New(ctx context.Context, js jetstream.JetStream, c Config) (*Group, error) {
	if ctx == nil {
		panic("natsflight: nil ctx")
	}
	if js == nil {
		panic("natsflight: nil JetStream")
	}
	conn := js.Conn()
	if conn.Opts.NoEcho {
		return nil, errors.New("natsflight: the connection has NoEcho, " +
			"and calls of a process would miss the results of other calls of the process")
	}
	if err := connected(ctx, conn); err != nil {
		return nil, unavailable(err)
	}
	host, _ := os.Hostname()
	c, err := c.check(int(conn.MaxPayload()), fmt.Sprintf("%s/%d", host, os.Getpid()))
	if err != nil {
		return nil, err
	}
	g := &Group{
		engine: engine{js: js, config: c}, config: c, inbox: c.Stream + ".p." + nuid.Next(),
		ended: make(chan struct{}),
	}
	g.engine.tasks, g.engine.trip = &g.tasks, g.trip
	g.ctx, g.close = context.WithCancelCause(context.Background())
	if err := g.open(ctx); err != nil {
		return nil, err
	}
	if g.serving, err = conn.Subscribe(g.inbox, g.serve); err != nil {
		return nil, unavailable(err)
	}
	// Other processes must be able to ask this one.
	if state, _ := g.engine.ask(ctx, record{leader: g.inbox}, askState); state != unknown {
		_ = g.serving.Unsubscribe()
		return nil, unavailable(fmt.Errorf("the inbox of this process, %s, does not answer", g.inbox))
	}
	g.breaks = conn.StatusChanged(nats.RECONNECTING, nats.CLOSED)
	g.minding.Go(g.mindBreaks)
	return g, nil
}

// mindBreaks makes later calls of this process ask the stream, whenever its connection has
// been closed, before they join a flight that the process leads: the key may be taken from
// that, or forgotten, without its leader's knowledge.
func (g *Group) mindBreaks() {
	for range g.breaks {
		g.leading.Range(func(_, f any) bool {
			f.(*flight).shutOut()
			return true
		})
	}
}

// open waits until the engine works, its stream turns out to be unfit, or ctx ends: a
// cluster that has just started, or elects a leader, may not answer.
func (g *Group) open(ctx context.Context) error {
	for {
		err := g.engine.reach(ctx)
		switch {
		case err == nil, errors.As(err, new(mismatch)):
			return err
		case g.engine.js.Conn().IsClosed():
			return unavailable(err)
		}
		if pause(ctx, beat); ctx.Err() != nil {
			return unavailable(fmt.Errorf("%w: stream %s: %w", context.Cause(ctx), g.config.Stream, err))
		}
	}
}

// Do runs fn, or waits for a flight of the same key that is in progress in the
// fleet, and returns its result. So of the calls that are made at the same time in all
// processes, normally one runs its fn. Do returns a result only if no call of the fleet
// had returned it before Do was called.
//
// The caller leaves when ctx ends: Do returns ctx.Err() at once. fn's context has the
// values of ctx but not its deadline. It ends when fn has returned, and, with a cause,
//   - when all callers have left ([singleflight.ErrAbandoned]): 1 s later, if the last of
//     them were in other processes;
//   - when the flight has lost its lease ([ErrLeaseLost]);
//   - when it has lasted for Config.MaxFlight ([ErrMaxFlight]);
//   - when the Group is closed ([ErrClosed]).
//
// The token that fn gets is larger than that of every flight of the stream before it. A
// store that rejects a write whose token is smaller than one it has seen is safe from an
// fn that has lost its lease without knowing it. The token is 0 if fn runs without a
// lease, because the engine is out of reach.
//
// If the lease is lost, the result of fn is dropped. The callers then get that of the
// flight that has taken the key. If there is none, Do runs fn again.
//
// The error is fn's own if fn ran in this process, and otherwise a [*RemoteError]. It is
// a [*TooLargeError] if the result is larger than Config.MaxResult, [ErrMaxFlight] if fn
// ran in this process for too long, [ErrUnavailable] as Config.OnOutage says, and
// [ErrClosed] after Close. If fn panics or calls [runtime.Goexit], so do its callers in
// this process; callers in other processes get a RemoteError. If fn panics when all
// callers have left, and no other process has asked for 1 s, the program crashes, as in
// [singleflight.GroupOf.DoContext].
//
// shared reports whether another caller is known to have got, or to wait for, the same
// result. The callers in a process get the same slice, and must not modify it. A nil
// slice may arrive as an empty one.
//
// A Do that fn makes with its own key and context returns [singleflight.ErrDeadlock].
// Without that context, or by way of another process, it waits for ever.
//
// Do panics if ctx or fn is nil.
func (g *Group) Do(ctx context.Context, key string, fn func(ctx context.Context, token uint64) ([]byte, error)) (v []byte, err error, shared bool) {
	if ctx == nil {
		panic("natsflight: nil ctx")
	}
	if fn == nil {
		panic("natsflight: nil fn")
	}
	if g.ctx.Err() != nil {
		return nil, ErrClosed, false // here, so that calls do not keep Close from its end
	}
	if (nested{g, key}).refuses(ctx) {
		return nil, singleflight.ErrDeadlock, false
	}
	out, err, shared := g.calls.DoContext(ctx, key, func(ctx context.Context) (outcome, error) {
		c := &call{group: g, key: key, hash: hashOf(key), fn: fn}
		ctx, cancel := g.bound(ctx)
		defer cancel()
		return c.run(ctx)
	})
	return out.value, err, shared || out.shared
}

// bound returns a context that has the values of ctx, ends with it, and ends with ErrClosed
// when g is closed, even if that is what ends ctx.
func (g *Group) bound(ctx context.Context) (bound context.Context, cancel func()) {
	bound, end := context.WithCancelCause(context.WithoutCancel(ctx))
	why := func() { end(g.why(ctx)) }
	stop1, stop2 := context.AfterFunc(g.ctx, why), context.AfterFunc(ctx, why)
	return bound, func() {
		stop1()
		stop2()
		end(nil)
	}
}

// why returns why ctx, which ends when g is closed, has ended, or nil.
func (g *Group) why(ctx context.Context) error {
	return cmp.Or(context.Cause(g.ctx), context.Cause(ctx))
}

// Forget makes calls that begin after it has returned, in all processes, begin a new
// flight of key, even if one is in progress. Calls that have joined that flight still
// get its result. A flight that another process runs without the engine is not forgotten.
//
// If the engine does not answer, Forget returns [ErrUnavailable], wrapped with the cause:
// calls may still join the flight. If the process of the flight's leader is connected and
// does not answer, Forget returns ErrUnavailable, too: calls in that process may still
// join the flight. If no such process is connected, Forget returns nil: the process is dead,
// or its own connection tells it. If it has not noticed that the engine has closed its
// connection, or two nodes of the engine do not reach each other, calls in it may join the
// flight until it notices, or its next renewal is refused, at the latest until its lease has
// run out by its clock.
//
// Forget begins anew whenever the key's record changes before its own is accepted: give it a
// deadline. It returns ctx's error if ctx ends, and [ErrClosed] after Close.
func (g *Group) Forget(ctx context.Context, key string) error {
	if g.ctx.Err() != nil {
		return ErrClosed
	}
	err := g.free(ctx, hashOf(key))
	g.calls.Forget(key) // only now: a call that has begun meanwhile may have joined the flight
	g.offline.Forget(key)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	default:
		return unavailable(err)
	}
}

// free takes the key from the flight that has it. What it reads may be outdated, and a
// leader that seems to be dead may come back. Only a record that the stream accepts in place
// of what was read proves that no call joins a flight that was in progress. An end that was
// read is published again, because a waiter may have missed it.
func (g *Group) free(ctx context.Context, hash string) error {
	last, err := g.engine.last(ctx, hash)
	for err == nil {
		end, mute := last, error(nil)
		if last.kind == kindDo {
			_, mute = g.engine.ask(ctx, last, askForget)
		}
		if last.kind == kindDo || last.seq == 0 {
			end = last.forgotten()
		}
		limited, cancel := context.WithTimeout(ctx, attempt)
		_, last, err = g.engine.publish(limited, hash, end, last.seq, g.config.ResultLife)
		cancel()
		switch {
		case err == nil:
			return mute
		case errors.Is(err, errRefused):
			err = nil
		}
	}
	return err
}

// Close ends the Group: the contexts of its functions end with ErrClosed as their cause,
// and its waiting calls return ErrClosed. Close returns nil when all functions have
// returned and their results have been handed over, or cannot be; it then leaves no
// goroutine. If ctx ends before that, Close returns ctx's error, and the Group goes on
// ending by itself; another Close waits for that, too. A program that ends without Close
// may take the last results with it; other processes then run their functions.
//
// A function must not wait for its own end. If it calls Close with its own context, that
// ends at once, and so Close returns [context.Canceled]. With a context that does not end,
// Close would never return.
//
// Close panics if ctx is nil.
func (g *Group) Close(ctx context.Context) error {
	if ctx == nil {
		panic("natsflight: nil ctx")
	}
	g.close(ErrClosed)
	g.ending.Do(func() { go g.finish() })
	select {
	case <-g.ended:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// finish waits until nothing of the closed Group runs any more.
func (g *Group) finish() {
	defer close(g.ended)
	for _, group := range []interface{ Wait(context.Context) error }{&g.calls, &g.flights, &g.watches, &g.questions, &g.offline, &g.engine.measures} {
		_ = group.Wait(context.Background())
	}
	g.tasks.Wait()
	g.engine.js.Conn().RemoveStatusListener(g.breaks)
	g.minding.Wait()
	_ = g.serving.Unsubscribe() // fails only if the connection is closed
}
