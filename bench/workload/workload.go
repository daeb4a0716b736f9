// Package workload holds what the peers are measured with. Each Workload is a
// benchmark of b.N calls, or of b.N bursts of them.
package workload

import (
	"strings"
	"sync"
	"testing"

	"github.com/actorflight/singleflight/bench/peer"
)

// A Workload measures one or more figures of a peer.
type Workload struct {
	Name     string
	Baseline string // the peer that the others are compared with
	Figures  []Figure

	run func(*testing.B, func() peer.Group)
	fit func(peer.Peer) bool // nil: for all
}

// A Figure is what a workload reports in one unit.
type Figure struct {
	Name string `json:"name"` // begins with that of the workload
	Unit Unit   `json:"unit"`
	What string `json:"what"`
}

// All are the workloads, those with few goroutines first: the runtime keeps memory of
// every goroutine that ever ran, and every later garbage collection visits it.
var All = []Workload{
	one("alone", perCall, "one Do after another", alone, nil),
	one("pair", perCall, "2 goroutines, each with its own key", pair, nil),
	one("hotkey", perCall, "32 goroutines, one key", hotkey, nil),
	one(Busy, perCall, "one Do after another, while another flight is in progress", busy, nil),
	one("contended", perCall, "64 goroutines, 1,024 keys", contended, nil),
	one("service", perCall, "64 goroutines, 1,024 skewed keys, fn hashes 4 KiB", service, nil),
	one("dochan", perCall, "one DoChan after another", doChan, has[peer.DoChanner]),
	one("busychan", perCall, "one DoChan after another, while another flight is in progress", busyChan, has[peer.DoChanner]),
	one("recovery", perCall, "one Do after another, fn panics", recovery, recovers),
	oneWithContext("context", perCall, "one DoContext after another, with a context that could be cancelled", contextual),
	oneWithContext("background", perCall, "one DoContext after another, with a context that can never be done", background),
	oneObserved("lone", perCall, "one Do after another", alone),
	oneObserved("joined", perCall, "32 goroutines, one key", hotkey),
	oneObserved("lone context", perCall, "one DoContext after another, with a context that could be cancelled", withContexts(contextual)),
	{"saturated", peer.Baseline, []Figure{
		{"saturated lone p50", "ns/lone-p50", "a Do with its own key, while another flight is in progress and twice as many goroutines as processors compute: median"},
		{"saturated lone p90", "ns/lone-p90", "the same: 90th percentile"},
		{"saturated crowd p50", "ns/crowd-p50", "the same, with eight callers: median"},
		{"saturated crowd p90", "ns/crowd-p90", "the same, with eight callers: 90th percentile"},
	}, saturated, nil},
	oneWithContext("leave", perCaller, "10,000 callers wait in DoContext, and their context is cancelled: from that to the last return, for each", leave),
	oneWithContext("onlooker", perBurst, "the longest DoContext of another key while 10,000 leave so", onlooker),
	withRuns("join", "1,000 calls of DoContext come while fn, which takes 20 ms, is in progress: from the first to the last return", join, has[peer.ContextDoer]),
	withRuns("forget", "the same, but each caller calls Forget before", forget, has[peer.Forgetter]),
	withRuns("fresh", "the same, with DoFresh in place of DoContext", fresh, has[peer.Fresher]),
	oneObserved("list", perBurst, "InFlight of 10,000 flights", list),
	oneObserved("listed", perBurst, "the longest Do of another key while InFlight lists 10,000 flights", listed),
	one("stampede", perBurst, "10,000 callers join a flight: from its release to the last return", stampede, nil),
	one("bystander", perBurst, "the longest Do of another key while 100,000 waiters land", bystander, nil),
	one("retained", perGroup, "what a Group keeps after 200,000 keys have landed", retained, nil),
	one("flight", perPiece, "memory of a flight", flight, nil),
	one("waiter", perPiece, "memory of a waiter", waiter, nil),
	oneWithContext("leaver", perPiece, "memory of a waiter in DoContext, without goroutines", leaver),
}

