package singleflight

import "context"

// This file has the calls whose result must be fresh.

// DoFresh is like [GroupOf.DoContext], but it joins no flight that has begun. So the result
// is of a function that began after the call, and sees what had happened before, such as a
// write of the caller. If nothing with key is in flight, DoFresh begins a flight. If a flight
// is in progress, the call is on the next one, which begins when the one in progress ends,
// in whatever way. Functions of a key still do not overlap, unless Forget is called.
//
// All fresh calls that come while one flight is in progress share the next flight; those
// that come when that has begun share the one after it. So DoFresh may last for two
// executions, and ctx should allow for both. Other calls join the flight in progress, as
// ever, until it is abandoned; then they join the next one. The callers of the next flight
// are no callers of the flight in progress: they do not keep the context of its function
// from ending, and its shared does not count them.
//
// The caller leaves when ctx ends. If all callers have left, the next flight never begins.
// Else it runs the function of the first of them that never leaves or, if all may, of the
// first that has not left. [GroupOf.Forget] begins the next flight at once;
// [GroupOf.ForgetUnshared] does nothing while there is one.
//
// No function of such a key should look into a cache before it does its work: the flight in
// progress may put there what it read before the call, and behind an abandoned flight, the
// next one may run the fn of a call that is not fresh.
//
// A call that is made with the context of the function in progress would wait for that
// function, and returns [ErrDeadlock]. A function that is to be executed once more calls
// [GroupOf.DoChanFresh] with a context that is not derived from its own, and returns without
// waiting; [context.WithoutCancel] does derive one.
//
// DoFresh panics if ctx or fn is nil.
func (g *GroupOf[K, V]) DoFresh(ctx context.Context, key K, fn func(context.Context) (V, error)) (v V, err error, shared bool) {
	return g.doContext(ctx, key, fn, true)
}

// DoChanFresh is like [GroupOf.DoFresh], but instead of waiting it returns a channel, which
// is that of a [GroupOf.DoChanContext].
//
// When it has returned, an execution is sure to begin, unless ctx ends before. So a program
// that wants something done again whenever it has changed, but never twice at once, calls
// DoChanFresh with a context that never ends, and need not look at the channel:
//
//	g.DoChanFresh(context.Background(), "sync", sync)
//
// DoChanFresh panics if ctx or fn is nil.
func (g *GroupOf[K, V]) DoChanFresh(ctx context.Context, key K, fn func(context.Context) (V, error)) <-chan ResultOf[V] {
	return g.doChanContext(ctx, key, fn, true)
}
