// Package singleflight has the names of resenje.org/singleflight, for its tests.
package singleflight

import (
	"context"

	"github.com/actorflight/singleflight"
)

// A Group is a GroupOf.
type Group[K comparable, V any] struct{ group singleflight.GroupOf[K, V] }

// Do is GroupOf.DoContext. If ctx can end it is GroupOf.DoChanContext: a test looks
// into the stacks for calls that wait at a line of the original, and at this line here
// a call is on its flight.
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
