package singleflight

import (
	"context"
	"slices"

	"github.com/actorflight/singleflight/actor"
)

// This file has what a flight has besides its leader.

// A party is the callers of a flight, the context of its fn, and its relations to other
// flights. A pointer to it stands for the flight: fn's context keeps the party, but neither the
// flight nor its result. While a caller is alone, the party is its own, and then the leader's.
type party[K comparable, V any] struct {
	// Immutable:
	key K // of the flight

	// Owned by the owner until the flight begins, then immutable:
	hosted  bool                                      // a host leads, and no caller
	values  context.Context                           // the context of the call whose fn runs
	group   *actor.Address[state[K, V], flight[K, V]] // that the flight is in
	context context.Context                           // what fn gets; nil if it gets none
	cancel  context.CancelCauseFunc                   // ends context; nil unless hosted

	// Owned by the owner until it answers land, then by the leader:
	channels []chan ResultOf[V] // of DoChan, in the order in which the calls joined
	row      *row[V]            // of the other callers: those that joined last; nil if there are none
	full     []*row[V]          // that were full before row was made; none is empty
	inRows   int                // callers in row and in full

	// Owned by the owner:
	next   *nextFlight[K, V]    // nil unless calls wait for the end of the flight
	nested map[*party[K, V]]int // see deadlock.go
}

// A row is callers that are woken together.
type row[V any] struct {
	// Immutable:
	landed chan struct{} // closed when the flight has landed

	// Owned by the owner until it answers land:
	callers int

	// Written before landed is closed, then immutable:
	result result[V]
}

// rowSize is how many callers a row has at most. Closing its channel makes them runnable one
// by one, which takes milliseconds for thousands. Rows let the processors share that.
const rowSize = 64

func newParty[K comparable, V any](key K, hosted bool) *party[K, V] {
	return &party[K, V]{key: key, hosted: hosted}
}

// abandoned reports whether all callers have left.
func (p *party[K, V]) abandoned() bool {
	return p.hosted && p.inRows == 0 && len(p.channels) == 0
}

// join adds a caller to p.row or, if that is full, to a new one.
func (p *party[K, V]) join() *row[V] {
	if p.row != nil && p.row.callers == rowSize {
		p.full, p.row = append(p.full, p.row), nil
	}
	if p.row == nil {
		p.row = &row[V]{landed: make(chan struct{})}
	}
	p.row.callers++
	p.inRows++
	return p.row
}

// leave removes a caller, and its row if that is empty then.
func (p *party[K, V]) leave(l *leaver[K, V]) {
	p.inRows--
	l.row.callers--
	if l.row.callers == 0 && l.row == p.row {
		p.row = nil
	} else if l.row.callers == 0 {
		i := slices.Index(p.full, l.row)
		p.full = slices.Delete(p.full, i, i+1)
	}
	if l.inside != nil {
		p.unnest(l.inside)
	}
}

// wake gives res to all callers but a leader, and drops them. Nothing waits for the goroutines
// that wake rows: once the callers in a row have returned, its goroutine has nothing to do.
func (p *party[K, V]) wake(res *result[V]) {
	for _, results := range p.channels {
		results <- res.forChan()
	}
	for _, r := range p.full {
		go r.wake(*res)
	}
	if p.row != nil {
		p.row.wake(*res)
	}
	p.channels, p.full, p.row = nil, nil, nil
}

func (r *row[V]) wake(res result[V]) {
	r.result = res
	close(r.landed)
}

// await ends a Do that has joined. It has no reference to the call, so a Do that waits
// does not keep its key and its fn.
func (r *row[V]) await() (v V, err error, shared bool) {
	<-r.landed
	return r.result.deliver()
}
