package singleflight

import "context"

// This file is for those who do not call fn: what is in flight, and when nothing
// is any more.

// A FlightOf is what [GroupOf.InFlight] tells of a flight.
type FlightOf[K comparable] struct {
	Key     K
	Callers int // that get its result: the leader's, and those that have joined
	State   State
}

// Flight is what InFlight of a [Group] tells of a flight.
type Flight = FlightOf[string]

// A State says whether a flight can be joined.
type State uint8

const (
	// Flying says that the next call with the key joins the flight.
	Flying State = iota

	// Forgotten says that the flight goes on for its callers, but that Forget has
	// freed its key.
	Forgotten
)

// String returns the name of s in lower case.
func (s State) String() string {
	if s == Forgotten {
		return "forgotten"
	}
	return "flying"
}

// InFlight returns the flights of g, in no particular order: all that are in flight
// at one moment between the call of InFlight and its return. Flights of keys that do
// not equal themselves are left out.
//
// While the owner makes the list, which takes longer the more flights there are, it
// handles no other message. At rest InFlight returns nil, and starts nothing.
func (g *GroupOf[K, V]) InFlight() []FlightOf[K] {
	a, ok := g.address.Claim()
	if !ok {
		return nil
	}
	m := newList[K, V]()
	a.Send(m)
	return <-m.flights
}

// Wait returns nil as soon as nothing is in flight in g, or ctx.Err() if ctx ends
// before. Forgotten flights, and those whose DoChan channels were abandoned, are in
// flight until they land. Calls that begin meanwhile are waited for, too; so at
// shutdown, first keep new calls away. Wait does not see flights of keys that do not
// equal themselves.
//
// Wait panics if ctx is nil.
func (g *GroupOf[K, V]) Wait(ctx context.Context) error {
	done := ctx.Done()
	a, ok := g.address.Claim()
	if !ok {
		return nil
	}
	m := newWait[K, V]()
	a.Send(m)
	select {
	case <-<-m.rest:
		return nil
	case <-done:
		return ctx.Err()
	}
}

// InFlight is [GroupOf.InFlight], of one shard after another.
func (s *ShardedOf[K, V]) InFlight() (flights []FlightOf[K]) {
	for i := range s.shards {
		flights = append(flights, s.shards[i].InFlight()...)
	}
	return flights
}

// Wait is [GroupOf.Wait], for one shard after another: each has been at rest when
// Wait returns nil, though not all at the same moment.
func (s *ShardedOf[K, V]) Wait(ctx context.Context) error {
	for i := range s.shards {
		if err := s.shards[i].Wait(ctx); err != nil {
			return err
		}
	}
	return nil
}
