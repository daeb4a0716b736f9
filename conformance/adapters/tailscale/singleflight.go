// Package singleflight has the API of tailscale.com/util/singleflight, for its tests.
package singleflight

import (
	"context"

	"github.com/actorflight/singleflight"
)

// A Group is a GroupOf.
type Group[K comparable, V any] struct{ group singleflight.GroupOf[K, V] }

// A Result is a ResultOf.
type Result[V any] = singleflight.ResultOf[V]

// Do is GroupOf.Do.
func (g *Group[K, V]) Do(key K, fn func() (V, error)) (v V, err error, shared bool) {
	return g.group.Do(key, fn)
}

// DoChan is GroupOf.DoChan.
func (g *Group[K, V]) DoChan(key K, fn func() (V, error)) <-chan Result[V] {
	return g.group.DoChan(key, fn)
}

// DoChanContext is GroupOf.DoChanContext, but, as in the original, the last call to leave
// waits for fn: a test lets fn return as soon as all have left.
func (g *Group[K, V]) DoChanContext(ctx context.Context, key K, fn func(context.Context) (V, error)) <-chan Result[V] {
	results, waited := g.group.DoChanContext(ctx, key, fn), make(chan Result[V], 1)
	go func() {
		r := <-results
		for _, f := range g.group.InFlight() {
			if f.State == singleflight.Abandoned {
				g.group.Wait(context.Background())
			}
		}
		waited <- r
	}()
	return waited
}

// Forget is GroupOf.Forget.
func (g *Group[K, V]) Forget(key K) { g.group.Forget(key) }
