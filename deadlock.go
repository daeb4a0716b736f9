package singleflight

import "errors"

// This file detects calls that would wait for themselves.
//
// fn's context holds the party of the flight that fn runs in, so a call made with it says
// where it is made. In the party of each flight the owner counts the calls that wait for
// that flight, by the flights they are made in. These are the edges of a graph, from a
// flight that waits to one that it waits for; the owner refuses a call whose edge would
// close a circle. A next flight has an edge, too, to the flight that it waits for. A
// flight that lands takes the edges to it away, and a call that leaves takes its own. An
// edge from a flight that has landed stays until the other lands, and closes no circle.
//
// A flight without a party is no node of the graph: no call that is made in a flight waits
// for it, and none is made in it.

// ErrDeadlock is what a call with a context returns if it would wait, directly or by way
// of other flights of the same Group, for the flight that it is made in.
var ErrDeadlock = errors.New("singleflight: the call would wait for itself")

// nest counts a call that is made in the flight of inside, and waits for that of p.
func (p *party[K, V]) nest(inside *party[K, V]) {
	if p.nested == nil {
		p.nested = make(map[*party[K, V]]int)
	}
	p.nested[inside]++
}

// unnest undoes nest.
func (p *party[K, V]) unnest(inside *party[K, V]) {
	p.nested[inside]--
	if p.nested[inside] == 0 {
		delete(p.nested, inside)
	}
}

// awaitedBy reports whether the flight of other is that of p, or waits for it, directly or
// through others that have not been seen. It takes time in proportion to these.
func (p *party[K, V]) awaitedBy(other *party[K, V], seen map[*party[K, V]]bool) bool {
	if p == other || seen[p] {
		return p == other
	}
	seen[p] = true
	for outer := range p.nested {
		if outer.awaitedBy(other, seen) {
			return true
		}
	}
	return p.next != nil && p.next.flight.party.awaitedBy(other, seen)
}
