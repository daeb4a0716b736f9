package observe

import (
	"cmp"
	"context"
	"hash/maphash"
	"time"

	"github.com/actorflight/singleflight"
)

// This file is what GroupOf and ShardedOf have in common: each call goes to the
// library with a record, and is counted when its fn begins and ends, and when it returns.

// A group is a GroupOf or a ShardedOf of the library.
type group[K comparable, V any] interface {
	Do(K, func() (V, error)) (V, error, bool)
	DoChan(K, func() (V, error)) <-chan singleflight.ResultOf[V]
	DoContext(context.Context, K, func(context.Context) (V, error)) (V, error, bool)
	DoChanContext(context.Context, K, func(context.Context) (V, error)) <-chan singleflight.ResultOf[V]
	DoFresh(context.Context, K, func(context.Context) (V, error)) (V, error, bool)
	DoChanFresh(context.Context, K, func(context.Context) (V, error)) <-chan singleflight.ResultOf[V]
	InFlight() []singleflight.FlightOf[K]
}

// An observer counts a group's calls and flights.
type observer[K comparable, V any] struct {
	figures figures
	chans   chans[K]
	top     top[K]
	halver  halver // of top
}

var seed = maphash.MakeSeed()

// record returns the record of a call that is about to be made.
func (o *observer[K, V]) record(ctx context.Context, key K, plain bool) *record {
	r := new(record)
	o.comes(r, ctx, key, plain)
	return r
}

// comes makes r the record of a call that is about to be made. It panics if key cannot
// be hashed, as the library would.
func (o *observer[K, V]) comes(r *record, ctx context.Context, key K, plain bool) {
	r.Context, r.plain, r.hash = ctx, plain, maphash.Comparable(seed, key)
	r.came = o.top.place(r.hash).came.Add(1)
}

// do is a DoContext whose context can never be done. That is like a Do, except that
// InFlight shows fn's context, and so the record.
func (o *observer[K, V]) do(g group[K, V], key K, fn func() (V, error)) (v V, err error, shared bool) {
	if fn == nil {
		return g.Do(key, nil) // which panics
	}
	r := o.record(context.Background(), key, true)
	defer func() { err = o.ended(r, err, shared) }()
	return g.DoContext(r, key, func(ctx context.Context) (V, error) {
		return o.fly(ctx, r, key, func(context.Context) (V, error) { return fn() })
	})
}

// doContext counts a call of do, the group's DoContext or DoFresh.
func (o *observer[K, V]) doContext(
	do func(context.Context, K, func(context.Context) (V, error)) (V, error, bool),
	ctx context.Context, key K, fn func(context.Context) (V, error),
) (v V, err error, shared bool) {
	if ctx == nil || fn == nil {
		return do(ctx, key, fn) // which panics
	}
	r := o.record(ctx, key, false)
	defer func() { err = o.ended(r, err, shared) }()
	return do(r, key, func(ctx context.Context) (V, error) {
		return o.fly(ctx, r, key, fn)
	})
}

// doChan returns the library's channel to the caller: forwarding the result would cost a
// goroutine for each call, and the order of the channels. So it does not see the end of
// the call; settle works out how many calls have joined.
func (o *observer[K, V]) doChan(g group[K, V], key K, fn func() (V, error)) <-chan singleflight.ResultOf[V] {
	if fn == nil {
		return g.DoChan(key, nil) // which panics
	}
	r := &chanRecord[K]{key: key}
	o.comes(&r.record, context.Background(), key, true)
	if key != key { // it has a flight of its own, which InFlight does not show
		return g.DoChan(key, func() (V, error) {
			return o.fly(r.Context, &r.record, key, func(context.Context) (V, error) { return fn() })
		})
	}
	o.top.place(r.hash).mayJoin(r.hash)
	results := g.DoChan(key, func() (V, error) {
		o.figures.chanCalled.Add(1)
		o.top.place(r.hash).leads(r.hash)
		o.chans.add(r)
		defer o.chans.remove(r)
		return o.fly(r.Context, &r.record, r.key, func(context.Context) (V, error) { return fn() })
	})
	o.figures.chanCalls.Add(1)
	return results
}

