package main

import (
	"testing"

	"github.com/actorflight/singleflight/bench/peer"
	"github.com/actorflight/singleflight/bench/workload"
)

// Benchmark runs every workload on every peer.
func Benchmark(b *testing.B) {
	for _, w := range workload.All {
		for _, p := range peer.All {
			if w.Fits(p) {
				b.Run("impl="+p.Name+"/workload="+w.Name, func(b *testing.B) {
					b.ReportAllocs()
					w.Run(b, p)
				})
			}
		}
	}
}

func BenchmarkRoundTrip(b *testing.B) { workload.RoundTrip(b) }
