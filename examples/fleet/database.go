package main

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"sync"
	"time"
)

const (
	takes       = 50 * time.Millisecond // a query
	connections = 8                     // so many queries run at the same time; others wait

	// popular is the product in greatest demand.
	popular = "1"
)

// An answer is what the database says about a product.
type answer struct {
	Product string    `json:"product"`
	Units   int       `json:"units"` // sold
	Until   time.Time `json:"until"` // when the answer expires
}

func (a answer) valid() bool { return time.Now().Before(a.Until) }

// A database answers GET /products/{id}/sales?process={number}, and counts the queries
// of one round.
type database struct {
	ttl  time.Duration // of its answers
	free chan struct{} // has an element for each connection in use

	mutex   sync.Mutex // guards the rest
	counts  counts
	running map[string]int // queries by product
	last    map[string]answer

	kill     func(process int) // is called once, in the middle of a query for the popular product; or nil
	killed   time.Time
	takeover takeover
}

type counts struct {
	queries, expiries int
}

// A takeover is what happened to the query in the middle of which a process was
// killed.
type takeover struct {
	killed int           // the process, or 0
	by     int           // the process from which the next query for the product came, or 0
	after  time.Duration // from the kill to the beginning of that query
}

func newDatabase(ttl time.Duration) *database {
	return &database{
		ttl:     ttl,
		free:    make(chan struct{}, connections),
		running: make(map[string]int),
		last:    make(map[string]answer),
	}
}

func (d *database) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /products/{id}/sales", func(w http.ResponseWriter, r *http.Request) {
		process, err := strconv.Atoi(r.FormValue("process"))
		if err != nil {
			http.Error(w, "the process must be a number", http.StatusBadRequest)
			return
		}
		a, err := d.query(r.Context(), r.PathValue("id"), process)
		if err != nil {
			return // the process has gone
		}
		json.NewEncoder(w).Encode(a) // it fails only if the process has gone
	})
	return mux
}

// query answers after a while, unless ctx ends, which it does when the process that asks
// is killed.
func (d *database) query(ctx context.Context, product string, process int) (a answer, err error) {
	d.begin(product, process)
	defer func() { d.end(product, a, err) }()
	select {
	case d.free <- struct{}{}:
		defer func() { <-d.free }()
	case <-ctx.Done():
		return a, ctx.Err()
	}
	if err := sleep(ctx, takes/2); err != nil {
		return a, err
	}
	d.killIfWanted(product, process)
	if err := sleep(ctx, takes/2); err != nil {
		return a, err
	}
	units, _ := strconv.Atoi(product)
	// Other processes do not know this one's monotonic clock: Round removes it.
	return answer{product, 100 * units, time.Now().Round(0).Add(d.ttl)}, nil
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (d *database) begin(product string, process int) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	d.counts.queries++
	if d.running[product] == 0 && !d.last[product].valid() {
		d.counts.expiries++
	}
	d.running[product]++
	if t := &d.takeover; product == popular && t.killed != 0 && t.killed != process && t.by == 0 {
		t.by, t.after = process, time.Since(d.killed)
	}
}

func (d *database) end(product string, a answer, err error) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	d.running[product]--
	if err == nil {
		d.last[product] = a
	}
}

// killNext makes the database call kill, in the middle of the next query for the popular
// product, with the process that asks.
func (d *database) killNext(kill func(process int)) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	d.kill = kill
}

func (d *database) killIfWanted(product string, process int) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	if product == popular && d.kill != nil {
		d.kill(process)
		d.kill, d.killed, d.takeover.killed = nil, time.Now(), process
	}
}

// seen returns what the database has seen.
func (d *database) seen() (counts, takeover) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	return d.counts, d.takeover
}
