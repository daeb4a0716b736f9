package singleflight

import "github.com/actorflight/singleflight/actor"

// This file is all that can be said to the owner, and what the owner does on
// each message. The owner never blocks: every channel that it answers on has
// room for the answer.

// flights is what the owner owns.
type flights[K comparable, V any] struct {
	// first is the flight of the call that began the activation, in the air
	// before there was an owner. It is here by value so that a lone Do
	// allocates once. The owner only adopts it: see flight.
	first flight[K, V]

	// byKey holds the flights that a call can join.
	byKey map[K]*flight[K, V]
}

type (
	activation[K comparable, V any] = actor.Activation[flights[K, V]]
	message[K comparable, V any]    = actor.Message[flights[K, V]]
)

// A flight is one execution of a function, led by the call that runs it.
type flight[K comparable, V any] struct {
	// Immutable until the flight has landed:
	key     K
	results chan ResultOf[V] // where the leader's caller waits, for DoChan

	// turn is where the leader waits for an answer of the owner. The leader
	// makes it, with room for the answer, and hands it over with its message.
	turn chan struct{}

	// Owned by the owner until it answers done, then by the leader:
	firstWaiter, lastWaiter *call[K, V]
}

// A call is a Do or DoChan that asks the owner. It becomes a flight, the one
// embedded here; or it joins another flight, and then that one's leader sends to
// its results or gives it the turn.
type call[K comparable, V any] struct {
	flight[K, V]

	// Immutable:
	fn func() (V, error) // what a DoChan runs if it becomes a flight

	// Owned by the owner, then by the leader of the flight that was joined:
	next *call[K, V] // joined it after this call

	// Written by whoever gives the turn, read by who gets it:
	leads  bool      // the call became a flight
	result result[V] // of the flight that was joined
}

// adopt is the first message of an activation, left by the call that began it
// and leads already. Its claim stays in force for done.
type adopt[K comparable, V any] struct{ flight *flight[K, V] }

func (m adopt[K, V]) Handle(a *activation[K, V]) {
	a.State.byKey = map[K]*flight[K, V]{m.flight.key: m.flight}
}

// do comes from a caller. A call that joins a flight is answered by the leader
// of that flight. One that becomes a flight keeps its claim for done; a Do is
// told so, and for a DoChan the owner starts the goroutine that leads.
type do[K comparable, V any] struct{ call *call[K, V] }

func (m do[K, V]) Handle(a *activation[K, V]) {
	c := m.call
	if f, ok := a.State.byKey[c.key]; ok {
		f.join(c)
		a.Release()
		return
	}
	a.State.byKey[c.key] = &c.flight
	if c.results != nil {
		go lead(a, &c.flight, c.fn)
		return
	}
	c.leads = true
	c.turn <- struct{}{}
}

// done comes from a leader whose fn has ended. The answer gives it the waiters.
// It releases nobody before, and by then the key is free.
type done[K comparable, V any] struct{ flight *flight[K, V] }

func (m done[K, V]) Handle(a *activation[K, V]) {
	f := m.flight
	if a.State.byKey[f.key] == f { // else it was forgotten
		delete(a.State.byKey, f.key)
	}
	a.Release()
	f.turn <- struct{}{}
}

// forget comes from anybody. A flight that is forgotten goes on for those who
// joined it. The answer says whether the key is free.
type forget[K comparable, V any] struct {
	key        K
	ifUnshared bool      // spare a flight that has waiters
	free       chan bool // the answer; has room for it
}

func (m *forget[K, V]) Handle(a *activation[K, V]) {
	f, ok := a.State.byKey[m.key]
	free := !ok || !m.ifUnshared || f.firstWaiter == nil
	if free {
		delete(a.State.byKey, m.key)
	}
	a.Release()
	m.free <- free
}

// join makes c the last waiter of f.
func (f *flight[K, V]) join(c *call[K, V]) {
	if f.firstWaiter == nil {
		f.firstWaiter = c
	} else {
		f.lastWaiter.next = c
	}
	f.lastWaiter = c
}
