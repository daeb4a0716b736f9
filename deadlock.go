package singleflight

import "errors"

// This file detects calls that would wait for themselves.
//
// fn's context holds the flight that fn runs in, so a call made with it says where it is
// made. For each flight the owner counts the calls that wait for it, by the flights they
// were made in. These are the edges of a graph, from a flight that waits to one that it
// waits for; the owner refuses a call whose edge would close a circle. A flight that
// lands takes the edges to it away, and a call that leaves takes its own.
//
// A flight is represented by its waiters, which exist before its place in memory is
// known.

// ErrDeadlock is what a call with a context returns if it would wait, directly or
// by way of other flights of the same Group, for the flight that it is made in.
var ErrDeadlock = errors.New("singleflight: the call would wait for itself")

// nest counts a call that is made in the flight of inside, and waits for that of w.
func (s *state[K, V]) nest(w, inside *waiters[K, V]) {
	if inside == nil {
		return
	}
	if s.nested == nil {
		s.nested = make(map[*waiters[K, V]]map[*waiters[K, V]]int)
	}
	if s.nested[w] == nil {
		s.nested[w] = make(map[*waiters[K, V]]int)
	}
	s.nested[w][inside]++
}

// unnest undoes nest.
func (s *state[K, V]) unnest(w, inside *waiters[K, V]) {
	if inside == nil {
		return
	}
	s.nested[w][inside]--
	if s.nested[w][inside] == 0 {
		delete(s.nested[w], inside)
	}
	if len(s.nested[w]) == 0 {
		delete(s.nested, w)
	}
}

// awaits reports whether the flight of w is that of inside, or waits for it, directly or
// through others. It takes time in proportion to the flights that wait for that of inside.
func (s *state[K, V]) awaits(w, inside *waiters[K, V]) bool {
	if inside == nil {
		return false // the call is not made in a flight
	}
	seen := make(map[*waiters[K, V]]bool)
	var visit func(inside *waiters[K, V]) bool
	visit = func(inside *waiters[K, V]) bool {
		if seen[inside] {
			return false
		}
		seen[inside] = true
		if inside == w {
			return true
		}
		for outer := range s.nested[inside] {
			if visit(outer) {
				return true
			}
		}
		next := s.next[inside]
		return next != nil && visit(next.flight.waiters)
	}
	return visit(inside)
}
