package singleflight

import (
	"context"
	"errors"
	"time" //nolint:depguard // for a type that context.Context mentions
)

// This file is the caller's side of calls with a context.

// ErrAbandoned is the cause ([context.Cause]) of the end of fn's context when all
// callers of the flight have left.
var ErrAbandoned = errors.New("singleflight: all callers have left")

const nilContext = "singleflight: nil context"

// An origin is a context that never ends, with the values of a caller's. A call that is
// made with it, or with one derived from it, finds there the flight that it is made in.
type origin[K comparable, V any] struct{ flight *waiters[K, V] }

// originKey is the key under which a context has the origin that it is derived from.
type originKey struct{}

func (o origin[K, V]) Value(key any) any {
	if key == (originKey{}) {
		return o
	}
	return o.flight.values.Value(key)
}

func (origin[K, V]) Deadline() (deadline time.Time, ok bool) { return deadline, false }
func (origin[K, V]) Done() <-chan struct{}                   { return nil }
func (origin[K, V]) Err() error                              { return nil }

// provide makes the context that fn gets, for r.
func (w *waiters[K, V]) provide(r request[K, V], hosted bool) {
	w.values, w.group = r.ctx, r.group
	w.context = origin[K, V]{w}
	if hosted {
		w.context, w.abandon = context.WithCancelCause(w.context)
	}
}

// DoContext is like [GroupOf.Do], but the caller leaves when ctx ends: DoContext then
// returns ctx.Err() at once, whatever fn does, and the other callers still get the
// result. If ctx is done before the call, DoContext returns ctx.Err() and starts
// nothing. If ctx ends as the flight lands, DoContext may return either.
//
// fn runs in a new goroutine. Its context has the values of ctx, but neither its
// deadline nor its cancellation. It is cancelled when all callers of the flight have
// left, with [ErrAbandoned] as its cause. It is not cancelled when fn returns, because
// the result may depend on it; so if fn starts something that ends with its context,
// fn must derive a context and cancel that. If ctx can never be done (its Done returns
// nil), the caller never leaves: it runs fn itself, as in Do, and fn's context never ends.
//
// Calls of all kinds share flights. Callers of Do and DoChan never leave, so a flight
// with such a caller is never abandoned. shared counts the callers that are still on
// the flight when it lands.
//
// A flight that all callers have left is abandoned. No call joins it, and no other
// function of its key begins before its own has returned. Calls that come meanwhile
// wait, and then share one new flight. It runs the function of the first of them that
// cannot leave or, if all can, of one that has not left; if all have left, none.
// [GroupOf.Forget] begins the new flight at once.
//
// A call made with fn's context, or one derived from it, that would wait for the flight
// of fn itself returns [ErrDeadlock] at once, whether or not fn waits for the call. So
// does a call that would close a circle of flights of one Group that wait for each other;
// exactly one call of the circle is refused. Circles through a Do or DoChan, through
// several Groups, or through several shards of a Sharded are not detected.
//
// If fn panics or calls [runtime.Goexit], so do all callers that have not left, as in
// Do. If fn panics and all have left, the program crashes.
//
// DoContext panics if ctx or fn is nil.
func (g *GroupOf[K, V]) DoContext(ctx context.Context, key K, fn func(context.Context) (V, error)) (v V, err error, shared bool) {
	check(ctx, fn)
	g, key = g.home(key)
	done := ctx.Done()
	if done == nil {
		return g.doHere(ctx, key, fn)
	}
	l, err := g.board(ctx, key, fn)
	if err != nil {
		return v, err, false
	}
	if waitOrLeave(&g.address, l, done); l.left {
		return v, ctx.Err(), false
	}
	return l.flight.waiters.result.deliver()
}

