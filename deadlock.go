package singleflight

import "errors"

// This file finds the calls that would wait for themselves.
//
// fn's context holds the flight that fn runs in, so a call that is made with it,
// or with one derived from it, says where it is made. Each flight counts
// the calls that wait for it by the flights they were made in. These are the
// edges of a graph, from what waits to what it waits for. The owner adds
// none that would close a circle. A landing takes the edges to the flight away, and
// a call that leaves takes its own.
//
// Flights are represented by their waiters, which exist before the flight's place
// in memory is known.

// ErrDeadlock is what a call with a context returns if it would wait, directly or
// by way of other flights of the same Group, for the flight that it is made in.
var ErrDeadlock = errors.New("singleflight: the call would wait for itself")

// nest counts a call that is made in the flight of inside, and waits for that of w.
func (w *waiters[K, V]) nest(inside *waiters[K, V]) {
	if inside == nil {
		return
	}
	if w.nested == nil {
		w.nested = make(map[*waiters[K, V]]int)
	}
	w.nested[inside]++
}

// unnest undoes nest.
func (w *waiters[K, V]) unnest(inside *waiters[K, V]) {
	if inside == nil {
		return
	}
	w.nested[inside]--
	if w.nested[inside] == 0 {
		delete(w.nested, inside)
	}
}

// awaitedBy reports whether other is w, or waits for w, directly or by way of others. It
// takes time in proportion to the flights that wait for w's.
func (w *waiters[K, V]) awaitedBy(other *waiters[K, V]) bool {
	if w == nil {
		return false // the call is not made in a flight
	}
	seen := make(map[*waiters[K, V]]bool)
	var visit func(w *waiters[K, V]) bool
	visit = func(w *waiters[K, V]) bool {
		if w == nil || seen[w] {
			return false
		}
		seen[w] = true
		if w == other {
			return true
		}
		for inside := range w.nested {
			if visit(inside) {
				return true
			}
		}
		return w.next != nil && visit(w.next.waiters)
	}
	return visit(w)
}
