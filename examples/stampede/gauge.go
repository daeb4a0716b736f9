package main

import (
	"context"
	"errors"

	"github.com/actorflight/singleflight/actor"
)

// A gauge counts all queries of one turn, and the requests that wait for them. The
// counts belong to one goroutine, which gets a message when a query or a wait begins
// or ends.
type gauge struct {
	fresh   func(product int64) bool // reports whether the cache has an entry
	address actor.Address[watched, reader]
	alone   *reader
}

// The reader stays at the address until it reads. So one owner sees all queries,
// if there are any.
type reader struct{}

type owner = actor.Owner[watched, reader]

type watched struct {
	running map[int64]int // queries by product
	waiting map[int64]int // requests by product
	seen    chan<- counts // for the answer to read, once no query is running; or nil
	counts
}

// counts are what a gauge has seen.
type counts struct {
	Queries int `json:"queries"`
	// Expiries are the queries that had to be made: those that began
	// while there was neither a fresh entry of the product nor a query for it.
	Expiries int `json:"expiries"`
	// Overlaps are the queries that began while another for the same product
	// was running.
	Overlaps int `json:"overlaps"`
	// Cancelled are the queries that ended because their context had.
	Cancelled int `json:"cancelled"`
	// Wasted are the other queries that ended while no request for the product
	// was waiting.
	Wasted int `json:"wasted"`
}

func (c *counts) add(more counts) {
	c.Queries += more.Queries
	c.Expiries += more.Expiries
	c.Overlaps += more.Overlaps
	c.Cancelled += more.Cancelled
	c.Wasted += more.Wasted
}

func newGauge(fresh func(product int64) bool) *gauge {
	g := &gauge{fresh: fresh}
	_, g.alone = g.address.ClaimOrEnter(reader{})
	return g
}

// watch calls query, and counts it until it returns. The query must put its
// result into the cache itself: then the next caller finds either the query still
// running, or the entry.
func (g *gauge) watch(product int64, query func() (*Sales, error)) (*Sales, error) {
	a, _ := g.address.Claim()
	a.Send(begun{product, g.fresh(product)})
	m := ended{product: product}
	defer func() { a.Send(m) }()
	sales, err := query()
	m.cancelled = errors.Is(err, context.Canceled)
	return sales, err
}

// wait counts a request as waiting until stop is called or ctx ends.
func (g *gauge) wait(ctx context.Context, product int64) (stop func()) {
	a, _ := g.address.Claim()
	a.Send(came{product})
	leave := func() { a.Send(left{product}) }
	stays := context.AfterFunc(ctx, leave)
	return func() {
		if stays() {
			leave()
		}
	}
}

// read ends the turn, waits until no query is running, and returns what the gauge
// has seen. It is called once.
func (g *gauge) read() counts {
	a := g.address.Exit(g.alone)
	if a == nil {
		return counts{}
	}
	seen := make(chan counts, 1)
	a.Send(read{seen})
	return <-seen
}

// begun keeps its claim for ended.
type begun struct {
	product int64
	fresh   bool
}

func (m begun) Handle(o *owner) {
	w := &o.State
	if w.running == nil {
		w.running = make(map[int64]int)
	}
	w.Queries++
	switch {
	case w.running[m.product] > 0:
		w.Overlaps++
	case !m.fresh:
		w.Expiries++
	}
	w.running[m.product]++
}

type ended struct {
	product   int64
	cancelled bool
}

func (m ended) Handle(o *owner) {
	w := &o.State
	if w.running[m.product]--; w.running[m.product] == 0 {
		delete(w.running, m.product)
	}
	switch {
	case m.cancelled:
		w.Cancelled++
	case w.waiting[m.product] == 0:
		w.Wasted++
	}
	o.Release()
	w.answer()
}

// came keeps its claim for left.
type came struct{ product int64 }

func (m came) Handle(o *owner) {
	if o.State.waiting == nil {
		o.State.waiting = make(map[int64]int)
	}
	o.State.waiting[m.product]++
}

type left struct{ product int64 }

func (m left) Handle(o *owner) {
	o.State.waiting[m.product]--
	o.Release()
}

type read struct {
	seen chan<- counts // has room for the answer
}

func (m read) Handle(o *owner) {
	o.State.seen = m.seen
	o.Release()
	o.State.answer()
}

// answer answers read if no query is running.
func (w *watched) answer() {
	if w.seen != nil && len(w.running) == 0 {
		w.seen <- w.counts
		w.seen = nil
	}
}
