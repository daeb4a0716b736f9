package observe

import (
	"iter"
	"time"
)

// Stats are the figures of a group, as its method Stats returns them. The counters have
// grown since the group was made; the package documentation says what is exact, and when.
type Stats struct {
	Name string // of the group

	// Counters, of the moment of the call of Stats:
	Calls     uint64 // calls that were made, except those that panic at once
	Flights   uint64 // functions that were called
	Left      uint64 // calls that left, because their context had ended
	Outlived  uint64 // flights that run the function of a call that has left
	Refused   uint64 // calls that returned ErrDeadlock
	Failures  Failures
	Durations Histogram

	// What is in flight. It is of the moment At, which is at most a second before the call
	// of Stats.
	At       time.Time
	InFlight int           // flights in progress, with the forgotten and the abandoned
	Next     int           // flights that wait for another to end
	Callers  int           // that wait for the result of one of these, leaders included
	Oldest   time.Duration // for which the oldest function in progress has run; 0 if there is none
}

// Spared returns how many calls got the outcome of another call's function, be it a value,
// an error, a panic or a Goexit. While calls are in flight it includes those that wait.
func (s *Stats) Spared() uint64 {
	return s.Calls - s.Flights + s.Outlived - s.Left - s.Refused
}

// Failures are how many flights have failed, by how they ended.
type Failures struct {
	Error     uint64 `json:"error"`     // the function returned an error
	Panic     uint64 `json:"panic"`     // it panicked
	Goexit    uint64 `json:"goexit"`    // it called [runtime.Goexit]
	Abandoned uint64 `json:"abandoned"` // its context had ended when it ended, in whatever way
}

// All returns the failures with the names of their endings, as in the metrics.
func (f Failures) All() iter.Seq2[string, uint64] {
	return func(yield func(string, uint64) bool) {
		_ = yield("error", f.Error) && yield("panic", f.Panic) && yield("goexit", f.Goexit) && yield("abandoned", f.Abandoned)
	}
}

// Total returns how many flights have failed.
func (f Failures) Total() uint64 { return f.Error + f.Panic + f.Goexit + f.Abandoned }

// A Histogram is how long the functions have run that have ended. That does not include the
// time for which a call waits until its flight begins.
type Histogram struct {
	Bounds []time.Duration // upper bounds, which are in their buckets
	Counts []uint64        // flights in each bucket; the last has those beyond all bounds
	Sum    time.Duration   // of all flights together
}

// Count returns the number of flights that have ended.
func (h Histogram) Count() (flights uint64) {
	for _, n := range h.Counts {
		flights += n
	}
	return flights
}
