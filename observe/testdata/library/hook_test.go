package singleflight

import (
	"context"
	"testing"
)

// Calls are the methods of an observed group.
type Calls[K comparable, V any] interface {
	Do(K, func() (V, error)) (V, error, bool)
	DoChan(K, func() (V, error)) <-chan ResultOf[V]
	DoContext(context.Context, K, func(context.Context) (V, error)) (V, error, bool)
	DoChanContext(context.Context, K, func(context.Context) (V, error)) <-chan ResultOf[V]
	DoFresh(context.Context, K, func(context.Context) (V, error)) (V, error, bool)
	DoChanFresh(context.Context, K, func(context.Context) (V, error)) <-chan ResultOf[V]
	Forget(K)
	ForgetUnshared(K) bool
	InFlight() []FlightOf[K]
	Wait(context.Context) error
	Inner() *GroupOf[K, V]
}

type observed[K comparable, V any] struct{ Calls[K, V] }

func (o observed[K, V]) of(K) *GroupOf[K, V]   { return o.Inner() }
func (o observed[K, V]) all() []*GroupOf[K, V] { return []*GroupOf[K, V]{o.Inner()} }

// NewObserved are functions that make observed groups. A package that may import observe
// sets them.
var NewObserved []any

// onObserved runs test with an observed group.
func onObserved[K comparable, V any](t *testing.T, test func(*testing.T, group[K, V])) {
	for _, f := range NewObserved {
		if newGroup, ok := f.(func() Calls[K, V]); ok {
			t.Run("Observed", func(t *testing.T) { test(t, observed[K, V]{newGroup()}) })
			return
		}
	}
	t.Logf("not observed: %T", test)
}
