package workload

import (
	"testing"
	"time"

	"github.com/actorflight/singleflight/bench/peer"
)

// This file has the workloads of this library with package observe around it.

func list(b *testing.B, newGroup func() peer.Group) {
	g, land := flyMany(b, newGroup)
	mean(b, perBurst, func() float64 {
		start := time.Now()
		g.InFlight()
		return float64(time.Since(start))
	})
	land()
}

func listed(b *testing.B, newGroup func() peer.Group) {
	g, land := flyMany(b, newGroup)
	mean(b, perBurst, func() float64 {
		s := new(swarm)
		s.calls.Store(1)
		s.ended.Go(func() {
			g.InFlight()
			s.calls.Add(-1)
		})
		return float64(s.watch(g))
	})
	land()
}

// flyMany returns a Group with 10,000 flights, which land when land is called.
func flyMany(b *testing.B, newGroup func() peer.Group) (g peer.Lister, land func()) {
	b.Helper()
	const flights = 10_000
	g = newGroup().(peer.Lister)
	names := numbers(flights)
	s := launch(b, g, flights, func(i int) string { return names[i] })
	if n := g.InFlight(); n != flights {
		b.Fatalf("%d flights are listed, not %d", n, flights)
	}
	return g, func() {
		s.land()
		s.ended.Wait()
	}
}
