package main

import "sync"

// A gauge watches the queries of one round, whatever started them.
type gauge struct {
	mu      sync.Mutex
	running map[int64]int // queries by product
	counts
}

// counts are what a gauge has seen.
type counts struct {
	Queries int `json:"queries"`
	// Expiries are the queries that somebody had to make: those that began
	// while none for the same product was running.
	Expiries int `json:"expiries"`
	// Overlaps are the others.
	Overlaps int `json:"overlaps"`
}

// watch calls query, and counts it until it returns.
func (g *gauge) watch(product int64, query func() (*Sales, error)) (*Sales, error) {
	g.mu.Lock()
	g.Queries++
	if g.running[product] == 0 {
		g.Expiries++
	} else {
		g.Overlaps++
	}
	if g.running == nil {
		g.running = make(map[int64]int)
	}
	g.running[product]++
	g.mu.Unlock()
	defer func() {
		g.mu.Lock()
		g.running[product]--
		g.mu.Unlock()
	}()
	return query()
}

func (g *gauge) read() counts {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.counts
}
