package observe

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/actorflight/singleflight"
)

// BenchmarkLone measures a call that meets no other, with a bare and with an observed
// group.
func BenchmarkLone(b *testing.B) {
	type calls interface {
		group[string, int]
		Wait(context.Context) error
	}
	ending, cancel := context.WithCancel(b.Context())
	defer cancel()
	fn := func() (int, error) { return 1, nil }
	withContext := func(context.Context) (int, error) { return 1, nil }
	for _, call := range []struct {
		name string
		make func(calls)
	}{
		{"Do", func(g calls) { g.Do("key", fn) }},
		{"DoChan", func(g calls) { <-g.DoChan("key", fn) }},
		{"DoContext", func(g calls) { g.DoContext(ending, "key", withContext) }},
		{"DoContext without end", func(g calls) { g.DoContext(context.Background(), "key", withContext) }},
		{"DoChanContext", func(g calls) { <-g.DoChanContext(ending, "key", withContext) }},
	} {
		for _, impl := range []struct {
			name  string
			group calls
		}{
			{"bare", new(singleflight.GroupOf[string, int])},
			{"observed", new(GroupOf[string, int])},
		} {
			b.Run(fmt.Sprintf("call=%s/impl=%s", call.name, impl.name), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					call.make(impl.group)
				}
			})
		}
	}
}

// BenchmarkInFlight lists 10,000 flights.
func BenchmarkInFlight(b *testing.B) {
	var g GroupOf[string, int]
	gate := make(chan struct{})
	fn := func(context.Context) (int, error) { <-gate; return 0, nil }
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	for i := range 10_000 {
		if key := fmt.Sprintf("key %d", i); i%2 == 0 {
			g.DoChanContext(ctx, key, fn)
		} else {
			g.DoChan(key, func() (int, error) { return fn(ctx) })
		}
	}
	require.Len(b, g.InFlight(), 10_000)
	b.Run("InFlight", func(b *testing.B) {
		for b.Loop() {
			g.InFlight()
		}
	})
	b.Run("scrape", func(b *testing.B) {
		for b.Loop() {
			g.drop()
			g.Stats()
		}
	})
	b.Run("page", func(b *testing.B) {
		for b.Loop() {
			g.drop()
			g.report(maxRows, "")
		}
	})
	close(gate)
	require.NoError(b, g.Wait(b.Context()))
}
