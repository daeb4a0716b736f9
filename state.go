package singleflight

import (
	"context"

	"github.com/actorflight/singleflight/actor"
)

// This file is what the owner owns, and what it does with flights and their callers.

// A state is what the owner owns.
type state[K comparable, V any] struct {
	flights   map[K]*flight[K, V]        // those that have their key; all have begun
	forgotten map[*flight[K, V]]struct{} // the others, until they land
	rest      chan struct{}              // closed when nothing is in flight; nil if no Wait has come
}

// A flight is one execution of a function.
type flight[K comparable, V any] struct {
	// Immutable:
	key K

	// Owned by the leader, and lent with its messages; by the owner while the flight
	// waits to begin:
	turn    chan struct{}    // where the leader waits for answers; see newTurn
	results chan ResultOf[V] // where the leader's caller waits, for DoChan

	// Owned by the owner until it answers done, then by the leader:
	waiters *waiters[K, V] // nil if no call has joined, and fn gets no context
}

// waiters are the calls that wait for a flight, and what else a flight has that is more
// than a lone Do's.
type waiters[K comparable, V any] struct {
	// Owned by the owner until it answers done, then the leader's and the waiters':
	channels []chan ResultOf[V] // of DoChan
	turns    []chan struct{}    // of Do, each with room
	leavers  []*leaver[K, V]    // of calls that may leave, and have not

	// Owned by the owner:
	requests []*request[K, V]       // of leavers, while one of them will begin the flight; else nil
	next     *flight[K, V]          // begins when this one, abandoned, ends; or nil
	nested   map[*waiters[K, V]]int // calls that wait, by the flight they are made in; see deadlock.go

	// Immutable when the flight has begun:
	origin  origin[K, V]
	context context.Context         // what fn gets: origin or derived from it; nil if it gets none
	abandon context.CancelCauseFunc // ends context; nil if the leader is a caller

	// Owned by the leader until the waiters are released, then theirs:
	result result[V]
	shared bool
}

// An origin is a context that never ends, with the values of another. It says in which
// flight of which Group a call is made with it.
type origin[K comparable, V any] struct {
	context.Context // Background
	values          context.Context
	group           *actor.Address[state[K, V], flight[K, V]]
	flight          *waiters[K, V]
}

// originKey is the key under which a context has the origin that it is derived from.
type originKey struct{}

func (o *origin[K, V]) Value(key any) any {
	if key == (originKey{}) {
		return o
	}
	return o.values.Value(key)
}

// A request is what a call with a context asks for.
type request[K comparable, V any] struct {
	ctx    context.Context
	group  *actor.Address[state[K, V], flight[K, V]]
	inside *waiters[K, V]                   // of the flight that the call is made in, or nil
	fn     func(context.Context) (V, error) // nil unless the call may leave
}

// A leaver is a call that may leave the flight it is on.
type leaver[K comparable, V any] struct {
	// Immutable when the call is on a flight:
	turn   chan struct{}  // where the call waits for answers, and for the landing
	inside *waiters[K, V] // as in request
	flight *flight[K, V]  // that the call is on

	// Owned by the owner until the flight lands, then the call's:
	seat int // where in flight.waiters.leavers the call is

	// Written by the owner, before it answers leave:
	left bool // the call has left
	last bool // the flight is abandoned thereby
}

// stateOf returns what the owner owns. In the beginning that is the flight that was
// in the air before there was an owner.
func stateOf[K comparable, V any](o *owner[K, V]) *state[K, V] {
	if o.Left != nil {
		o.State.flights = map[K]*flight[K, V]{o.Left.key: o.Left}
		o.Left = nil // it may land before the owner ends, and need not be kept
	}
	return &o.State
}

// provide makes the context that fn gets, for r.
func (w *waiters[K, V]) provide(r request[K, V], hosted bool) {
	w.origin = origin[K, V]{context.Background(), r.ctx, r.group, w}
	w.context, w.abandon = &w.origin, nil
	if hosted {
		w.context, w.abandon = context.WithCancelCause(w.context)
	}
}

// A lone is what the flight of a leaver that is alone has, in one piece: most calls
// are alone.
type lone[K comparable, V any] struct {
	waiters[K, V]
	leaver leaver[K, V]
	seats  [1]*leaver[K, V]
}