// Busy is the workload that is compared with a round trip.
const Busy = "busy"

// one returns a workload of one figure.
func one(name string, unit Unit, what string, run func(*testing.B, func() peer.Group), fit func(peer.Peer) bool) Workload {
	return Workload{name, peer.Baseline, []Figure{{name, unit, what}}, run, fit}
}

// oneWithContext returns a workload of one figure, of calls with a context.
func oneWithContext(name string, unit Unit, what string, run func(*testing.B, func() peer.ContextDoer)) Workload {
	w := one(name, unit, what, withContexts(run), has[peer.ContextDoer])
	w.Baseline = peer.ContextBaseline
	return w
}

// withRuns returns a workload of two figures of calls with a context: a time, and how often
// fn ran.
func withRuns(name, what string, run func(*testing.B, func() peer.ContextDoer), fit func(peer.Peer) bool) Workload {
	return Workload{name, peer.ContextBaseline, []Figure{
		{name, perBurst, what},
		{name + " runs", runsPerBurst, "the same: how often fn ran"},
	}, withContexts(run), fit}
}

func withContexts(run func(*testing.B, func() peer.ContextDoer)) func(*testing.B, func() peer.Group) {
	return func(b *testing.B, newGroup func() peer.Group) {
		run(b, func() peer.ContextDoer { return newGroup().(peer.ContextDoer) })
	}
}

// oneObserved returns a workload of one figure, of this library with package observe
// around it and alone.
func oneObserved(name string, unit Unit, what string, run func(*testing.B, func() peer.Group)) Workload {
	w := one(name, unit, what, run, nil)
	w.Baseline = peer.Own
	return w
}

// A Unit is the unit of a figure, in the form of package testing. That package measures
// the figures per call, and the workloads measure the others.
type Unit string

const (
	perCall   = "ns/op"
	perBurst  = "ns/burst"
	perCaller = "ns/caller"
	perGroup  = "B/group"
	perPiece  = "B/piece"

	runsPerBurst = "runs/burst"
)

// IsTime reports whether figures in u are times, in nanoseconds.
func (u Unit) IsTime() bool { return strings.HasPrefix(string(u), "ns/") }

// IsMemory reports whether figures in u are memory, in bytes.
func (u Unit) IsMemory() bool { return strings.HasPrefix(string(u), "B/") }

// Fits reports whether w is to be run on p.
func (w Workload) Fits(p peer.Peer) bool {
	if w.Baseline == peer.Own {
		return p.Name == peer.Own || p.Name == peer.Observed
	}
	if p.ContextOnly && w.Baseline == peer.Baseline {
		return false
	}
	return p.Name != peer.Observed && (w.fit == nil || w.fit(p))
}

// Run runs w on p.
func (w Workload) Run(b *testing.B, p peer.Peer) { w.run(b, p.New) }

// Of returns the figure from what its workload measured.
func (f Figure) Of(r testing.BenchmarkResult) float64 {
	if f.Unit == perCall {
		return NsPerOp(r)
	}
	return r.Extra[string(f.Unit)]
}

// NsPerOp is r.NsPerOp, not rounded.
func NsPerOp(r testing.BenchmarkResult) float64 {
	return float64(r.T.Nanoseconds()) / float64(r.N)
}

// has reports whether the Group of p is a G.
func has[G peer.Group](p peer.Peer) bool {
	_, ok := p.New().(G)
	return ok
}

func recovers(p peer.Peer) bool { return p.Recovers }

func empty() (any, error) { return nil, nil }

// concurrently runs b.N calls of do in n goroutines.
func concurrently(b *testing.B, n int, do func(goroutine, i int)) {
	b.Helper()
	start := make(chan struct{})
	var ended sync.WaitGroup
	for g := range n {
		calls := b.N / n
		if g < b.N%n {
			calls++
		}
		ended.Go(func() {
			<-start
			for i := range calls {
				do(g, i)
			}
		})
	}
	b.ResetTimer()
	close(start)
	ended.Wait()
}
