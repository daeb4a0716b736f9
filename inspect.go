package singleflight

import (
	"context"
	"strconv"
)

// This file reports what is in flight, and when nothing is.

// A FlightOf describes a flight, in the result of [GroupOf.InFlight].
type FlightOf[K comparable] struct {
	Key     K
	Callers int // that will get its result; 0 if all have left
	State   State

	// Context is the context that fn got, or nil if it got none, as in Do and DoChan. It has
	// the values of its call's context, such as a request's id or start. It is nil while State
	// is Waiting.
	Context context.Context
}

// Flight describes a flight of a [Group].
type Flight = FlightOf[string]

// A State says whether calls can join a flight.
type State uint8

const (
	// Flying means that the next call with the key joins the flight, unless it is fresh.
	Flying State = iota

	// Forgotten means that Forget has freed the key. The flight goes on for its callers.
	Forgotten

	// Abandoned means that all callers have left, and fn has not returned yet. No call
	// joins the flight. If Forget has freed its key, no call waits for it either.
	Abandoned

	// Waiting means that the flight begins when the one in progress with its key lands or
	// is forgotten. Fresh calls join it, and all calls if that one is abandoned.
	Waiting
)

// String returns the name of s in lower case.
func (s State) String() string {
	names := [...]string{Flying: "flying", Forgotten: "forgotten", Abandoned: "abandoned", Waiting: "waiting"}
	if int(s) < len(names) {
		return names[s]
	}
	return "State(" + strconv.Itoa(int(s)) + ")"
}

// describe returns what InFlight says of f; s is its state unless all callers have left.
func (f *flight[K, V]) describe(s State) FlightOf[K] {
	d := FlightOf[K]{Key: f.key, Callers: f.callers(), State: s}
	if d.Callers == 0 {
		d.State = Abandoned
	}
	if f.party != nil && s != Waiting {
		d.Context = f.party.context
	}
	return d
}

// InFlight returns the flights of g, in no particular order: all that are in flight at one
// moment between the call of InFlight and its return. It omits flights of keys that do not
// equal themselves.
//
// The owner makes the list, in time proportional to the number of flights, and handles no
// other message meanwhile. If a call is alone, InFlight starts an owner for it, which
// stays until its flight has landed: until then, other calls cost what it costs to ask an
// owner. At rest InFlight returns nil, and starts nothing.
func (g *GroupOf[K, V]) InFlight() []FlightOf[K] {
	a, ok := g.address.Claim()
	if !ok {
		return nil
	}
	m := list[K, V]{make(chan []FlightOf[K], 1)}
	a.Send(m)
	return <-m.flights
}

// Wait returns nil as soon as nothing is in flight in g, or ctx.Err() if ctx ends before.
// Forgotten and abandoned flights, those that wait for others to end, and flights whose
// DoChan channels nothing receives from are in flight until they land. Wait also waits for
// calls that begin meanwhile; so at shutdown, first stop new calls. It does not see
// flights of keys that do not equal themselves.
//
// If ctx is the context of an fn, or derived from one, and the flight of that fn is in
// flight in g, Wait would wait for it, and returns [ErrDeadlock] at once. A circle by way
// of another Group is not detected.
//
// Wait panics if ctx is nil.
func (g *GroupOf[K, V]) Wait(ctx context.Context) error {
	inside := g.inside(ctx)
	done := ctx.Done()
	a, ok := g.address.Claim()
	if !ok {
		return nil
	}
	m := &rest[K, V]{inside, make(chan (<-chan struct{}), 1)}
	a.Send(m)
	rest := <-m.rest
	if rest == nil {
		return ErrDeadlock
	}
	select {
	case <-rest:
		return nil
	case <-done:
		return endOf(ctx)
	}
}
