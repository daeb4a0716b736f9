package main

import "github.com/actorflight/singleflight/actor"

// A gauge watches the queries of one turn, whatever started them. What it has
// seen belongs to one goroutine, which is told when a query begins and ends.
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
}

func (c *counts) add(more counts) {
	c.Queries += more.Queries
	c.Expiries += more.Expiries
	c.Overlaps += more.Overlaps
}

func newGauge(fresh func(product int64) bool) *gauge {
	g := &gauge{fresh: fresh}
	_, g.alone = g.address.ClaimOrEnter(reader{})
	return g
}

// watch calls query, and counts it until it returns. The query must put its
// result into the cache itself: then whoever comes next meets the query, as long
// as it runs, and after that the entry.
func (g *gauge) watch(product int64, query func() (*Sales, error)) (*Sales, error) {
	a, _ := g.address.Claim()
	a.Send(begun{product, g.fresh(product)})
	defer a.Send(ended{product})
	return query()
}

// read ends the turn and returns what the gauge has seen. It is called once.
func (g *gauge) read() counts {
	a := g.address.Leave(g.alone)
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

type ended struct{ product int64 }

func (m ended) Handle(o *owner) {
	o.State.running[m.product]--
	o.Release()
}

type read struct {
	seen chan<- counts // has room
}

func (m read) Handle(o *owner) {
	seen := o.State.counts
	o.Release()
	m.seen <- seen
}
