package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"testing"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"github.com/actorflight/singleflight/bench/peer"
	"github.com/actorflight/singleflight/bench/workload"
)

// A round has a figure for each workload and peer.
type round struct {
	figures   map[cell]float64
	roundTrip float64 // between two goroutines, in ns
}

type cell struct{ figure, peer string }

// measure runs the rounds, and shows progress.
func measure(o options, stderr io.Writer) ([]round, error) {
	if err := flag.Set("test.benchtime", o.benchtime); err != nil {
		return nil, fmt.Errorf("-benchtime: %w", err)
	}
	step := steps(stderr, o.rounds*len(o.workloads))
	rounds := make([]round, o.rounds)
	for i := range rounds {
		rounds[i].figures = make(map[cell]float64)
	}
	for _, w := range o.workloads {
		for i := range rounds {
			step(fmt.Sprintf("%-10s round %d of %d", w.Name, i+1, o.rounds))
			if err := rounds[i].add(w, inTurn(o.peers, i)); err != nil {
				return nil, fmt.Errorf("%s: %w", w.Name, err)
			}
		}
	}
	step("done")
	return rounds, nil
}

// add measures w on peers.
func (r *round) add(w workload.Workload, peers []peer.Peer) error {
	if w.Name == workload.Busy {
		trip, err := benchmark(workload.RoundTrip)
		if err != nil {
			return fmt.Errorf("round trip: %w", err)
		}
		r.roundTrip = workload.NsPerOp(trip)
	}
	for _, p := range peers {
		if !w.Fits(p) {
			continue
		}
		result, err := benchmark(func(b *testing.B) { w.Run(b, p) })
		if err != nil {
			return fmt.Errorf("on %s: %w", p.Name, err)
		}
		for _, f := range w.Figures {
			r.figures[cell{f.Name, p.Name}] = f.Of(result)
		}
	}
	return nil
}

// inTurn returns the peers in the order of a round. Each round begins with another peer,
// and every other one runs backwards, so that no peer always follows the same one.
func inTurn(peers []peer.Peer, round int) []peer.Peer {
	first := round % len(peers)
	ordered := slices.Concat(peers[first:], peers[:first])
	if round%2 == 1 {
		slices.Reverse(ordered[1:])
	}
	return ordered
}

// benchmark is testing.Benchmark, but returns an error if f fails.
func benchmark(f func(*testing.B)) (testing.BenchmarkResult, error) {
	failed := false
	r := testing.Benchmark(func(b *testing.B) {
		defer func() { failed = failed || b.Failed() }()
		f(b)
	})
	if failed {
		return r, errors.New("failed; go test -bench says why")
	}
	return r, nil
}

// steps returns a function to be called at the beginning of each of n steps. It
// moves a bar if w is a terminal, and elsewhere prints a line.
func steps(w io.Writer, n int) (step func(description string)) {
	if file, ok := w.(*os.File); !ok || !term.IsTerminal(int(file.Fd())) {
		return func(description string) { fmt.Fprintln(w, description) }
	}
	bar := progressbar.NewOptions(n,
		progressbar.OptionSetWriter(w),
		progressbar.OptionSetWidth(40),
		progressbar.OptionOnCompletion(func() { fmt.Fprintln(w) }),
	)
	begun := false
	return func(description string) {
		if begun {
			bar.Add(1)
		}
		begun = true
		bar.Describe(description)
	}
}
