package singleflight

import "context"

// This file has the calls whose result must be fresh.

// DoFresh is like [GroupOf.DoContext], but it joins no flight that has begun. So the result
// is of a function that began after the call, and sees what had happened before, such as a
// write of the caller. If a flight has the key, the call is on the next flight, which begins
// when that one lands, however its function ends. If none has the key, because none is in
// progress or Forget has freed the key, DoFresh begins one. Functions of a key still do not
// overlap, unless Forget is called.
//
// All fresh calls that come while one flight has the key share the next; those that come when
// that has begun share the one after it. So DoFresh may take as long as two executions, and
// ctx should allow for both. Other calls join the flight in progress, as ever, until it is
// abandoned; then they join the next one. The callers of the next flight are not callers of
// the flight in progress: they do not keep the context of its function from ending, and its
// shared does not count them.
//
// The caller leaves when ctx ends. If all callers have left, the next flight never begins.
// Else it runs the function of the first of them that never leaves or, if all may, of the
// first that has not left. [GroupOf.Forget] begins the next flight at once;
// [GroupOf.ForgetUnshared] does nothing while there is one.
//
// No function that is used with such a key should look into a cache first: the flight in
// progress may put there what it read before the call. This concerns the functions of other
// calls, too, because behind an abandoned flight the next one may run one of these.
//
// A call that is made with the context of the function in progress would wait for that
// function, and returns [ErrDeadlock], unless Forget has freed the key. A function that is to
// be executed once more calls [GroupOf.DoChanFresh] with a context that is not derived from
// its own, and returns without waiting; [context.WithoutCancel] does derive one.
//
// DoFresh panics if ctx or fn is nil.
func (g *GroupOf[K, V]) DoFresh(ctx context.Context, key K, fn func(context.Context) (V, error)) (v V, err error, shared bool) {
	return g.doContext(ctx, key, fn, true)
}

// DoChanFresh is like [GroupOf.DoFresh], but instead of waiting it returns a channel, which
// has the properties of a [GroupOf.DoChanContext]'s.
//
// When DoChanFresh has returned, its request cannot get lost: the next flight begins when the
// one in progress has ended, unless all callers of the next have left before. So a program
// that must do something again after each change, but never twice at once, calls DoChanFresh
// with a context that never ends, and may ignore the channel, which receives the error:
//
//	g.DoChanFresh(context.Background(), "sync", sync)
//
// DoChanFresh panics if ctx or fn is nil.
func (g *GroupOf[K, V]) DoChanFresh(ctx context.Context, key K, fn func(context.Context) (V, error)) <-chan ResultOf[V] {
	return g.doChanContext(ctx, key, fn, true)
}
