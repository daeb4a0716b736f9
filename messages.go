package singleflight

import "github.com/actorflight/singleflight/actor"

// This file has all messages to the owner, and what the owner does on each. The owner
// never blocks: every channel that it answers on has room for the answer. How to add a
// message is told in tour/README.md.

// The note of a call that is alone in a Group is its flight.
type (
	address[K comparable, V any]    = actor.Address[state[K, V], flight[K, V]]
	activation[K comparable, V any] = actor.Activation[state[K, V], flight[K, V]]
	owner[K comparable, V any]      = actor.Owner[state[K, V], flight[K, V]]
)

// A call is a call that asks the owner. It begins a flight, the one embedded here,
// or joins another.
type call[K comparable, V any] struct {
	flight[K, V]
	request *request[K, V] // nil if the call has no context
	leaver  *leaver[K, V]  // nil if the call never leaves

	// Written by the owner before it answers:
	answer answer
	on     *flight[K, V] // the flight that the call is on
	seat   int           // where in on.waiters.turns a Do that has joined is
}

// An answer is what the owner tells a call about the flight it is on.
type answer uint8

const (
	joined  answer = iota // another call leads it, or no caller
	leads                 // the call leads it
	standby               // it has not begun; unless the call may leave, it leads it, from its next turn
	refused               // the call is on none: it would wait for itself
)

// newCall returns a call to be sent in a do. results is nil unless it is a DoChan.
func newCall[K comparable, V any](key K, results chan ResultOf[V]) *call[K, V] {
	return &call[K, V]{flight: flight[K, V]{key: key, results: results, turn: newTurn()}}
}

// newTurn returns a channel on which a call gets the answers to its messages, and the
// landing of the flight that it has joined, or the beginning of the one that it leads. At
// most two of these are sent and not received yet. The channel has room for both, so
// neither the owner nor a leader waits for the receiver. No turn is kept for another call:
// a channel that was made in a synctest bubble must not be used outside it.
func newTurn() chan struct{} { return make(chan struct{}, 2) }

// release releases the claim of a message. With the last claim, nothing is in flight.
func release[K comparable, V any](o *owner[K, V]) {
	if o.Release() && o.State.rest != nil {
		close(o.State.rest)
	}
}

// do comes from a caller. The answer tells it what flight it is on. A flight that
// begins keeps the claim for done.
type do[K comparable, V any] struct{ call *call[K, V] }

func (m do[K, V]) Handle(o *owner[K, V]) {
	c, s := m.call, stateOf(o)
	turn := c.turn
	if f, ok := s.flights[c.key]; !ok {
		c.answer = leads
		s.flights[c.key] = c.found(true)
	} else if c.request != nil && s.awaits(f.waiters, c.request.inside) {
		c.answer = refused
	} else if f.callers() > 0 {
		c.join(f)
	} else {
		s.wait(c, f)
	}
	if c.request != nil && c.answer != refused {
		s.nest(c.on.waiters, c.request.inside)
	}
	c.request, c.leaver = nil, nil // or the flight embedded in c would keep them
	if c.answer != leads {
		release(o)
	}
	turn <- struct{}{}
}

// done comes from a leader whose fn has ended. The answer gives it the waiters. So when
// the leader releases them, the key is free, or belongs to the flight that waited for
// this one.
type done[K comparable, V any] struct{ flight *flight[K, V] }

func (m done[K, V]) Handle(o *owner[K, V]) {
	f, s := m.flight, stateOf(o)
	if s.flights[f.key] == f {
		delete(s.flights, f.key)
	} else {
		delete(s.forgotten, f)
	}
	delete(s.nested, f.waiters)
	beginNext(o, f)
	f.turn <- struct{}{}
}

// leave comes from a call whose context is done. If the flight has landed before, the
// call gets the landing besides the answer, and the owner must not write to the leaver:
// the activation may be a later one than the call's.
type leave[K comparable, V any] struct{ leaver *leaver[K, V] }

func (m leave[K, V]) Handle(o *owner[K, V]) {
	l, s := m.leaver, stateOf(o)
	if next, ok := s.find(l.flight); ok {
		l.left = true
		w := l.flight.waiters
		w.leavers[len(w.leavers)-1].seat = l.seat
		w.leavers = vacate(w.leavers, l.seat)
		s.unnest(w, l.inside)
		abandoned := l.flight.callers() == 0
		if next == nil {
			l.last = abandoned
		} else if abandoned {
			delete(s.next, next.after) // it will not begin
		} else if next.requests != nil {
			next.requests = vacate(next.requests, l.seat)
		}
	}
	release(o)
	l.turn <- struct{}{}
}

// forget comes from any goroutine. A flight that is forgotten goes on for the calls on
// it. The answer says whether the key is free.
type forget[K comparable, V any] struct {
	key        K
	ifUnshared bool      // spare a flight of several callers, or with another behind it
	free       chan bool // the answer; has room for it, as a turn has
}

func newForget[K comparable, V any](key K, ifUnshared bool) *forget[K, V] {
	return &forget[K, V]{key: key, ifUnshared: ifUnshared, free: make(chan bool, 1)}
}

func (m *forget[K, V]) Handle(o *owner[K, V]) {
	s := stateOf(o)
	f, ok := s.flights[m.key]
	free := !ok || !m.ifUnshared || f.callers() <= 1 && s.next[f.waiters] == nil
	if ok && free {
		delete(s.flights, m.key)
		if s.forgotten == nil {
			s.forgotten = make(map[*flight[K, V]]struct{})
		}
		s.forgotten[f] = struct{}{}
		beginNext(o, f)
	} else {
		release(o)
	}
	m.free <- free
}

// list comes from InFlight. The answer is all flights.
type list[K comparable, V any] struct {
	flights chan []FlightOf[K] // the answer; has room for it
}

func newList[K comparable, V any]() list[K, V] {
	return list[K, V]{make(chan []FlightOf[K], 1)}
}

func (m list[K, V]) Handle(o *owner[K, V]) {
	s := stateOf(o)
	all := make([]FlightOf[K], 0, len(s.flights)+len(s.forgotten))
	for _, f := range s.flights {
		all = append(all, f.describe(Flying))
		if next := s.next[f.waiters]; next != nil {
			all = append(all, next.flight.describe(Waiting))
		}
	}
	for f := range s.forgotten {
		all = append(all, f.describe(Forgotten))
	}
	release(o)
	m.flights <- all
}

// wait comes from Wait. The answer is a channel that is closed when the activation
// is over; all calls of Wait in an activation get the same.
type wait[K comparable, V any] struct {
	rest chan (<-chan struct{}) // the answer; has room for it
}

func newWait[K comparable, V any]() wait[K, V] {
	return wait[K, V]{make(chan (<-chan struct{}), 1)}
}

func (m wait[K, V]) Handle(o *owner[K, V]) {
	s := stateOf(o)
	if s.rest == nil {
		s.rest = make(chan struct{})
	}
	release(o)
	m.rest <- s.rest
}
