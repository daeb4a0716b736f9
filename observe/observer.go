package observe

import (
	"cmp"
	"context"
	"hash/maphash"
	"time"

	"github.com/actorflight/singleflight"
)

// This file is what GroupOf and ShardedOf have in common: each call is counted, and goes to
// the library with a record; its fn is counted when it begins and ends, and the call when it
// has left or was refused.

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
	top     top[K]
	halver  halver // of top
	looks   looks[K]

	plainCalls plainCalls[K, V]
}

var seed = maphash.MakeSeed()

// record counts a call that is about to be made, and returns its record. It panics if key
// cannot be hashed, as the library would.
func (o *observer[K, V]) record(ctx context.Context, key K) *record {
	r := &record{Context: ctx, done: ctx.Done(), hash: maphash.Comparable(seed, key)}
	o.come(r.hash)
	return r
}

// come counts a call.
func (o *observer[K, V]) come(hash uint64) {
	o.figures.calls.Add(1)
	o.top.place(hash).come(hash)
}

func (o *observer[K, V]) do(g group[K, V], key K, fn func() (V, error)) (v V, err error, shared bool) {
	if fn == nil {
		return g.Do(key, nil) // which panics
	}
	c := o.plain(key, fn)
	return g.DoContext(c, key, c.run)
}

func (o *observer[K, V]) doChan(g group[K, V], key K, fn func() (V, error)) <-chan singleflight.ResultOf[V] {
	if fn == nil {
		return g.DoChan(key, nil) // which panics
	}
	c := o.plain(key, fn)
	return g.DoChanContext(c, key, c.run)
}

// doContext counts a call of do, the group's DoContext or DoFresh.
func (o *observer[K, V]) doContext(
	do func(context.Context, K, func(context.Context) (V, error)) (V, error, bool),
	ctx context.Context, key K, fn func(context.Context) (V, error),
) (v V, err error, shared bool) {
	if ctx == nil || fn == nil {
		return do(ctx, key, fn) // which panics
	}
	r := o.record(ctx, key)
	v, err, shared = do(r, key, func(ctx context.Context) (V, error) {
		return o.fly(ctx, r, key, fn)
	})
	return v, o.ended(r, err, shared), shared
}

// doChanContext counts a call of do, the group's DoChanContext or DoChanFresh. The caller
// gets the library's channel if the call can neither leave nor be refused.
func (o *observer[K, V]) doChanContext(
	do func(context.Context, K, func(context.Context) (V, error)) <-chan singleflight.ResultOf[V],
	ctx context.Context, key K, fn func(context.Context) (V, error),
) <-chan singleflight.ResultOf[V] {
	if ctx == nil || fn == nil {
		return do(ctx, key, fn) // which panics
	}
	r := o.record(ctx, key)
	library := do(r, key, func(ctx context.Context) (V, error) {
		return o.fly(ctx, r, key, fn)
	})
	if r.done == nil && recordOf(ctx) == nil {
		return library
	}
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
	if !r.plain && r.step(called) {
		o.figures.outlived.Add(1)
	}
	o.figures.flights.Add(1)
	o.top.place(r.hash).begin(r.hash)
	r.begun.Store(clock())
}

// ends is called by a deferred function of fly.
func (o *observer[K, V]) ends(ctx context.Context, r *record, key K, returned bool, err error) {
	now := clock()
	o.figures.observe(time.Duration(now - r.begun.Load()))
	o.top.place(r.hash).end(r.hash, key)
	o.halver.until(now, o.top.halve)
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

// ended counts a call that returns, given its results from the library, if it has left or
// was refused. It returns the error that the caller gets.
func (o *observer[K, V]) ended(r *record, err error, shared bool) error {
	switch {
	case err == error(r) || err == context.Canceled && r.endedWithoutError(): //nolint:errorlint // what the library returns
		if r.step(left) {
			o.figures.outlived.Add(1)
		}
		o.figures.left.Add(1)
		return cmp.Or(r.Context.Err(), context.Canceled)
	case err == singleflight.ErrDeadlock && !shared && !r.wasCalled() && recordOf(r.Context) != nil: //nolint:errorlint // what the library returns
		o.figures.refused.Add(1) // it is made in an fn; a call that is not may get this error from one
	}
	return err
}

// stats returns the figures of the group with that list and that name.
func (o *observer[K, V]) stats(l *list[K], name string) Stats {
	s := o.figures.read()
	s.Name = name
	s.At, s.InFlight, s.Next, s.Callers, s.Oldest = l.time, l.inFlight, l.next, l.callers, l.oldest
	return s
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
