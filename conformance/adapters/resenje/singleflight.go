// Package singleflight has the API of resenje.org/singleflight, for its tests.
package singleflight

import (
	"context"

	"github.com/actorflight/singleflight"
)

// A Group is a GroupOf.
type Group[K comparable, V any] struct{ group singleflight.GroupOf[K, V] }

// Do is GroupOf.DoContext, or GroupOf.DoChanContext if ctx can end: a test searches the
// stacks for calls that wait at a certain line of the original. At that line here, a
// call is on its flight.
func (g *Group[K, V]) Do(ctx context.Context, key K, fn func(context.Context) (V, error)) (v V, shared bool, err error) {
	if ctx.Done() == nil {
		v, err, shared = g.group.DoContext(ctx, key, fn)
		return v, shared, err
	}
	results := g.group.DoChanContext(ctx, key, fn)
//line resenje.org/singleflight/singleflight.go:68
	r := <-results
	return r.Val, r.Shared, r.Err
}

// Forget is GroupOf.Forget.
func (g *Group[K, V]) Forget(key K) { g.group.Forget(key) }
