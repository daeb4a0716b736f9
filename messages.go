package singleflight

import (
	"context"

	"github.com/actorflight/singleflight/actor"
)

// This file has all messages to the owner, and what the owner does on each. The owner
// never blocks: every channel that it answers on has room for the answer. How to add a
// message is told in tour/README.md.

// The note that a call puts in a Group where it is alone is its flight. (Types that a
// state refers to must spell address out, and their methods must not take one: the
// compiler of Go 1.26 fails.)
type (
	address[K comparable, V any]    = actor.Address[state[K, V], flight[K, V]]
	activation[K comparable, V any] = actor.Activation[state[K, V], flight[K, V]]
	owner[K comparable, V any]      = actor.Owner[state[K, V], flight[K, V]]
)

// A call is what a do carries: the caller's request, and the owner's answer.
type call[K comparable, V any] struct {
	flight[K, V]                // that the call begins, unless it joins another
	request      *request[K, V] // nil if the call has no context
	leaver       *leaver[K, V]  // nil if the call never leaves

	// Written by the owner before it answers:
	answer answer
	led    *flight[K, V] // that the caller leads or will lead
	row    *row[V]       // that the caller waits in, if it has neither a leaver nor a channel
}

// A request is what a call with a context asks for.
type request[K comparable, V any] struct {
	ctx    context.Context
	group  *actor.Address[state[K, V], flight[K, V]]
	inside *party[K, V] // of the flight that the call is made in, or nil
	fn     func(context.Context) (V, error)
	fresh  bool // the call joins no flight that has begun
}

// A leaver is a call that may leave the flight that it is on.
type leaver[K comparable, V any] struct {
	// Owned by the caller, and by the owner while it handles a message of the caller:
	answers chan struct{} // where the caller waits for answers; nil until it needs one

	// Immutable once the call is on a flight:
	inside *party[K, V] // as in request
	party  *party[K, V] // of the flight that the call is on
	row    *row[V]      // that the caller waits in

	// Written by the owner before it answers leave:
	left bool // the call has left
	last bool // the flight has begun, and has no callers any more
}

// An answer tells a call what it is to a flight.
type answer uint8

const (
	leads    answer = iota // the flight begins, and the caller leads it
	hosts                  // the flight begins, and the caller, which may leave, starts its host
	joined                 // another leads the flight, or will lead it
	waits                  // the flight has not begun; a host will lead it, unless a call takes the lead
	willLead               // the flight has not begun; the next answer is that the caller leads it
	refused                // the call is on no flight: it would wait for itself
)

// newAnswers returns a channel on which one goroutine gets the answers to its messages. It
// has room for two, because a do may get two: willLead, and that the flight begins. No
// such channel is kept for another call: one that was made in a synctest bubble must not
// be used outside it.
func newAnswers() chan struct{} { return make(chan struct{}, 2) }

// release releases the claim of a message. With the last claim, nothing is in flight.
func release[K comparable, V any](o *owner[K, V]) {
	if o.Release() && o.State.rest != nil {
		close(o.State.rest)
	}
}

// do comes from a caller. The answer tells it what it is to a flight. A flight that begins
// keeps the claim for land.
type do[K comparable, V any] struct{ call *call[K, V] }

func (m do[K, V]) Handle(o *owner[K, V]) {
	c, s := m.call, stateOf(o)
	answers, f := c.answers, s.flights[c.key]
	if c.leaver != nil {
		answers = c.leaver.answers
	}
	var inside *party[K, V]
	if c.request != nil {
		inside = c.request.inside
	}
	if f == nil {
		f = c.begin()
		s.flights[c.key] = f
	} else if inside != nil && inside.awaitedBy(f.party, make(map[*party[K, V]]bool)) {
		c.answer = refused
	} else if c.request != nil && c.request.fresh || f.party != nil && f.party.abandoned() {
		f = c.joinNext(f)
	} else {
		c.join(f)
	}
	if inside != nil && c.answer != refused {
		f.party.nest(inside)
	}
	c.request, c.leaver = nil, nil // or the flight embedded in c would keep them
	if c.answer != leads && c.answer != hosts {
		release(o)
	}
	answers <- struct{}{}
}

// land comes from a leader whose fn has ended. When the owner has answered, no call can join
// the flight any more.
type land[K comparable, V any] struct{ flight *flight[K, V] }

func (m land[K, V]) Handle(o *owner[K, V]) {
	f, s := m.flight, stateOf(o)
	if s.flights[f.key] == f {
		delete(s.flights, f.key)
	} else {
		delete(s.forgotten, f.party)
	}
	if f.party != nil {
		f.party.nested = nil // no call waits for f any more
	}
	beginNext(o, f)
	f.answers <- struct{}{}
}

// leave comes from a caller whose context has ended. A caller whose flight has landed does
// not leave; the activation may then be a later one than the flight's.
type leave[K comparable, V any] struct{ leaver *leaver[K, V] }

func (m leave[K, V]) Handle(o *owner[K, V]) {
	l, s := m.leaver, stateOf(o)
	p := l.party
	if next, ok := s.find(p); ok {
		l.left = true
		p.leave(l)
		if next == nil {
			l.last = p.abandoned()
		} else if p.abandoned() {
			s.flights[p.key].party.next = nil // it will not begin
		} else if next.requests != nil {
			next.requests.Remove(next.places[l])
			delete(next.places, l)
		}
	}
	release(o)
	l.answers <- struct{}{}
}

// forget comes from any goroutine. A flight that is forgotten goes on for the calls on it.
// The answer says whether that was done, or not needed.
type forget[K comparable, V any] struct {
	key        K
	ifUnshared bool      // spare a flight that has several callers or a next flight
	free       chan bool // the answer; has room for it
}

func (m *forget[K, V]) Handle(o *owner[K, V]) {
	s := stateOf(o)
	f := s.flights[m.key]
	free := f == nil || !m.ifUnshared || f.callers() <= 1 && f.next() == nil
	if f != nil && free {
		delete(s.flights, m.key)
		if s.forgotten == nil {
			s.forgotten = make(map[*party[K, V]]*flight[K, V])
		}
		s.forgotten[f.needParty()] = f
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

func (m list[K, V]) Handle(o *owner[K, V]) {
	s := stateOf(o)
	all := make([]FlightOf[K], 0, len(s.flights)+len(s.forgotten))
	for _, f := range s.flights {
		all = append(all, f.describe(Flying))
		if next := f.next(); next != nil {
			all = append(all, next.flight.describe(Waiting))
		}
	}
	for _, f := range s.forgotten {
		all = append(all, f.describe(Forgotten))
	}
	release(o)
	m.flights <- all
}

// rest comes from Wait. The answer is a channel that is closed when the activation is
// over; all calls of Wait in an activation get the same. It is nil if the call is made in
// a flight that has not landed, and would wait for that.
type rest[K comparable, V any] struct {
	inside *party[K, V]           // of the flight that the call is made in, or nil
	rest   chan (<-chan struct{}) // the answer; has room for it
}

func (m *rest[K, V]) Handle(o *owner[K, V]) {
	s := stateOf(o)
	inFlight := false
	if m.inside != nil {
		_, inFlight = s.find(m.inside)
	}
	var answer chan struct{}
	if !inFlight {
		if s.rest == nil {
			s.rest = make(chan struct{})
		}
		answer = s.rest
	}
	release(o)
	m.rest <- answer
}
