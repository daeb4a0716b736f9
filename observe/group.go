package observe

import (
	"context"
	"time"

	"github.com/actorflight/singleflight"
)

// A GroupOf is a [singleflight.GroupOf] that is observed. It has the same methods, with
// the same promises.
//
// The zero GroupOf is ready for use. A GroupOf must not be copied after first use, nor
// may its fields be changed. There is nothing to close. Its size is a few KiB.
type GroupOf[K comparable, V any] struct {
	// Name tells the group from others, in metrics as the label group.
	Name string

	// Whose tells the page whose a flight is. It gets fn's context, in which it may find
	// a user, a request or a trace. It is not called for a flight that a Do or DoChan has
	// begun, which has no context. A page calls it while fn runs, or up to some seconds
	// after: see [Handler], which also says what becomes of one that panics or is slow.
	Whose func(context.Context) string

	// Key returns the text that the page shows for a key, for instance without what is
	// secret. It is called as Whose is. If it is nil, the page shows a struct or an array
	// without a method String in Go's syntax, and else what [fmt.Sprint] returns.
	Key func(K) string

	// Slow is called when the fn of a flight has run for SlowAfter, and still runs: once, in
	// a goroutine of its own. It gets fn's context, or [context.Background] in a Do or
	// DoChan, the key, and how long fn has run. If it panics, the program crashes. Either
	// both fields are set, SlowAfter to more than 0, or neither is; else all calls panic.
	SlowAfter time.Duration
	Slow      func(ctx context.Context, key K, age time.Duration)

	group    singleflight.GroupOf[K, V]
	observer observer[K, V]
}

// Group has the keys and values of the Group in golang.org/x/sync/singleflight.
type Group = GroupOf[string, any]

// A ShardedOf is a [singleflight.ShardedOf] that is observed, as a [GroupOf] is a
// GroupOf of the library.
type ShardedOf[K comparable, V any] struct {
	Name  string                       // as in GroupOf
	Whose func(context.Context) string // as in GroupOf
	Key   func(K) string               // as in GroupOf

	SlowAfter time.Duration                                       // as in GroupOf
	Slow      func(ctx context.Context, key K, age time.Duration) // as in GroupOf

	group    singleflight.ShardedOf[K, V]
	observer observer[K, V]
}

// Sharded has the keys and values of the Group in golang.org/x/sync/singleflight.
type Sharded = ShardedOf[string, any]

func (g *GroupOf[K, V]) slow() slow[K]   { return slow[K]{g.SlowAfter, g.Slow} }
func (s *ShardedOf[K, V]) slow() slow[K] { return slow[K]{s.SlowAfter, s.Slow} }

// Do is [singleflight.GroupOf.Do].
func (g *GroupOf[K, V]) Do(key K, fn func() (V, error)) (v V, err error, shared bool) {
	return g.observer.do(&g.group, key, watchedPlain(g.slow(), key, fn))
}

// DoChan is [singleflight.GroupOf.DoChan].
func (g *GroupOf[K, V]) DoChan(key K, fn func() (V, error)) <-chan singleflight.ResultOf[V] {
	return g.observer.doChan(&g.group, key, watchedPlain(g.slow(), key, fn))
}

// DoContext is [singleflight.GroupOf.DoContext].
func (g *GroupOf[K, V]) DoContext(ctx context.Context, key K, fn func(context.Context) (V, error)) (v V, err error, shared bool) {
	return g.observer.doContext(g.group.DoContext, ctx, key, watched(g.slow(), key, fn))
}

// DoChanContext is [singleflight.GroupOf.DoChanContext].
func (g *GroupOf[K, V]) DoChanContext(ctx context.Context, key K, fn func(context.Context) (V, error)) <-chan singleflight.ResultOf[V] {
	return g.observer.doChanContext(g.group.DoChanContext, ctx, key, watched(g.slow(), key, fn))
}

