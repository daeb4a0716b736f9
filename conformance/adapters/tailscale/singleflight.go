// Package singleflight has the names of tailscale.com/util/singleflight, for its tests.
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

// DoChanContext is GroupOf.DoChanContext.
func (g *Group[K, V]) DoChanContext(ctx context.Context, key K, fn func(context.Context) (V, error)) <-chan Result[V] {
	return g.group.DoChanContext(ctx, key, fn)
}

// Forget is GroupOf.Forget.
func (g *Group[K, V]) Forget(key K) { g.group.Forget(key) }
