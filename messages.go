package singleflight

import "github.com/actorflight/singleflight/actor"

// This file is all that can be said to the owner, and what the owner does on
// each message. The owner never blocks: every channel that it answers on has
// room for the answer.

// flights is what the owner owns: the flights that a call can join.
type flights[K comparable, V any] map[K]*flight[K, V]

// Whoever is alone in a Group leaves its flight for an owner to find.
type (
	address[K comparable, V any]    = actor.Address[flights[K, V], flight[K, V]]
	activation[K comparable, V any] = actor.Activation[flights[K, V], flight[K, V]]
	owner[K comparable, V any]      = actor.Owner[flights[K, V], flight[K, V]]
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

// joinable returns the flights that the owner owns. In the beginning that is the
// one that was in the air before there was an owner.
func joinable[K comparable, V any](o *owner[K, V]) flights[K, V] {
	if o.Left != nil {
		o.State = flights[K, V]{o.Left.key: o.Left}
		o.Left = nil // it may land before the owner ends, and need not be kept
	}
	return o.State
}

// do comes from a caller. The answer tells it whether it leads or has joined. A
// leader keeps its claim for done.
type do[K comparable, V any] struct{ call *call[K, V] }

func (m do[K, V]) Handle(o *owner[K, V]) {
	c, flights := m.call, joinable(o)
	if f, ok := flights[c.key]; ok {
		f.join(c)
		o.Release()
	} else {
		flights[c.key] = &c.flight
	}
	c.turn <- struct{}{}
}

// done comes from a leader whose fn has ended. The answer gives it the waiters.
// It releases nobody before, and by then the key is free.
type done[K comparable, V any] struct{ flight *flight[K, V] }

func (m done[K, V]) Handle(o *owner[K, V]) {
	f, flights := m.flight, joinable(o)
	if flights[f.key] == f { // else it was forgotten
		delete(flights, f.key)
	}
	o.Release()
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
	flights := joinable(o)
	f, ok := flights[m.key]
	free := !ok || !m.ifUnshared || f.waiters == nil
	if free {
		delete(flights, m.key)
	}
	o.Release()
	m.free <- free
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
