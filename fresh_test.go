package singleflight

import (
	"context"
	"strconv"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// This file is about fresh calls. What they have in common with other calls that wait for
// the end of a flight is tested in next_test.go.

func TestFreshCallJoinsNoFlightThatHasBegun(t *testing.T) {
	for name, begin := range kinds {
		t.Run(name, func(t *testing.T) {
			withAndWithoutOwner(t, "other", func(t *testing.T, g group[string, any]) {
				for name, call := range fresh {
					old, next := newJob(), newJob()
					first := begin(t.Context(), g, old.run)
					old.requireBegun(t)
					waits := call(t.Context(), g, next.run)
					requireWaiting(t, first, waits)
					assert.Empty(t, next.begun, "two functions of a key would run at once")
					old.end <- "old"
					next.requireBegun(t)
					requireReturned(t, outcome{val: "old"}, first)
					requireWaiting(t, waits)
					next.end <- name
					requireReturned(t, outcome{val: name}, waits)
				}
			})
		})
	}
}

func TestFreshCallAtRestBeginsAFlight(t *testing.T) {
	withAndWithoutOwner(t, "other", func(t *testing.T, g group[string, any]) {
		for name, call := range fresh {
			j := newJob()
			ended := call(context.WithValue(t.Context(), contextKey{}, name), g, j.run)
			fn := j.requireBegun(t)
			assert.Equal(t, name, fn.Value(contextKey{}))
			assert.Equal(t, []Flight{{Key: "key", Callers: 1, State: Flying, Context: fn}}, inFlight(g))
			joined := goDo(g, "key", never(t))
			requireWaiting(t, joined)
			j.end <- 1
			requireReturned(t, outcome{val: 1, shared: true}, ended)
			requireReturned(t, outcome{val: 1, shared: true}, joined)
		}
		var inFn string
		g.DoFresh(context.Background(), "key", func(context.Context) (any, error) {
			inFn = goroutine()
			return nil, nil
		})
		assert.Equal(t, goroutine(), inFn, "fn runs in the goroutine of a caller that never leaves")
	})
}

// However the function in progress ends, the next flight begins.
func TestNextFlightBeginsHoweverTheFlightEnds(t *testing.T) {
	for _, e := range endings {
		t.Run(e.name, func(t *testing.T) {
			withAndWithoutOwner(t, "other", func(t *testing.T, g group[string, any]) {
				for name, call := range fresh {
					gate := make(chan struct{})
					first := doContext(t.Context(), g, func(context.Context) (any, error) { return behind(gate, e.fn)() })
					synctest.Wait()
					waits := call(t.Context(), g, valueWith(name))
					requireWaiting(t, first, waits)
					close(gate)
					e.do(t, <-first)
					requireReturned(t, outcome{val: name}, waits)
				}
			})
		})
	}
}

func TestFreshCallsEndAsFnEnds(t *testing.T) {
	for _, e := range endings {
		t.Run(e.name, func(t *testing.T) {
			withAndWithoutOwner(t, "other", func(t *testing.T, g group[string, any]) {
				fn := func(context.Context) (any, error) { return e.fn() }
				for _, ctx := range []context.Context{t.Context(), context.Background()} {
					for _, waits := range []bool{false, true} {
						old := newJob()
						if waits {
							old = inProgress(doContext)(t, g)
						}
						calls := []<-chan outcome{doFresh(ctx, g, fn), doFresh(ctx, g, fn)}
						synctest.Wait()
						old.end <- nil
						for _, ended := range calls {
							e.do(t, <-ended)
						}
						if e.doChan == nil {
							continue // see TestPanicWithDoChanCrashes
						}
						old = inProgress(doContext)(t, g)
						results := g.DoChanFresh(ctx, "key", fn)
						assert.Equal(t, 1, cap(results))
						old.end <- nil
						assert.Equal(t, *e.doChan, <-results)
						synctest.Wait()
						assert.False(t, receives(results)(), "one more value, or closed")
					}
				}
			})
		})
	}
}

// Fresh calls that come while a flight is in progress share the next, in whatever order they
// come. Those that come when that has begun share a third.
func TestFreshCallsOfOneFlightShareTheNext(t *testing.T) {
	withAndWithoutOwner(t, "other", func(t *testing.T, g group[string, any]) {
		last := inProgress(doContext)(t, g)
		var before []<-chan outcome
		for flight := range 4 {
			next := newJob()
			calls := []<-chan outcome{}
			for range 2 {
				for _, call := range fresh {
					calls = append(calls, call(t.Context(), g, next.run))
				}
			}
			requireWaiting(t, append(before, calls...)...)
			assert.Len(t, inFlight(g), 2)
			last.end <- flight
			for _, ended := range before {
				requireReturned(t, outcome{val: flight, shared: true}, ended)
			}
			next.requireBegun(t)
			last, before = next, calls
		}
		last.end <- nil
	})
}

// A fresh call keeps no other from joining the flight in progress.
func TestOtherCallsJoinTheFlightUntilItIsAbandoned(t *testing.T) {
	for name, join := range joining {
		t.Run(name, func(t *testing.T) {
			withAndWithoutOwner(t, "other", func(t *testing.T, g group[string, any]) {
				for _, call := range fresh {
					old, next := newJob(), newJob()
					ctx, cancel := context.WithCancel(t.Context())
					first := doContext(ctx, g, old.run)
					fn := old.requireBegun(t)
					waits := call(t.Context(), g, next.run)
					requireWaiting(t, first, waits)
					joinCtx, leave := context.WithCancel(t.Context())
					joined := join(joinCtx, g, neverWith(t))
					requireWaiting(t, joined)
					assert.Equal(t, []Flight{
						{Key: "key", Callers: 2, State: Flying, Context: fn},
						{Key: "key", Callers: 1, State: Waiting},
					}, inFlight(g))
					cancel()
					requireReturned(t, canceled, first)
					assert.NoError(t, fn.Err())
					if leave(); leaving[name] == nil {
						old.end <- 1
						requireReturned(t, outcome{val: 1}, joined)
						next.requireBegun(t)
						next.end <- 2
						requireReturned(t, outcome{val: 2}, waits)
						continue
					}
					requireReturned(t, canceled, joined)
					requireAbandoned(t, fn) // the fresh call is no caller of the flight
					joined = join(t.Context(), g, next.run)
					requireWaiting(t, joined, waits)
					assert.Empty(t, next.begun, "the function in progress has not returned")
					old.end <- 1
					next.requireBegun(t)
					next.end <- 2
					requireReturned(t, outcome{val: 2, shared: true}, joined)
					requireReturned(t, outcome{val: 2, shared: true}, waits)
				}
			})
		})
	}
}

// A fresh call may leave before its flight begins, and after. The others stay.
func TestFreshCallLeavesAtOnceWhenItsContextEnds(t *testing.T) {
	for name, test := range contextsThatEnd {
		t.Run(name, func(t *testing.T) {
			withCalls(t, both(fresh, leaving), func(t *testing.T, g group[string, any], call contextCall) {
				for _, begun := range []bool{false, true} {
					old, next := inProgress(doContext)(t, g), newJob()
					stays := call(t.Context(), g, next.run)
					requireWaiting(t, stays)
					ctx, end := test.begin(t)
					leaves := call(ctx, g, neverWith(t))
					requireWaiting(t, leaves)
					if begun {
						old.end <- nil
						next.requireBegun(t)
					}
					end()
					requireReturned(t, outcome{err: test.err}, leaves)
					requireWaiting(t, stays)
					if !begun {
						old.end <- nil
						next.requireBegun(t)
					}
					next.end <- 1
					requireReturned(t, outcome{val: 1}, stays)
				}
			})
		})
	}
}

// Forget begins the next flight, which other calls then join; a fresh call waits for a third.
func TestFreshCallAfterForgetHasBegunTheNextFlight(t *testing.T) {
	withCalls(t, fresh, func(t *testing.T, g group[string, any], call contextCall) {
		old, second, third := inProgress(doContext)(t, g), newJob(), newJob()
		waits := call(t.Context(), g, second.run)
		requireWaiting(t, waits)
		g.Forget("key")
		second.requireBegun(t)
		late := call(t.Context(), g, third.run)
		joined := doContext(t.Context(), g, neverWith(t))
		requireWaiting(t, waits, late, joined)
		old.end <- nil
		synctest.Wait()
		assert.Empty(t, third.begun, "two functions of a key would run at once")
		second.end <- 2
		requireReturned(t, outcome{val: 2, shared: true}, waits)
		requireReturned(t, outcome{val: 2, shared: true}, joined)
		third.requireBegun(t)
		third.end <- 3
		requireReturned(t, outcome{val: 3}, late)
	})
}

// A forgotten flight is in progress, but does not have the key.
func TestFreshCallDoesNotWaitForAForgottenFlight(t *testing.T) {
	withCalls(t, fresh, func(t *testing.T, g group[string, any], call contextCall) {
		old := inProgress(doContext)(t, g)
		g.Forget("key")
		requireReturned(t, outcome{val: "newer"}, call(t.Context(), g, valueWith("newer")))
		old.end <- nil
	})
}

// The owner handles the messages in the order in which they come.
func TestFreshCallAndTheEndOfTheFlight(t *testing.T) {
	for _, landsFirst := range []bool{false, true} {
		t.Run("lands first="+strconv.FormatBool(landsFirst), func(t *testing.T) {
			withCalls(t, fresh, func(t *testing.T, g group[string, any], call contextCall) {
				old, next := newJob(), newJob()
				first := doContext(t.Context(), g, old.run)
				old.requireBegun(t)
				step, open := afterStall(t, g)
				land := func() { old.end <- "old" }
				var waits <-chan outcome
				come := func() { waits = started(call, t.Context(), g, next.run) }
				if landsFirst {
					step(land)
					step(come)
				} else {
					step(come)
					step(land)
				}
				open()
				requireReturned(t, outcome{val: "old"}, first)
				next.requireBegun(t)
				next.end <- "next"
				requireReturned(t, outcome{val: "next"}, waits)
			})
		})
	}
}

func TestDoChanFreshIsOnItsFlightWhenItReturns(t *testing.T) {
	withAndWithoutOwner(t, "other", func(t *testing.T, g group[string, any]) {
		for _, ctx := range []context.Context{t.Context(), context.Background()} {
			old, next := inProgress(doContext)(t, g), newJob()
			var calls []<-chan Result
			for callers := 1; callers <= 3; callers++ {
				calls = append(calls, g.DoChanFresh(ctx, "key", next.run))
				require.Equal(t, Flight{Key: "key", Callers: callers, State: Waiting}, inFlight(g)[1])
			}
			old.end <- nil
			next.end <- 1
			for _, results := range calls {
				assert.Equal(t, Result{Val: 1, Shared: true}, <-results)
			}
			<-next.begun
		}
	})
}

// No request for one more execution that comes while the function runs is lost.
func TestFunctionThatIsToBeExecutedAgain(t *testing.T) {
	withAndWithoutOwner(t, "other", func(t *testing.T, g group[string, any]) {
		j := newJob()
		again := func() { g.DoChanFresh(context.Background(), "key", j.run) }
		again()
		for range 10 {
			j.requireBegun(t)
			for range 3 {
				again()
			}
			requireWaiting(t)
			assert.Empty(t, j.begun, "two functions of a key would run at once")
			j.end <- nil
		}
		j.requireBegun(t)
		j.end <- nil
		synctest.Wait()
		assert.Empty(t, j.begun, "nothing has asked for one more")
		assert.Empty(t, inFlight(g))
	})
}

// A function may ask for its own next execution, with a context that is not its own.
func TestFunctionThatAsksToBeExecutedAgain(t *testing.T) {
	withAndWithoutOwner(t, "other", func(t *testing.T, g group[string, any]) {
		executions := 0
		var again func(context.Context) (any, error)
		again = func(context.Context) (any, error) {
			if executions++; executions < 10 {
				g.DoChanFresh(context.Background(), "key", again)
			}
			return executions, nil
		}
		assert.Equal(t, Result{Val: 1}, <-g.DoChanFresh(context.Background(), "key", again))
		synctest.Wait()
		assert.Equal(t, 10, executions)
	})
}

// Calls that would wait for themselves.

func TestFreshCallWouldWaitForItsOwnFunction(t *testing.T) {
	for name, lead := range contextKinds {
		t.Run(name, func(t *testing.T) {
			withCalls(t, fresh, func(t *testing.T, g group[string, any], call contextCall) {
				j := newJob()
				first := lead(t.Context(), g, j.run)
				fn := j.requireBegun(t)
				for name, derive := range derivations {
					requireReturned(t, deadlock, call(derive(t, fn), g, neverWith(t)))
					assert.Len(t, inFlight(g), 1, name)
				}
				g.Forget("key")
				requireReturned(t, outcome{val: "newer"}, call(fn, g, valueWith("newer")))
				j.end <- 1
				requireReturned(t, outcome{val: 1}, first)
				requireReturned(t, outcome{val: "later"}, call(fn, g, valueWith("later")))
			})
		})
	}
}

// A call on the next flight waits for the one in progress, which must not wait for the call.
func TestCircleThroughAFreshCall(t *testing.T) {
	inNests(t, func(t *testing.T, n nest) {
		a, x := n.keys[0], n.keys[1]
		nestedFresh := func(ctx context.Context, key string, fn func(context.Context) (any, error)) <-chan outcome {
			return goCall(func() (any, error, bool) {
				if n.doChan {
					r := <-n.DoChanFresh(ctx, key, fn)
					return r.Val, r.Err, r.Shared
				}
				return n.DoFresh(ctx, key, fn)
			})
		}
		for _, second := range []func(context.Context, string, func(context.Context) (any, error)) <-chan outcome{
			nestedFresh, n.goNested,
		} {
			jobA, inA := n.begin(t, a)
			jobX, inX := n.begin(t, x)
			next := newJob()
			fromX := nestedFresh(inX, a, next.run)
			requireWaiting(t, fromX)
			requireReturned(t, deadlock, second(inA, x, neverWith(t)))
			jobA.end <- nil
			inNext := next.requireBegun(t)
			requireReturned(t, deadlock, second(inNext, x, neverWith(t)))
			late := n.goNested(inA, x, neverWith(t)) // x does not wait for the flight that has landed
			requireWaiting(t, late, fromX)
			next.end <- "a"
			requireReturned(t, outcome{val: "a"}, fromX)
			jobX.end <- "x"
			requireReturned(t, outcome{val: "x"}, late)
			synctest.Wait()
		}
	})
}

// The owner knows of no call that is made in a Do, so it refuses none that waits for a Do.
func TestFreshCallThatWaitsForADoClosesNoCircle(t *testing.T) {
	inNests(t, func(t *testing.T, n nest) {
		a, x := n.keys[0], n.keys[1]
		old, next := newJob(), newJob()
		goDo(n, a, old.plain)
		old.requireBegun(t)
		jobX, inX := n.begin(t, x)
		fromX := goCall(func() (any, error, bool) { return n.DoFresh(inX, a, next.run) })
		joins := n.goNested(inX, a, neverWith(t))
		requireWaiting(t, fromX, joins)
		old.end <- "old"
		requireReturned(t, outcome{val: "old"}, joins)
		requireReturned(t, deadlock, n.goNested(next.requireBegun(t), x, neverWith(t)))
		next.end <- "next"
		requireReturned(t, outcome{val: "next"}, fromX)
		jobX.end <- nil
	})
}
