package singleflight

import (
	"context"
	"errors"
	"time" //nolint:depguard // for a type that context.Context mentions
)

// This file is the caller's side of calls with a context.

// ErrAbandoned is the cause ([context.Cause]) of the end of fn's context when all callers
// of the flight have left.
var ErrAbandoned = errors.New("singleflight: all callers have left")

// An origin is what fn's context is made of: it has the values of a caller's context, and
// never ends. A call that finds an origin in its context is made in the flight of that. fn
// gets an origin and not the party, whose fields belong to other goroutines.
type origin[K comparable, V any] struct{ party *party[K, V] }

// originKey is the key under which a context has the origin that it is derived from.
type originKey struct{}

func (o origin[K, V]) Value(key any) any {
	if key == (originKey{}) {
		return o
	}
	return o.party.values.Value(key)
}

func (origin[K, V]) Deadline() (deadline time.Time, ok bool) { return deadline, false }
func (origin[K, V]) Done() <-chan struct{}                   { return nil }
func (origin[K, V]) Err() error                              { return nil }

// provide makes the context that fn gets, for r.
func (p *party[K, V]) provide(r *request[K, V]) {
	p.values, p.group = r.ctx, r.group
	p.context = origin[K, V]{p}
	if p.hosted {
		p.context, p.cancel = context.WithCancelCause(p.context)
	}
}

// request returns what a call asks for. It panics if ctx or fn is nil.
func (g *GroupOf[K, V]) request(ctx context.Context, fn func(context.Context) (V, error), fresh bool) request[K, V] {
	if fn == nil {
		panic(nilFunc)
	}
	return request[K, V]{ctx: ctx, group: &g.address, inside: g.inside(ctx), fn: fn, fresh: fresh}
}

// inside returns the party of the flight of g that a call with ctx is made in, or nil: the
// owner of g knows no flights of other Groups. It panics if ctx is nil.
func (g *GroupOf[K, V]) inside(ctx context.Context) *party[K, V] {
	if ctx == nil {
		panic(nilContext)
	}
	if o, ok := ctx.Value(originKey{}).(origin[K, V]); ok && o.party.group == &g.address {
		return o.party
	}
	return nil
}

// DoContext is like [GroupOf.Do], but the caller leaves when ctx ends: DoContext then
// returns ctx.Err() at once, whatever fn does, and the other callers still get the result.
// If ctx is done before the call, DoContext returns ctx.Err(), and begins and joins no
// flight. If ctx ends as the flight lands, DoContext may return either. If Err returns nil
// although Done is closed, DoContext returns [context.Canceled] in its place.
//
// fn runs in a new goroutine, with the profiler labels of the caller, or of ctx if the
// flight has waited for another to end. Its context has the values of ctx, but neither its
// deadline nor its cancellation. It is cancelled when all callers of the flight have left,
// with [ErrAbandoned] as its cause. It is not cancelled when fn returns, because the
// result may depend on it; so if fn starts something that ends with its context, fn must
// derive a context and cancel that. If ctx can never be done (its Done returns nil), the
// caller never leaves: it runs fn itself, as in Do, and fn's context never ends.
//
// Pass the request's own context. One that a framework reuses for the next request when a
// handler has returned would show fn the values of that request. Read a response body or
// the like in fn: after the landing no context bounds the reading. And fn may never be
// called, even that of the only call; so what fn must release, such as a span or a file,
// fn must acquire.
//
// Calls of all kinds share flights. Callers of Do and DoChan never leave, so a flight with
// such a caller is never abandoned. shared counts the callers that are still on the flight
// when it lands.
//
// A flight that all callers have left is abandoned. No call joins it, and no other
// function of its key begins before its own has returned. Calls that come meanwhile wait,
// and share the next flight. It runs the function of the first of them that never leaves
// or, if all may, of the first that has not left; if all have left, none. [GroupOf.Forget]
// begins the next flight at once.
//
// A call made with fn's context, or one derived from it, that would wait for the flight of
// fn itself returns [ErrDeadlock] at once, whether or not fn waits for the call. So does a
// call that would close a circle of flights of one Group that wait for each other; exactly
// one call of the circle is refused. Circles through a Do or DoChan, through several
// Groups, or through several shards of a Sharded are not detected, and outlive the
// deadlines of their callers, because fn's context has none.
//
// If fn panics or calls [runtime.Goexit], so do all callers that have not left, as in Do.
// If fn panics and all have left, the program crashes. Leaving can be what makes fn panic,
// as it makes a reverse proxy panic whose client has gone: recover such a panic in fn.
//
// DoContext panics if ctx or fn is nil.
func (g *GroupOf[K, V]) DoContext(ctx context.Context, key K, fn func(context.Context) (V, error)) (v V, err error, shared bool) {
	return g.doContext(ctx, key, fn, false)
}

// doContext is DoContext or, if fresh, DoFresh.
func (g *GroupOf[K, V]) doContext(ctx context.Context, key K, fn func(context.Context) (V, error), fresh bool) (v V, err error, shared bool) {
	g, key = g.home(key)
	r := g.request(ctx, fn, fresh)
	done := ctx.Done()
	if done == nil {
		return g.doHere(key, &r)
	}
	l, err := g.boardLeaver(key, &r)
	if err != nil {
		return v, err, false
	}
	if waitOrLeave(&g.address, l, done); l.left {
		return v, endOf(ctx), false
	}
	return l.row.result.deliver()
}

