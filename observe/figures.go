package observe

import (
	"slices"
	"sync/atomic"
	"time"
)

// figures are counted since the group was made. Each of them only grows.
type figures struct {
	calls    atomic.Uint64
	flights  atomic.Uint64 // fn has been called
	left     atomic.Uint64 // calls
	outlived atomic.Uint64 // flights whose own call has left
	refused  atomic.Uint64 // calls

	failures [endings]atomic.Uint64 // flights
	buckets  [len(bounds) + 1]atomic.Uint64
	duration atomic.Int64 // of all flights together
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

// bounds are the upper bounds of the histogram's buckets.
var bounds = [...]time.Duration{
	100 * time.Microsecond, 250 * time.Microsecond, 500 * time.Microsecond,
	time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond,
	10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2500 * time.Millisecond, 5 * time.Second,
	10 * time.Second, 30 * time.Second, time.Minute, 5 * time.Minute,
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

// read returns the counters. A call that has been counted as a flight, as left or as
// refused was counted in calls before, and in outlived before it was counted as the second
// of a flight and left; so calls and outlived are read after the others, and Spared is
// never negative.
func (f *figures) read() Stats {
	s := Stats{
		Flights: f.flights.Load(),
		Left:    f.left.Load(),
		Refused: f.refused.Load(),
		Failures: Failures{
			Error:     f.failures[failed].Load(),
			Panic:     f.failures[panicked].Load(),
			Goexit:    f.failures[exited].Load(),
			Abandoned: f.failures[abandoned].Load(),
		},
		Durations: Histogram{
			Bounds: slices.Clone(bounds[:]),
			Counts: make([]uint64, len(f.buckets)),
			Sum:    time.Duration(f.duration.Load()),
		},
	}
	for i := range f.buckets {
		s.Durations.Counts[i] = f.buckets[i].Load()
	}
	s.Outlived = f.outlived.Load()
	s.Calls = f.calls.Load()
	return s
}