// DoFresh is [singleflight.GroupOf.DoFresh].
func (g *GroupOf[K, V]) DoFresh(ctx context.Context, key K, fn func(context.Context) (V, error)) (v V, err error, shared bool) {
	return g.observer.doContext(g.group.DoFresh, ctx, key, watched(g.slow(), key, fn))
}

// DoChanFresh is [singleflight.GroupOf.DoChanFresh].
func (g *GroupOf[K, V]) DoChanFresh(ctx context.Context, key K, fn func(context.Context) (V, error)) <-chan singleflight.ResultOf[V] {
	return g.observer.doChanContext(g.group.DoChanFresh, ctx, key, watched(g.slow(), key, fn))
}

// Forget is [singleflight.GroupOf.Forget].
func (g *GroupOf[K, V]) Forget(key K) { g.group.Forget(key) }

// ForgetUnshared is [singleflight.GroupOf.ForgetUnshared].
func (g *GroupOf[K, V]) ForgetUnshared(key K) bool { return g.group.ForgetUnshared(key) }

// InFlight is [singleflight.GroupOf.InFlight].
func (g *GroupOf[K, V]) InFlight() []singleflight.FlightOf[K] {
	return g.observer.inFlight(&g.group)
}

// Wait is [singleflight.GroupOf.Wait].
func (g *GroupOf[K, V]) Wait(ctx context.Context) error { return g.group.Wait(ctx) }

// Do is [singleflight.GroupOf.Do].
func (s *ShardedOf[K, V]) Do(key K, fn func() (V, error)) (v V, err error, shared bool) {
	return s.observer.do(&s.group, key, watchedPlain(s.slow(), key, fn))
}

// DoChan is [singleflight.GroupOf.DoChan].
func (s *ShardedOf[K, V]) DoChan(key K, fn func() (V, error)) <-chan singleflight.ResultOf[V] {
	return s.observer.doChan(&s.group, key, watchedPlain(s.slow(), key, fn))
}

// DoContext is [singleflight.GroupOf.DoContext].
func (s *ShardedOf[K, V]) DoContext(ctx context.Context, key K, fn func(context.Context) (V, error)) (v V, err error, shared bool) {
	return s.observer.doContext(s.group.DoContext, ctx, key, watched(s.slow(), key, fn))
}

// DoChanContext is [singleflight.GroupOf.DoChanContext].
func (s *ShardedOf[K, V]) DoChanContext(ctx context.Context, key K, fn func(context.Context) (V, error)) <-chan singleflight.ResultOf[V] {
	return s.observer.doChanContext(s.group.DoChanContext, ctx, key, watched(s.slow(), key, fn))
}

// DoFresh is [singleflight.GroupOf.DoFresh].
func (s *ShardedOf[K, V]) DoFresh(ctx context.Context, key K, fn func(context.Context) (V, error)) (v V, err error, shared bool) {
	return s.observer.doContext(s.group.DoFresh, ctx, key, watched(s.slow(), key, fn))
}

// DoChanFresh is [singleflight.GroupOf.DoChanFresh].
func (s *ShardedOf[K, V]) DoChanFresh(ctx context.Context, key K, fn func(context.Context) (V, error)) <-chan singleflight.ResultOf[V] {
	return s.observer.doChanContext(s.group.DoChanFresh, ctx, key, watched(s.slow(), key, fn))
}

// Forget is [singleflight.GroupOf.Forget].
func (s *ShardedOf[K, V]) Forget(key K) { s.group.Forget(key) }

// ForgetUnshared is [singleflight.GroupOf.ForgetUnshared].
func (s *ShardedOf[K, V]) ForgetUnshared(key K) bool { return s.group.ForgetUnshared(key) }

// InFlight is [singleflight.ShardedOf.InFlight].
func (s *ShardedOf[K, V]) InFlight() []singleflight.FlightOf[K] {
	return s.observer.inFlight(&s.group)
}

// Wait is [singleflight.ShardedOf.Wait].
func (s *ShardedOf[K, V]) Wait(ctx context.Context) error { return s.group.Wait(ctx) }