// DoChanContext is like [GroupOf.DoContext], but instead of waiting it returns a channel
// that will receive the result, or ctx.Err() if ctx ends before. fn runs in a new
// goroutine, even if ctx can never be done.
//
// As with [GroupOf.DoChan], the channel has room for its one value and is never closed,
// and the caller need not receive from it; the call leaves only when ctx ends. Channels of
// one flight receive in any order. If fn panics while a DoChanContext waits, or after all
// callers have left, the program crashes. If fn calls [runtime.Goexit], the channel gets
// [ErrGoexit].
//
// DoChanContext panics if ctx or fn is nil.
func (g *GroupOf[K, V]) DoChanContext(ctx context.Context, key K, fn func(context.Context) (V, error)) <-chan ResultOf[V] {
	return g.doChanContext(ctx, key, fn, false)
}

// doChanContext is DoChanContext or, if fresh, DoChanFresh.
func (g *GroupOf[K, V]) doChanContext(ctx context.Context, key K, fn func(context.Context) (V, error), fresh bool) <-chan ResultOf[V] {
	g, key = g.home(key)
	r := g.request(ctx, fn, fresh)
	results := make(chan ResultOf[V], 1)
	done := ctx.Done()
	if done == nil {
		switch l, _, how := g.board(key, results, &r); how {
		case refused:
			results <- ResultOf[V]{Err: ErrDeadlock}
		case leads, willLead:
			go l.lead(func() (V, error) { return fn(l.flight.party.context) }, new(result[V]))
		}
		return results
	}
	l, err := g.boardLeaver(key, &r) // before the call returns
	if err != nil {
		results <- ResultOf[V]{Err: err}
		return results
	}
	go func() {
		if waitOrLeave(&g.address, l, done); l.left {
			results <- ResultOf[V]{Err: endOf(ctx)}
			return
		}
		r := &l.row.result
		if r.ending == panicked {
			panic(r.err)
		}
		results <- r.forChan()
	}()
	return results
}

// endOf returns the error of a call that leaves because ctx is done. It is never nil.
func endOf(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return context.Canceled
}

// doHere is a DoContext that never leaves: as in Do, its own goroutine runs fn.
func (g *GroupOf[K, V]) doHere(key K, r *request[K, V]) (v V, err error, shared bool) {
	l, row, how := g.board(key, nil, r)
	switch how {
	case refused:
		return v, ErrDeadlock, false
	case joined:
		return row.await()
	}
	var res result[V]
	l.lead(func() (V, error) { return r.fn(l.flight.party.context) }, &res)
	return res.deliver()
}

// boardLeaver puts a call that may leave on a flight of key. If there is none, it begins
// one.
func (g *GroupOf[K, V]) boardLeaver(key K, r *request[K, V]) (*leaver[K, V], error) {
	if err := r.ctx.Err(); err != nil {
		return nil, err
	}
	d := &g.address
	a, ok := d.Claim()
	if !ok {
		l := newLone(key, r)
		var f *flight[K, V]
		if a, f = d.ClaimOrEnter(flight[K, V]{key: key, party: l.party}); f != nil {
			go leader[K, V]{flight: f, address: d, begun: true}.host(false, r.fn)
			return l, nil
		}
	}
	asked := *r // on the heap, unlike r
	l := &leaver[K, V]{answers: newAnswers(), inside: r.inside}
	c := &call[K, V]{flight: flight[K, V]{key: key}, request: &asked, leaver: l}
	ask(a, c, l.answers)
	switch c.answer {
	case refused:
		return nil, ErrDeadlock
	case hosts:
		go leader[K, V]{flight: &c.flight, activation: a, begun: true}.host(false, r.fn)
	}
	return l, nil
}

// newLone returns the leaver that begins a flight alone. Its row, which will hold the result,
// is allocated with it and not with the party, which fn's context keeps.
func newLone[K comparable, V any](key K, r *request[K, V]) *leaver[K, V] {
	p := newParty[K, V](key, true)
	p.provide(r)
	own := new(struct {
		leaver leaver[K, V]
		row    row[V]
	})
	own.row.landed, own.row.callers = make(chan struct{}), 1
	p.row, p.inRows = &own.row, 1
	own.leaver.party, own.leaver.row = p, p.row
	return &own.leaver
}

// waitOrLeave waits until l's flight has landed or, if done is closed before, leaves it. The
// owner says whether the call has left: it handles leave or land first. If there is no owner,
// the flight has landed.
func waitOrLeave[K comparable, V any](d *address[K, V], l *leaver[K, V], done <-chan struct{}) {
	select {
	case <-l.row.landed:
		return
	case <-done:
	}
	if a, ok := d.Claim(); ok {
		if l.answers == nil {
			l.answers = newAnswers()
		}
		a.Send(leave[K, V]{l})
		<-l.answers
	}
	if !l.left {
		<-l.row.landed
	} else if l.last {
		l.party.cancel(ErrAbandoned)
	}
}
