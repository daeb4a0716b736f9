// Package workload holds what the peers are measured with. Each Workload is a
// benchmark of b.N calls, or of b.N bursts of them, and reports one figure.
package workload

import (
	"strings"
	"sync"
	"testing"

	"github.com/actorflight/singleflight/bench/peer"
)

// A Workload measures one thing of a peer.
type Workload struct {
	Name string
	Unit Unit   // of the figure
	What string // what the figure is

	run func(*testing.B, func() peer.Group)
	fit func(peer.Peer) bool // nil: for all
}

// All are the workloads.
var All = []Workload{
	{Name: "alone", Unit: perCall, What: "one Do after another", run: alone},
	{Name: "pair", Unit: perCall, What: "2 goroutines, each with its own key", run: pair},
	{Name: "hotkey", Unit: perCall, What: "32 goroutines, one key", run: hotkey},
	{Name: "busy", Unit: perCall, What: "one Do after another, while another flight is in the air", run: busy},
	{Name: "contended", Unit: perCall, What: "64 goroutines, 1,024 keys", run: contended},
	{Name: "service", Unit: perCall, What: "64 goroutines, 1,024 skewed keys, fn hashes 4 KiB", run: service},
	{Name: "stampede", Unit: perBurst, What: "10,000 callers join a flight: from its release to the last return", run: stampede},
	{Name: "bystander", Unit: perBurst, What: "the longest Do of another key while 100,000 waiters land", run: bystander},
	{Name: "dochan", Unit: perCall, What: "one DoChan after another", run: doChan, fit: hasDoChan},
	{Name: "recovery", Unit: perCall, What: "one Do after another, fn panics", run: recovery, fit: recovers},
	{Name: "retained", Unit: perGroup, What: "what a Group keeps after 200,000 keys have landed", run: retained},
	{Name: "flight", Unit: perPiece, What: "memory of a flight in the air", run: flight},
	{Name: "waiter", Unit: perPiece, What: "memory of a waiter", run: waiter},
}

// A Unit is that of a figure, in the form of package testing. What is per call is
// measured by that package, and the rest by the workload.
type Unit string

const (
	perCall  = "ns/op"
	perBurst = "ns/burst"
	perGroup = "B/group"
	perPiece = "B/piece"
)

// IsTime reports whether figures in u are times, in nanoseconds. The others are
// memory, in bytes.
func (u Unit) IsTime() bool { return strings.HasPrefix(string(u), "ns/") }

// Fits reports whether w can be run on p.
func (w Workload) Fits(p peer.Peer) bool { return w.fit == nil || w.fit(p) }

// Run runs w on p.
func (w Workload) Run(b *testing.B, p peer.Peer) { w.run(b, p.New) }

// Figure returns what w measured.
func (w Workload) Figure(r testing.BenchmarkResult) float64 {
	if w.Unit == perCall {
		return NsPerOp(r)
	}
	return r.Extra[string(w.Unit)]
}

// NsPerOp is r.NsPerOp, not rounded.
func NsPerOp(r testing.BenchmarkResult) float64 {
	return float64(r.T.Nanoseconds()) / float64(r.N)
}

func hasDoChan(p peer.Peer) bool {
	_, ok := p.New().(peer.DoChanner)
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
