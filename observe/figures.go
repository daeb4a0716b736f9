package observe

import (
	"encoding/json"
	"sync"
	"sync/atomic"
	"time"
)

// figures are counted since the group was made. Each of them only grows.
type figures struct {
	flights  atomic.Uint64 // fn has been called
	joined   atomic.Uint64 // calls, except those of DoChan
	left     atomic.Uint64 // calls
	outlived atomic.Uint64 // flights whose own call has left
	refused  atomic.Uint64 // calls

	failures [endings]atomic.Uint64 // flights
	buckets  [len(bounds) + 1]atomic.Uint64
	duration atomic.Int64 // of all flights together

	chanCalled atomic.Uint64 // flights of DoChan, except those of keys that do not equal themselves
	chanCalls  atomic.Uint64 // calls of DoChan that have returned, with the same exception

	mu         sync.Mutex
	chanJoined uint64 // calls of DoChan
}

// An ending is how a flight fails.
type ending int

const (
	failed ending = iota
	panicked
	exited
	abandoned
	endings
)

func (e ending) String() string {
	return [...]string{"error", "panic", "goexit", "abandoned"}[e]
}

// bounds are the upper bounds of the histogram's buckets.
var bounds = [...]time.Duration{
	100 * time.Microsecond, 300 * time.Microsecond,
	time.Millisecond, 3 * time.Millisecond,
	10 * time.Millisecond, 30 * time.Millisecond,
	100 * time.Millisecond, 300 * time.Millisecond,
	time.Second, 3 * time.Second,
	10 * time.Second, 30 * time.Second,
	100 * time.Second, 300 * time.Second,
}

// observe adds a flight to the histogram.
func (f *figures) observe(d time.Duration) {
	i := 0
	for i < len(bounds) && d > bounds[i] {
		i++
	}
	f.buckets[i].Add(1)
	f.duration.Add(int64(d))
}

// A reading has the figures of one moment.
type reading struct {
	Flights  uint64   `json:"flights"`
	Joined   uint64   `json:"joined"`
	Left     uint64   `json:"left"`
	Outlived uint64   `json:"outlived"`
	Refused  uint64   `json:"refused"`
	Failures failures `json:"failures"`
	buckets  [len(bounds) + 1]uint64
	duration time.Duration
}

// failures are how many flights have failed, by their ending.
type failures [endings]uint64

func (f failures) MarshalJSON() ([]byte, error) {
	byEnding := make(map[string]uint64)
	for e, n := range f {
		byEnding[ending(e).String()] = n
	}
	return json.Marshal(byEnding)
}

// read returns the figures, with joined from settle.
func (f *figures) read(joined uint64) reading {
	r := reading{
		Flights:  f.flights.Load(),
		Joined:   joined,
		Left:     f.left.Load(),
		Outlived: f.outlived.Load(),
		Refused:  f.refused.Load(),
		duration: time.Duration(f.duration.Load()),
	}
	for e := range r.Failures {
		r.Failures[e] = f.failures[e].Load()
	}
	for i := range r.buckets {
		r.buckets[i] = f.buckets[i].Load()
	}
	return r
}