// doChanContext counts a call of do, the group's DoChanContext or DoChanFresh.
func (o *observer[K, V]) doChanContext(
	do func(context.Context, K, func(context.Context) (V, error)) <-chan singleflight.ResultOf[V],
	ctx context.Context, key K, fn func(context.Context) (V, error),
) <-chan singleflight.ResultOf[V] {
	if ctx == nil || fn == nil {
		return do(ctx, key, fn) // which panics
	}
	r := o.record(ctx, key, false)
	library := do(r, key, func(ctx context.Context) (V, error) {
		return o.fly(ctx, r, key, fn)
	})
	results := make(chan singleflight.ResultOf[V], 1)
	select {
	case result := <-library:
		o.deliver(r, result, results)
	default:
		go func() { o.deliver(r, <-library, results) }()
	}
	return results
}

func (o *observer[K, V]) deliver(r *record, result singleflight.ResultOf[V], results chan<- singleflight.ResultOf[V]) {
	result.Err = o.ended(r, result.Err, result.Shared)
	results <- result
}

// fly calls fn in the flight of r, with ctx, and counts it. Frames here are small, because
// goroutines begin with small stacks.
func (o *observer[K, V]) fly(ctx context.Context, r *record, key K, fn func(context.Context) (V, error)) (v V, err error) {
	o.begins(r)
	returned := false
	defer func() { o.ends(ctx, r, key, returned, err) }()
	v, err = fn(ctx)
	returned = true
	return v, err
}

func (o *observer[K, V]) begins(r *record) {
	if r.step(called) {
		o.figures.outlived.Add(1)
	}
	o.figures.flights.Add(1)
	r.begun.Store(clock())
}

// ends is called by a deferred function of fly.
func (o *observer[K, V]) ends(ctx context.Context, r *record, key K, returned bool, err error) {
	now := clock()
	o.figures.observe(time.Duration(now - r.begun.Load()))
	if place := o.top.place(r.hash); place.came.Load() != r.came {
		place.call(r.hash, key)
		o.halver.until(now, o.top.halve)
	}
	if returned && err == nil && ctx.Err() == nil {
		return
	}
	o.figures.failures[endingOf(ctx, returned)].Add(1)
}

// endingOf returns how a flight has failed.
func endingOf(ctx context.Context, returned bool) ending {
	switch {
	case ctx.Err() != nil:
		return abandoned
	case returned:
		return failed
	case exiting(").fly"):
		return exited
	default:
		return panicked
	}
}

// ended counts a call that returns, panics or exits, given its results from the library.
// It returns the error that the caller gets.
func (o *observer[K, V]) ended(r *record, err error, shared bool) error {
	switch {
	case err == error(r) || err == context.Canceled && r.endedWithoutError(): //nolint:errorlint // what the library returns
		if r.step(left) {
			o.figures.outlived.Add(1)
		}
		o.figures.left.Add(1)
		return cmp.Or(r.Context.Err(), context.Canceled)
	case r.wasCalled():
	case err == singleflight.ErrDeadlock && !shared && recordOf(r.Context) != nil: //nolint:errorlint // what the library returns
		o.figures.refused.Add(1) // it is made in an fn; a call that is not may get this error from one
	default:
		o.figures.joined.Add(1)
		o.top.place(r.hash).join(r.hash)
	}
	return err
}

// settle returns the flights in flight, and how many calls have joined one. A call of
// DoChan has joined if it has returned and its fn is never called. A call whose fn is yet
// to be called belongs to a flight in flight; settle lists those between reading the other
// two counts, so it may subtract a call twice, but misses none. The number that it returns
// never decreases, never exceeds the true one, and at rest is the true one.
func (o *observer[K, V]) settle(g group[K, V]) (joined uint64, flights []singleflight.FlightOf[K]) {
	f := &o.figures
	number := o.chans.now()
	calls := int64(f.chanCalls.Load())
	flights = g.InFlight()
	calls += int64(o.chans.old(number)) // else subtracted twice: in flight, and fn called
	for _, flight := range flights {
		if flight.State == singleflight.Waiting {
			calls -= int64(flight.Callers) // one of which will begin it
		} else if flight.Context == nil {
			calls--
		}
	}
	calls -= int64(f.chanCalled.Load())
	f.mu.Lock()
	defer f.mu.Unlock()
	f.chanJoined = max(f.chanJoined, uint64(max(0, calls)))
	return f.joined.Load() + f.chanJoined, flights
}

// inFlight is the library's InFlight, without the contexts of flights whose fn gets none.
func (o *observer[K, V]) inFlight(g group[K, V]) []singleflight.FlightOf[K] {
	flights := g.InFlight()
	for i, f := range flights {
		if r := recordOf(f.Context); r != nil && r.plain {
			flights[i].Context = nil
		}
	}
	return flights
}