func newLone[K comparable, V any](r request[K, V]) *lone[K, V] {
	l := &lone[K, V]{leaver: leaver[K, V]{turn: newTurn()}}
	l.provide(r, true)
	l.seats[0] = &l.leaver
	l.leavers = l.seats[:]
	return l
}

// hosted reports whether no caller leads f, or will lead it.
func (f *flight[K, V]) hosted() bool {
	w := f.waiters
	return w != nil && (w.abandon != nil || w.requests != nil)
}

// callers returns how many calls get the result of f: none if f is abandoned.
func (f *flight[K, V]) callers() (n int) {
	if !f.hosted() {
		n = 1
	}
	if w := f.waiters; w != nil {
		n += len(w.channels) + len(w.turns) + len(w.leavers)
	}
	return n
}

// next returns the flight that begins when f ends, or nil.
func (f *flight[K, V]) next() *flight[K, V] {
	if f.waiters == nil {
		return nil
	}
	return f.waiters.next
}

// find reports whether f has not landed, and if it has not begun, either, which flight
// it waits for.
func (s *state[K, V]) find(f *flight[K, V]) (before *flight[K, V], ok bool) {
	if _, ok := s.forgotten[f]; ok {
		return nil, true
	}
	current, ok := s.flights[f.key]
	if ok && current.next() == f {
		return current, true
	}
	return nil, current == f
}

// found makes c a flight of its own, which begins or has to wait.
func (c *call[K, V]) found(begins bool) *flight[K, V] {
	c.on = &c.flight
	if c.request == nil {
		return c.on
	}
	w := new(waiters[K, V])
	c.waiters = w
	if l := c.leaver; l != nil {
		c.turn = nil // that of the caller, which will not lead
		l.flight = c.on
		w.leavers = append(w.leavers, l)
		if !begins {
			w.requests = append(w.requests, c.request)
			return c.on
		}
	}
	w.provide(*c.request, c.leaver != nil)
	return c.on
}

// join makes c the last waiter of f. It keeps no reference to c.
func (c *call[K, V]) join(f *flight[K, V]) {
	c.answer, c.on = joined, f
	if f.waiters == nil {
		f.waiters = new(waiters[K, V])
	}
	w := f.waiters
	if c.leaver != nil {
		c.leaver.flight, c.leaver.seat = f, len(w.leavers)
		w.leavers = append(w.leavers, c.leaver)
		if w.requests != nil {
			w.requests = append(w.requests, c.request)
		}
	} else if c.results != nil {
		w.channels = append(w.channels, c.results)
	} else {
		c.seat = len(w.turns)
		w.turns = append(w.turns, c.turn)
	}
}

// takeOver makes c, which never leaves, the leader of f, which has not begun. So
// the leader of a flight that waits can only leave if all on it can.
func (c *call[K, V]) takeOver(f *flight[K, V]) {
	c.answer, c.on = standby, f
	f.turn, f.results = c.turn, c.results
	w := f.waiters
	w.requests = nil
	if c.request != nil {
		w.provide(*c.request, false)
	}
}

// remove takes l from its flight. The last leaver gets its seat.
func (l *leaver[K, V]) remove() {
	w := l.flight.waiters
	last := len(w.leavers) - 1
	w.leavers[last].seat = l.seat
	w.leavers[l.seat] = w.leavers[last]
	w.leavers[last] = nil
	w.leavers = w.leavers[:last]
	if w.requests != nil {
		w.requests[l.seat] = w.requests[last]
		w.requests[last] = nil
		w.requests = w.requests[:last]
	}
	w.unnest(l.inside)
	l.left = true
}

// beginNext begins the flight that waits for f, which gets the key, and the claim of
// the message that is being handled. If there is none, beginNext releases the claim.
func beginNext[K comparable, V any](o *owner[K, V], f *flight[K, V]) {
	next := f.next()
	if next == nil {
		release(o)
		return
	}
	f.waiters.next = nil
	o.State.flights[next.key] = next
	if next.hosted() {
		w := next.waiters
		first := w.requests[0]
		w.requests = nil
		w.provide(*first, true)
		go host(nil, o.Activation, next, first.fn)
	} else {
		next.turn <- struct{}{}
	}
}