// DoChanContext is like [GroupOf.DoContext], but instead of waiting it returns a
// channel that will receive the result, or ctx.Err() if ctx ends before. fn runs in
// a new goroutine, even if ctx can never be done.
//
// As with [GroupOf.DoChan], the channel has room for its one value and is never closed,
// and the caller need not receive from it; the call leaves only when ctx ends. Channels
// of one flight receive in any order. If fn panics while a DoChanContext waits, or after
// all callers have left, the program crashes. If fn calls [runtime.Goexit], the channel
// gets [ErrGoexit].
//
// DoChanContext panics if ctx or fn is nil.
func (g *GroupOf[K, V]) DoChanContext(ctx context.Context, key K, fn func(context.Context) (V, error)) <-chan ResultOf[V] {
	check(ctx, fn)
	g, key = g.home(key)
	results := make(chan ResultOf[V], 1)
	done := ctx.Done()
	l, err := g.board(ctx, key, fn) // before DoChanContext returns
	if err != nil {
		results <- ResultOf[V]{Err: err}
		return results
	}
	go func() {
		if waitOrLeave(&g.address, l, done); l.left {
			results <- ResultOf[V]{Err: ctx.Err()}
			return
		}
		r := &l.flight.waiters.result
		if r.ending == panicked {
			panic(r.err)
		}
		results <- r.forChan()
	}()
	return results
}

// check panics if a caller has passed nil.
func check[V any](ctx context.Context, fn func(context.Context) (V, error)) {
	if ctx == nil {
		panic(nilContext)
	}
	if fn == nil {
		panic(nilFunc)
	}
}

// request returns what a call asks for with ctx and fn.
func (g *GroupOf[K, V]) request(ctx context.Context, fn func(context.Context) (V, error)) request[K, V] {
	d := &g.address
	r := request[K, V]{ctx: ctx, group: d, fn: fn}
	if o, ok := ctx.Value(originKey{}).(origin[K, V]); ok && o.flight.group == d {
		r.inside = o.flight // one of another Group cannot close a circle here
	}
	return r
}

// board puts a call that may leave on a flight of key. If there is none, board begins
// one.
func (g *GroupOf[K, V]) board(ctx context.Context, key K, fn func(context.Context) (V, error)) (*leaver[K, V], error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	d := &g.address
	r := g.request(ctx, fn)
	a, ok := d.Claim()
	if !ok {
		l := newLone(r)
		var f *flight[K, V]
		if a, f = d.ClaimOrEnter(flight[K, V]{key: key, waiters: &l.waiters}); f != nil {
			l.leaver.flight = f
			go host(nil, f, fn)
			return &l.leaver, nil
		}
	}
	asked := r // on the heap, unlike r
	l := &leaver[K, V]{turn: newTurn(), inside: r.inside}
	c := ask(a, &call[K, V]{flight: flight[K, V]{key: key, turn: l.turn}, request: &asked, leaver: l})
	switch c.answer {
	case refused:
		return nil, ErrDeadlock
	case leads:
		go host(a, c.on, fn)
	}
	return l, nil
}

// doHere is a DoContext that never leaves: as in Do, its own goroutine runs fn.
func (g *GroupOf[K, V]) doHere(ctx context.Context, key K, fn func(context.Context) (V, error)) (v V, err error, shared bool) {
	d := &g.address
	r := g.request(ctx, nil)
	a, ok := d.Claim()
	var f *flight[K, V]
	if !ok {
		w := new(waiters[K, V])
		w.provide(r, false)
		a, f = d.ClaimOrEnter(flight[K, V]{key: key, waiters: w})
	}
	if a != nil {
		asked := r // on the heap, unlike r
		c := ask(a, &call[K, V]{flight: flight[K, V]{key: key, turn: newTurn()}, request: &asked})
		switch c.answer {
		case refused:
			return v, ErrDeadlock, false
		case joined:
			return c.on.waiters.await(c.turn, c.seat)
		case standby:
			<-c.turn
		}
		f = c.on
	}
	withContext := func() (V, error) { return fn(f.waiters.context) }
	var res result[V]
	lead(d, a, f, withContext, &res)
	return res.deliver()
}

// waitOrLeave returns when l's flight has landed or, if done is closed before that, when
// the call has left. If both happen, the message that the owner handles first counts.
func waitOrLeave[K comparable, V any](d *address[K, V], l *leaver[K, V], done <-chan struct{}) {
	select {
	case <-l.turn:
	case <-done:
		if a, ok := d.Claim(); ok {
			a.Send(leave[K, V]{l})
			<-l.turn // for the answer, or the landing
		}
		if !l.left {
			<-l.turn // for the other of the two
		}
	}
	if l.left {
		if l.last {
			l.flight.waiters.abandon(ErrAbandoned)
		}
		return
	}
	for _, l := range restOfRow(l.seat, l.flight.waiters.leavers) {
		l.turn <- struct{}{}
	}
}
