package singleflight

import "github.com/actorflight/singleflight/actor"

// This file is all that can be said to the owner, and what the owner does on
// each message. The owner never blocks: every channel that it answers on has
// room for the answer.

// A state is what the owner owns.
type state[K comparable, V any] struct {
	flights   map[K]*flight[K, V]        // those that a call can join
	forgotten map[*flight[K, V]]struct{} // the others, until they land
	rest      chan struct{}              // closed when nothing is in flight; nil if no Wait has come
}

// Whoever is alone in a Group leaves its flight for an owner to find.
type (
	address[K comparable, V any]    = actor.Address[state[K, V], flight[K, V]]
	activation[K comparable, V any] = actor.Activation[state[K, V], flight[K, V]]
	owner[K comparable, V any]      = actor.Owner[state[K, V], flight[K, V]]
)

// A flight is one execution of a function, led by the call that runs it.
type flight[K comparable, V any] struct {
	// Immutable:
	key     K
	results chan ResultOf[V] // where the leader's caller waits, for DoChan

	// Owned by the call's goroutine, and lent with its messages:
	turn chan struct{} // where the call waits for answers; see newTurn

	// Owned by the owner until it answers done, then by the leader:
	waiters *waiters[V] // nil if no call has joined
}

// waiters are the calls that have joined a flight. They change hands with it.
type waiters[V any] struct {
	channels []chan ResultOf[V] // of DoChan
	turns    []chan struct{}    // of Do, each with room

	// Written by the leader, before any waiter is released:
	result result[V]
}

// A call is a Do or DoChan that asks the owner. It becomes a flight, the one
// embedded here, or it joins another flight.
type call[K comparable, V any] struct {
	flight[K, V]

	// Written by the owner before it answers:
	joined *waiters[V] // nil if the call became a flight
	seat   int         // where in joined.turns a Do is
}

// newCall returns a call to be sent in a do. results is nil for a Do.
func newCall[K comparable, V any](key K, results chan ResultOf[V]) *call[K, V] {
	return &call[K, V]{flight: flight[K, V]{key: key, results: results, turn: newTurn()}}
}

// newTurn returns a channel on which a call gets the answer to its do, and after
// that the answer to its done if it leads, or the landing if it is a Do that has
// joined. It has room for both, so that neither the owner nor a leader waits for
// the receiver.
func newTurn() chan struct{} { return make(chan struct{}, 2) }

// stateOf returns what the owner owns. In the beginning that is the flight that was
// in the air before there was an owner.
func stateOf[K comparable, V any](o *owner[K, V]) *state[K, V] {
	if o.Left != nil {
		o.State.flights = map[K]*flight[K, V]{o.Left.key: o.Left}
		o.Left = nil // it may land before the owner ends, and need not be kept
	}
	return &o.State
}

// release releases the claim of a message. With the last claim, nothing is in flight.
func release[K comparable, V any](o *owner[K, V]) {
	if o.Release() && o.State.rest != nil {
		close(o.State.rest)
	}
}

// do comes from a caller. The answer tells it whether it leads or has joined. A
// leader keeps its claim for done.
type do[K comparable, V any] struct{ call *call[K, V] }

func (m do[K, V]) Handle(o *owner[K, V]) {
	c, s := m.call, stateOf(o)
	if f, ok := s.flights[c.key]; ok {
		f.join(c)
		release(o)
	} else {
		s.flights[c.key] = &c.flight
	}
	c.turn <- struct{}{}
}

// done comes from a leader whose fn has ended. The answer gives it the waiters.
// It releases nobody before, and by then the key is free.
type done[K comparable, V any] struct{ flight *flight[K, V] }

func (m done[K, V]) Handle(o *owner[K, V]) {
	f, s := m.flight, stateOf(o)
	if s.flights[f.key] == f {
		delete(s.flights, f.key)
	} else {
		delete(s.forgotten, f)
	}
	release(o)
	f.turn <- struct{}{}
}

// forget comes from anybody. A flight that is forgotten goes on for those who
// joined it. The answer says whether the key is free.
type forget[K comparable, V any] struct {
	key        K
	ifUnshared bool      // spare a flight that has waiters
	free       chan bool // the answer; has room for it, as a turn has
}

func newForget[K comparable, V any](key K, ifUnshared bool) *forget[K, V] {
	return &forget[K, V]{key: key, ifUnshared: ifUnshared, free: make(chan bool, 1)}
}

func (m *forget[K, V]) Handle(o *owner[K, V]) {
	s := stateOf(o)
	f, ok := s.flights[m.key]
	free := !ok || !m.ifUnshared || f.waiters == nil
	if ok && free {
		delete(s.flights, m.key)
		if s.forgotten == nil {
			s.forgotten = make(map[*flight[K, V]]struct{})
		}
		s.forgotten[f] = struct{}{}
	}
	release(o)
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
		all = append(all, FlightOf[K]{f.key, f.callers(), Flying})
	}
	for f := range s.forgotten {
		all = append(all, FlightOf[K]{f.key, f.callers(), Forgotten})
	}
	release(o)
	m.flights <- all
}

// callers returns how many calls get the result of f.
func (f *flight[K, V]) callers() int {
	if f.waiters == nil {
		return 1
	}
	return 1 + len(f.waiters.channels) + len(f.waiters.turns)
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

// join makes c the last waiter of f. It keeps no reference to c.
func (f *flight[K, V]) join(c *call[K, V]) {
	if f.waiters == nil {
		f.waiters = new(waiters[V])
	}
	w := f.waiters
	c.joined, c.seat = w, len(w.turns)
	if c.results != nil {
		w.channels = append(w.channels, c.results)
		return
	}
	w.turns = append(w.turns, c.turn)
}
