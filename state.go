package singleflight

import (
	"context"

	"github.com/actorflight/singleflight/actor"
)

// This file has what the owner owns, and what it does with flights and their callers.

// A state is what the owner owns.
type state[K comparable, V any] struct {
	flights   map[K]*flight[K, V]                       // those that have their key; all have begun
	forgotten map[*flight[K, V]]struct{}                // the others, until they land
	next      map[*waiters[K, V]]*successor[K, V]       // by the abandoned flight that it waits for
	nested    map[*waiters[K, V]]map[*waiters[K, V]]int // see deadlock.go
	rest      chan struct{}                             // closed when nothing is in flight; nil if no Wait has come
}

// A successor is a flight that begins when an abandoned one ends.
type successor[K comparable, V any] struct {
	flight   *flight[K, V]
	after    *waiters[K, V]   // of the abandoned one
	requests []*request[K, V] // of flight's leavers, seat by seat; nil if a caller will lead
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

// waiters are the calls that wait for a flight, and what a flight needs besides if its
// fn gets a context.
type waiters[K comparable, V any] struct {
	// Owned by the owner until it answers done, then immutable:
	channels []chan ResultOf[V] // of DoChan
	turns    []chan struct{}    // of Do, each with room
	leavers  []*leaver[K, V]    // of calls that may leave, and have not

	// Immutable when the flight has begun:
	values  context.Context                           // the context of the call that asked for fn
	group   *actor.Address[state[K, V], flight[K, V]] // that the flight is in
	context context.Context                           // what fn gets; nil if it gets none
	abandon context.CancelCauseFunc                   // ends context; nil if the leader is a caller

	// Owned by the leader; immutable when it releases the waiters:
	result result[V]
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
	// Immutable once the call is on a flight:
	turn   chan struct{}  // where the call waits for answers, and for the landing
	inside *waiters[K, V] // as in request
	flight *flight[K, V]  // that the call is on

	// Owned by the owner until the flight lands, then by the call:
	seat int // where in flight.waiters.leavers the call is

	// Written by the owner, before it answers leave:
	left bool // the call has left
	last bool // no caller is left; the flight is abandoned
}

// stateOf returns what the owner owns. At first that is the flight of the call that was
// alone.
func stateOf[K comparable, V any](o *owner[K, V]) *state[K, V] {
	if o.Note != nil {
		o.State.flights = map[K]*flight[K, V]{o.Note.key: o.Note}
		o.Note = nil // do not keep the flight until the owner ends
	}
	return &o.State
}

// A lone is all that the flight of a leaver that is alone needs, in one allocation.
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

// hosted reports whether a host leads f, or will, and no caller.
func (f *flight[K, V]) hosted() bool { return f.waiters != nil && f.waiters.abandon != nil }

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

// find reports whether f has not landed. If it has not begun, either, find returns it
// as a successor.
func (s *state[K, V]) find(f *flight[K, V]) (next *successor[K, V], ok bool) {
	if _, ok := s.forgotten[f]; ok {
		return nil, true
	}
	current, ok := s.flights[f.key]
	if !ok || current == f {
		return nil, ok
	}
	next = s.next[current.waiters]
	return next, next != nil && next.flight == f
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
			w.abandon = func(error) {} // until the flight begins
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
	} else if c.results != nil {
		w.channels = append(w.channels, c.results)
	} else {
		c.seat = len(w.turns)
		w.turns = append(w.turns, c.turn)
	}
}

// wait puts c on the flight that begins when f, which is abandoned, ends. If one of the
// calls there never leaves, it will lead; so fn of a Do stays in its own goroutine.
func (s *state[K, V]) wait(c *call[K, V], f *flight[K, V]) {
	next := s.next[f.waiters]
	if next == nil {
		next = &successor[K, V]{flight: c.found(false), after: f.waiters}
		if s.next == nil {
			s.next = make(map[*waiters[K, V]]*successor[K, V])
		}
		s.next[f.waiters] = next
		c.answer = standby
	} else if next.requests != nil && c.leaver == nil {
		c.takeOver(next.flight)
		next.requests = nil
	} else {
		c.join(next.flight)
	}
	if c.leaver != nil && next.flight.hosted() {
		next.requests = append(next.requests, c.request)
	}
}

// takeOver makes c, which never leaves, the leader of f, which has not begun.
func (c *call[K, V]) takeOver(f *flight[K, V]) {
	c.answer, c.on = standby, f
	f.turn, f.results = c.turn, c.results
	f.waiters.abandon = nil
	if c.request != nil {
		f.waiters.provide(*c.request, false)
	}
}

// vacate removes a seat from a list. The last one gets it.
func vacate[T any](list []*T, seat int) []*T {
	last := len(list) - 1
	list[seat], list[last] = list[last], nil
	return list[:last]
}

// beginNext begins the flight that waits for f, which gets the key, and the claim of
// the message that is being handled. If there is none, beginNext releases the claim.
func beginNext[K comparable, V any](o *owner[K, V], f *flight[K, V]) {
	s := &o.State
	next := s.next[f.waiters]
	if next == nil {
		release(o)
		return
	}
	delete(s.next, f.waiters)
	f = next.flight
	s.flights[f.key] = f
	if f.hosted() {
		first := next.requests[0]
		f.waiters.provide(*first, true)
		go host(o.Activation, f, first.fn)
	} else {
		f.turn <- struct{}{}
	}
}
