package singleflight

import (
	"context"
	"math"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A job is a function that sends its context to the test when it begins, and
// returns when the test says so, even if the context has ended.
type job struct {
	begun chan context.Context
	end   chan any
}

func newJob() job { return job{make(chan context.Context, 1), make(chan any, 1)} }

func (j job) run(ctx context.Context) (any, error) {
	j.begun <- ctx
	return <-j.end, nil
}

// plain is run as the fn of a Do.
func (j job) plain() (any, error) { return j.run(context.Background()) }

func (j job) requireBegun(t *testing.T) context.Context {
	t.Helper()
	synctest.Wait()
	require.Len(t, j.begun, 1, "fn has not begun")
	return <-j.begun
}

// A contextCall makes a call that may leave, and returns its outcome.
type contextCall func(context.Context, group[string, any], func(context.Context) (any, error)) <-chan outcome

func doContext(ctx context.Context, g group[string, any], fn func(context.Context) (any, error)) <-chan outcome {
	return goCall(func() (any, error, bool) { return g.DoContext(ctx, "key", fn) })
}

func doChanContext(ctx context.Context, g group[string, any], fn func(context.Context) (any, error)) <-chan outcome {
	return received(g.DoChanContext(ctx, "key", fn))
}

// received returns the result of a DoChan as the outcome of a Do.
func received(results <-chan Result) <-chan outcome {
	return goCall(func() (any, error, bool) {
		r := <-results
		return r.Val, r.Err, r.Shared
	})
}

// withContextCalls runs test with both kinds of calls that may leave, on groups with
// and without an owner.
func withContextCalls(t *testing.T, test func(*testing.T, group[string, any], contextCall)) {
	for name, call := range map[string]contextCall{"DoContext": doContext, "DoChanContext": doChanContext} {
		t.Run(name, func(t *testing.T) {
			withAndWithoutOwner(t, "other", func(t *testing.T, g group[string, any]) { test(t, g, call) })
		})
	}
}

func neverWith(t *testing.T) func(context.Context) (any, error) {
	fn := never(t)
	return func(context.Context) (any, error) { return fn() }
}

func valueWith(v any) func(context.Context) (any, error) {
	return func(context.Context) (any, error) { return v, nil }
}

var canceled = outcome{err: context.Canceled}

// requireWaiting requires that no call has returned.
func requireWaiting(t *testing.T, calls ...<-chan outcome) {
	t.Helper()
	synctest.Wait()
	for i, ended := range calls {
		require.Empty(t, ended, "call %d has returned", i)
	}
}

func requireAbandoned(t *testing.T, ctx context.Context) {
	t.Helper()
	<-ctx.Done()
	require.Equal(t, context.Canceled, ctx.Err())
	require.Equal(t, ErrAbandoned, context.Cause(ctx))
}

// abandon makes a flight of "key" that all callers have left, and returns its job.
func abandon(t *testing.T, g group[string, any]) job {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	j := newJob()
	left := doContext(ctx, g, j.run)
	fn := j.requireBegun(t)
	cancel()
	require.Equal(t, canceled, <-left)
	requireAbandoned(t, fn)
	return j
}

// The caller leaves.

func TestCallerLeavesAtOnceWhenItsContextEnds(t *testing.T) {
	withContextCalls(t, func(t *testing.T, g group[string, any], call contextCall) {
		for name, begin := range map[string]func(job){
			"no caller's": func(job) {},
			"Do's":        func(j job) { goDo(g, "key", j.plain) },
			"DoChan's":    func(j job) { g.DoChan("key", j.plain) },
			"DoContext's": func(j job) { doContext(t.Context(), g, j.run) },
			"DoContext's, with a context that never ends": func(j job) { doContext(context.Background(), g, j.run) },
		} {
			j := newJob()
			begin(j)
			synctest.Wait()

			ctx, cancel := context.WithCancel(t.Context())
			left := call(ctx, g, j.run)
			requireWaiting(t, left)
			cancel()
			assert.Equal(t, canceled, <-left, name)

			start := time.Now()
			ctx, cancel = context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			assert.Equal(t, outcome{err: context.DeadlineExceeded}, <-call(ctx, g, j.run), name)
			assert.Equal(t, time.Minute, time.Since(start), name)

			j.requireBegun(t)
			j.end <- nil
			synctest.Wait()
		}
	})
}

func TestContextThatIsDoneStartsAndJoinsNothing(t *testing.T) {
	withContextCalls(t, func(t *testing.T, g group[string, any], call contextCall) {
		done, cancel := context.WithCancel(t.Context())
		cancel()
		assert.Equal(t, canceled, <-call(done, g, neverWith(t)))
		assert.Empty(t, inFlight(g))

		j := newJob()
		lone := goDo(g, "key", j.plain)
		synctest.Wait()
		assert.Equal(t, canceled, <-call(done, g, neverWith(t)))
		j.end <- 1
		assert.Equal(t, outcome{val: 1}, <-lone, "the other call has not joined")
	})
}

func TestCallThatJoinsAndLeavesStartsNoGoroutine(t *testing.T) {
	onBoth(t, func(t *testing.T, g group[string, any]) {
		synctest.Test(t, func(t *testing.T) {
			j := newJob()
			first := goDo(g, "key", j.plain)
			synctest.Wait()
			requireOwner(t, g.of("key"))
			ctx, cancel := context.WithCancel(t.Context())
			require.Len(t, lingering(), 2, "the leader and the owner")
			var calls []<-chan outcome
			for range 10 {
				calls = append(calls, doContext(ctx, g, neverWith(t)))
			}
			requireWaiting(t, calls...)
			assert.Len(t, lingering(), 2+len(calls), "the callers' goroutines, and no more")
			cancel()
			for _, ended := range calls {
				<-ended
			}
			j.end <- nil
			<-first
		})
	})
}

func TestDoChanContextIsOnItsFlightWhenItReturns(t *testing.T) {
	withAndWithoutOwner(t, "other", func(t *testing.T, g group[string, any]) {
		j := newJob()
		var calls []<-chan Result
		for callers := 1; callers <= 3; callers++ {
			calls = append(calls, g.DoChanContext(t.Context(), "key", j.run))
			require.Equal(t, callers, inFlight(g)[0].Callers)
		}
		j.end <- 1
		for _, results := range calls {
			assert.Equal(t, Result{Val: 1, Shared: true}, <-results)
		}
	})
}

func TestNilContextAndNilFnPanicInTheCaller(t *testing.T) {
	withAndWithoutOwner(t, "other", func(t *testing.T, g group[string, any]) {
		var none context.Context
		assert.PanicsWithValue(t, nilContext, func() { g.DoContext(none, "key", neverWith(t)) })
		assert.PanicsWithValue(t, nilContext, func() { g.DoChanContext(none, "key", neverWith(t)) })
		for _, ctx := range []context.Context{context.Background(), t.Context()} {
			assert.PanicsWithValue(t, nilFunc, func() { g.DoContext(ctx, "key", nil) })
			assert.PanicsWithValue(t, nilFunc, func() { g.DoChanContext(ctx, "key", nil) })
		}
		assert.Empty(t, inFlight(g))
	})
}

// As calls leave one after another, fn's context must not end before the last.
func TestLastCallerThatLeavesEndsFnsContext(t *testing.T) {
	withContextCalls(t, func(t *testing.T, g group[string, any], call contextCall) {
		for _, order := range [][]int{{0, 1, 2}, {2, 1, 0}, {1, 0, 2}, {1, 2, 0}} {
			j := newJob()
			var calls [3]<-chan outcome
			var cancels [3]context.CancelFunc
			for i := range calls {
				var ctx context.Context
				ctx, cancels[i] = context.WithCancel(t.Context())
				calls[i] = call(ctx, g, j.run)
				synctest.Wait()
			}
			fn := j.requireBegun(t)
			for _, i := range order {
				require.NoError(t, fn.Err())
				cancels[i]()
				require.Equal(t, canceled, <-calls[i])
			}
			requireAbandoned(t, fn)
			j.end <- nil
			synctest.Wait()
		}
	})
}

type contextKey struct{}

func TestFnsContextHasTheFirstCallersValuesButNotItsDeadline(t *testing.T) {
	withContextCalls(t, func(t *testing.T, g group[string, any], call contextCall) {
		j := newJob()
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		first := call(context.WithValue(ctx, contextKey{}, "first"), g, j.run)
		fn := j.requireBegun(t)
		second := call(context.WithValue(t.Context(), contextKey{}, "second"), g, neverWith(t))
		synctest.Wait()

		assert.Equal(t, "first", fn.Value(contextKey{}))
		assert.Equal(t, []Flight{{Key: "key", Callers: 2, State: Flying, Context: fn}}, inFlight(g))
		_, ok := fn.Deadline()
		assert.False(t, ok)
		assert.Equal(t, outcome{err: context.DeadlineExceeded}, <-first)
		assert.NoError(t, fn.Err(), "the second caller waits")
		j.end <- 1
		assert.Equal(t, outcome{val: 1}, <-second, "no other call gets the result")
		synctest.Wait()
		assert.NoError(t, fn.Err(), "what fn has returned may depend on it")
	})
}

func TestContextThatNeverEndsRunsFnInTheCallersGoroutine(t *testing.T) {
	withAndWithoutOwner(t, "other", func(t *testing.T, g group[string, any]) {
		ctx := context.WithValue(context.Background(), contextKey{}, "value")
		caller := goroutine()
		v, err, shared := g.DoContext(ctx, "key", func(ctx context.Context) (any, error) {
			assert.Equal(t, "value", ctx.Value(contextKey{}))
			assert.Nil(t, ctx.Done())
			assert.NoError(t, ctx.Err())
			_, ok := ctx.Deadline()
			assert.False(t, ok)
			flights := inFlight(g)
			assert.Equal(t, []Flight{{Key: "key", Callers: 1, State: Flying, Context: ctx}}, flights)
			return goroutine(), errFn
		})
		assert.Equal(t, caller, v)
		assert.Equal(t, errFn, err)
		assert.False(t, shared)
	})
}

// Calls of all kinds share flights.

// kinds are all calls that wait for a result.
var kinds = map[string]contextCall{
	"Do": func(_ context.Context, g group[string, any], fn func(context.Context) (any, error)) <-chan outcome {
		return goDo(g, "key", func() (any, error) { return fn(context.Background()) })
	},
	"DoChan": func(_ context.Context, g group[string, any], fn func(context.Context) (any, error)) <-chan outcome {
		return received(g.DoChan("key", func() (any, error) { return fn(context.Background()) }))
	},
	"DoContext":     doContext,
	"DoChanContext": doChanContext,
	"DoContext that never leaves": func(_ context.Context, g group[string, any], fn func(context.Context) (any, error)) <-chan outcome {
		return doContext(context.Background(), g, fn)
	},
}

func TestCallsOfAllKindsShareFlights(t *testing.T) {
	withAndWithoutOwner(t, "other", func(t *testing.T, g group[string, any]) {
		for _, lead := range kinds {
			j := newJob()
			calls := []<-chan outcome{lead(t.Context(), g, j.run)}
			j.requireBegun(t)
			for _, join := range kinds {
				calls = append(calls, join(t.Context(), g, neverWith(t)))
			}
			requireWaiting(t, calls...)
			j.end <- 1
			for _, ended := range calls {
				assert.Equal(t, outcome{val: 1, shared: true}, <-ended)
			}
			synctest.Wait()
		}
	})
}

func TestFlightIsNotAbandonedWhileACallThatNeverLeavesIsOnIt(t *testing.T) {
	for _, kind := range []string{"Do", "DoChan", "DoContext that never leaves"} {
		t.Run(kind, func(t *testing.T) {
			withContextCalls(t, func(t *testing.T, g group[string, any], call contextCall) {
				for _, first := range []string{"leads", "joins"} {
					j := newJob()
					ctx, cancel := context.WithCancel(t.Context())
					var left, stays <-chan outcome
					if first == "joins" {
						stays = kinds[kind](t.Context(), g, j.run)
						synctest.Wait()
						left = call(ctx, g, neverWith(t))
					} else {
						left = call(ctx, g, j.run)
						synctest.Wait()
						stays = kinds[kind](t.Context(), g, neverWith(t))
					}
					fn := j.requireBegun(t)
					cancel()
					assert.Equal(t, canceled, <-left)
					requireWaiting(t, stays)
					assert.NoError(t, fn.Err())
					joined := goDo(g, "key", never(t))
					requireWaiting(t, joined)
					j.end <- 1
					assert.Equal(t, outcome{val: 1, shared: true}, <-stays)
					assert.Equal(t, outcome{val: 1, shared: true}, <-joined)
					synctest.Wait()
				}
			})
		})
	}
}

func TestAllCallersThatHaveNotLeftAreReleased(t *testing.T) {
	withContextCalls(t, func(t *testing.T, g group[string, any], call contextCall) {
		j := newJob()
		ctx, cancel := context.WithCancel(t.Context())
		var leave, stay []<-chan outcome
		for i := range 5*row + 3 {
			if i%3 == 0 {
				leave = append(leave, call(ctx, g, j.run))
			} else {
				stay = append(stay, call(t.Context(), g, j.run))
			}
		}
		requireWaiting(t, append(leave, stay...)...)
		cancel()
		for _, ended := range leave {
			assert.Equal(t, canceled, <-ended)
		}
		requireWaiting(t, stay...)
		j.end <- 1
		for _, ended := range stay {
			assert.Equal(t, outcome{val: 1, shared: true}, <-ended)
		}
	})
}

func TestSharedCountsTheCallersAtTheLanding(t *testing.T) {
	withAndWithoutOwner(t, "other", func(t *testing.T, g group[string, any]) {
		for name, lead := range kinds {
			j := newJob()
			stays := lead(t.Context(), g, j.run)
			j.requireBegun(t)
			ctx, cancel := context.WithCancel(t.Context())
			left := doContext(ctx, g, neverWith(t))
			requireWaiting(t, left)
			cancel()
			<-left
			j.end <- 1
			assert.Equal(t, outcome{val: 1}, <-stays, name)
			synctest.Wait()
		}
	})
}

// Behind an abandoned flight.

func TestNoCallJoinsAnAbandonedFlight(t *testing.T) {
	for first, begin := range kinds {
		t.Run(first, func(t *testing.T) {
			withAndWithoutOwner(t, "other", func(t *testing.T, g group[string, any]) {
				for _, join := range kinds {
					old, next := abandon(t, g), newJob()
					calls := []<-chan outcome{begin(t.Context(), g, next.run)}
					synctest.Wait()
					// The call that takes the flight over brings the function.
					calls = append(calls, join(t.Context(), g, next.run))
					synctest.Wait()
					calls = append(calls, goDo(g, "key", next.plain), received(g.DoChan("key", next.plain)))
					requireWaiting(t, calls...)
					assert.Empty(t, next.begun, "two functions of a key would run at once")
					old.end <- "unwanted"
					next.requireBegun(t)
					requireWaiting(t, calls...)
					next.end <- 1
					for _, ended := range calls {
						assert.Equal(t, outcome{val: 1, shared: true}, <-ended)
					}
					synctest.Wait()
				}
			})
		})
	}
}

func TestCallsMayLeaveWhileTheyWaitForAnAbandonedFlight(t *testing.T) {
	withContextCalls(t, func(t *testing.T, g group[string, any], call contextCall) {
		old := abandon(t, g)
		for range 2 { // all leave, and others come
			ctx, cancel := context.WithCancel(t.Context())
			first, second := call(ctx, g, neverWith(t)), call(ctx, g, neverWith(t))
			requireWaiting(t, first, second)
			assert.ElementsMatch(t, []Flight{
				{Key: "key", State: Abandoned, Context: inFlight(g)[0].Context},
				{Key: "key", Callers: 2, State: Waiting},
			}, inFlight(g))
			cancel()
			assert.Equal(t, canceled, <-first)
			assert.Equal(t, canceled, <-second)
			require.Len(t, inFlight(g), 1, "a flight that all have left before it began is dropped")
		}
		stays := call(t.Context(), g, valueWith(1))
		requireWaiting(t, stays)
		old.end <- nil
		assert.Equal(t, outcome{val: 1}, <-stays)
	})
}

func TestNextFlightDoesNotBeginIfAllItsCallersHaveLeft(t *testing.T) {
	withContextCalls(t, func(t *testing.T, g group[string, any], call contextCall) {
		old := abandon(t, g)
		ctx, cancel := context.WithCancel(t.Context())
		left := call(ctx, g, neverWith(t))
		requireWaiting(t, left)
		cancel()
		<-left
		old.end <- nil
		synctest.Wait()
		assert.Empty(t, inFlight(g))
		assert.Equal(t, outcome{val: 1}, <-goDo(g, "key", value(1)))
	})
}

// A flight must not begin with the function of a call that has left.
func TestCallThatHasLeftDoesNotBeginTheNextFlight(t *testing.T) {
	for name, stay := range kinds {
		t.Run(name, func(t *testing.T) {
			withContextCalls(t, func(t *testing.T, g group[string, any], call contextCall) {
				old, next := abandon(t, g), newJob()
				ctx, cancel := context.WithCancel(t.Context())
				left := call(ctx, g, neverWith(t))
				requireWaiting(t, left)
				stays := stay(context.WithValue(t.Context(), contextKey{}, "stays"), g, next.run)
				last := stay(context.WithValue(t.Context(), contextKey{}, "stays"), g, next.run)
				requireWaiting(t, stays, last)
				cancel()
				assert.Equal(t, canceled, <-left)
				old.end <- nil
				fn := next.requireBegun(t)
				switch flights := inFlight(g); name {
				case "Do", "DoChan":
					assert.Equal(t, []Flight{{Key: "key", Callers: 2, State: Flying}}, flights)
				case "DoContext", "DoChanContext":
					assert.Equal(t, "stays", fn.Value(contextKey{}))
					fallthrough
				default:
					assert.Equal(t, []Flight{{Key: "key", Callers: 2, State: Flying, Context: fn}}, flights)
				}
				next.end <- 1
				assert.Equal(t, outcome{val: 1, shared: true}, <-stays)
				assert.Equal(t, outcome{val: 1, shared: true}, <-last)
			})
		})
	}
}

// Calls that wait for an abandoned flight, or have left meanwhile, keep their fn alive
// no longer than until the next flight begins.
func TestNextFlightKeepsNoFnButItsOwn(t *testing.T) {
	for name, lead := range kinds {
		t.Run(name, func(t *testing.T) {
			withContextCalls(t, func(t *testing.T, g group[string, any], call contextCall) {
				waiting := func(ctx context.Context) (<-chan outcome, weak.Pointer[blob]) {
					b := new(blob)
					ended := call(ctx, g, func(context.Context) (any, error) { return b, nil })
					synctest.Wait()
					return ended, weak.Make(b)
				}
				for _, firstLeaves := range []bool{true, false} {
					old, next := abandon(t, g), newJob()
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					if firstLeaves {
						left, captured := waiting(ctx)
						staysInstead := lead(t.Context(), g, next.run)
						synctest.Wait()
						cancel()
						assert.Equal(t, canceled, <-left)
						requireFreed(t, captured)
						old.end <- nil
						next.requireBegun(t)
						requireFreed(t, captured)
						next.end <- nil
						<-staysInstead
					} else {
						leads := lead(t.Context(), g, next.run)
						synctest.Wait()
						joined, captured := waiting(ctx)
						old.end <- nil
						next.requireBegun(t)
						requireFreed(t, captured)
						next.end <- nil
						<-leads
						<-joined
					}
					synctest.Wait()
				}
			})
		})
	}
}

func TestNextFlightMayBeLeftAndAbandonedLikeAny(t *testing.T) {
	withContextCalls(t, func(t *testing.T, g group[string, any], call contextCall) {
		old, next := abandon(t, g), newJob()
		ctx, cancel := context.WithCancel(t.Context())
		first, second := call(ctx, g, next.run), call(ctx, g, next.run)
		requireWaiting(t, first, second)
		old.end <- nil
		fn := next.requireBegun(t)
		cancel()
		assert.Equal(t, canceled, <-first)
		assert.Equal(t, canceled, <-second)
		requireAbandoned(t, fn)
		third := call(t.Context(), g, valueWith(3))
		requireWaiting(t, third)
		next.end <- nil
		assert.Equal(t, outcome{val: 3}, <-third)
	})
}

func TestForgetBeginsTheFlightThatWaits(t *testing.T) {
	for name, wait := range kinds {
		t.Run(name, func(t *testing.T) {
			withAndWithoutOwner(t, "other", func(t *testing.T, g group[string, any]) {
				old, next := abandon(t, g), newJob()
				waits := wait(t.Context(), g, next.run)
				requireWaiting(t, waits)
				assert.False(t, g.ForgetUnshared("key"), "a call waits for the flight")
				assert.Empty(t, next.begun)
				for _, f := range inFlight(g) {
					if f.State == Waiting {
						assert.Nil(t, f.Context)
					}
				}
				g.Forget("key")
				next.requireBegun(t)
				var states []State
				for _, f := range inFlight(g) {
					states = append(states, f.State)
				}
				assert.ElementsMatch(t, []State{Abandoned, Flying}, states)
				joined := goDo(g, "key", never(t))
				requireWaiting(t, joined)
				next.end <- 1
				assert.Equal(t, outcome{val: 1, shared: true}, <-waits)
				assert.Equal(t, outcome{val: 1, shared: true}, <-joined)
				assert.Len(t, inFlight(g), 1)
				old.end <- nil
			})
		})
	}
}

func TestForgetUnsharedOfAContextFlight(t *testing.T) {
	withContextCalls(t, func(t *testing.T, g group[string, any], call contextCall) {
		j := newJob()
		ctx, cancel := context.WithCancel(t.Context())
		first, second := call(t.Context(), g, j.run), call(ctx, g, j.run)
		requireWaiting(t, first, second)
		assert.False(t, g.ForgetUnshared("key"), "two callers are on it")
		cancel()
		<-second
		assert.True(t, g.ForgetUnshared("key"), "one is")
		assert.True(t, g.ForgetUnshared("key"))
		j.end <- 1
		assert.Equal(t, outcome{val: 1}, <-first)

		old := abandon(t, g)
		assert.True(t, g.ForgetUnshared("key"), "none is")
		assert.Equal(t, outcome{val: 2}, <-goDo(g, "key", value(2)))
		old.end <- nil
	})
}

func TestWaitAwaitsAbandonedFlightsAndThoseBehindThem(t *testing.T) {
	onBoth(t, func(t *testing.T, g group[string, any]) {
		synctest.Test(t, func(t *testing.T) {
			old, next := abandon(t, g), newJob()
			doContext(t.Context(), g, next.run)
			synctest.Wait()
			rest := goWait(t.Context(), g)
			for _, j := range []job{old, next} {
				synctest.Wait()
				require.Empty(t, rest)
				j.end <- nil
			}
			assert.NoError(t, <-rest)
		})
	})
}

// Endings.

func TestContextCallsEndAsFnEnds(t *testing.T) {
	for _, e := range endings {
		fn := func(context.Context) (any, error) { return e.fn() }
		t.Run(e.name+"/DoContext", func(t *testing.T) {
			withAndWithoutOwner(t, "other", func(t *testing.T, g group[string, any]) {
				for _, ctx := range []context.Context{t.Context(), context.Background()} {
					e.do(t, <-doContext(ctx, g, fn))

					gate := make(chan struct{})
					var calls []<-chan outcome
					for range 3 {
						calls = append(calls, doContext(ctx, g, func(context.Context) (any, error) { return behind(gate, e.fn)() }))
					}
					synctest.Wait()
					calls = append(calls, goDo(g, "key", never(t)))
					requireWaiting(t, calls...)
					close(gate)
					for _, ended := range calls {
						o := <-ended
						e.do(t, o)
						assert.Equal(t, o.panicked == nil && !o.exited, o.shared)
					}
				}
			})
		})
		t.Run(e.name+"/DoChanContext", func(t *testing.T) {
			if e.doChan == nil {
				return // see TestPanicWithDoChanCrashes
			}
			withAndWithoutOwner(t, "other", func(t *testing.T, g group[string, any]) {
				for _, ctx := range []context.Context{t.Context(), context.Background()} {
					results := g.DoChanContext(ctx, "key", fn)
					assert.Equal(t, 1, cap(results))
					assert.Equal(t, *e.doChan, <-results)
					synctest.Wait()
					select {
					case _, ok := <-results:
						assert.Fail(t, "one more value, or closed", ok)
					default:
					}
				}
			})
		})
	}
}

// Races that the owner decides.

// afterStall blocks the owner of g until open is called. When step returns, the messages
// of that step are in the mailbox, so the owner handles them in the order of the steps.
func afterStall(t *testing.T, g group[string, any]) (step func(func()), open func()) {
	gate := stallOwner(t, g.of("key"))
	return func(do func()) { do(); synctest.Wait() }, func() { close(gate); synctest.Wait() }
}

func TestLeaveBeforeDone(t *testing.T) {
	withContextCalls(t, func(t *testing.T, g group[string, any], call contextCall) {
		j := newJob()
		ctx, cancel := context.WithCancel(t.Context())
		left, stays := call(ctx, g, j.run), call(t.Context(), g, j.run)
		requireWaiting(t, left, stays)
		step, open := afterStall(t, g)
		step(cancel)
		step(func() { j.end <- 1 })
		requireWaiting(t, left, stays)
		open()
		assert.Equal(t, canceled, <-left)
		assert.Equal(t, outcome{val: 1}, <-stays)
	})
}

func TestLeaveAfterDoneGetsTheResult(t *testing.T) {
	withContextCalls(t, func(t *testing.T, g group[string, any], call contextCall) {
		j := newJob()
		ctx, cancel := context.WithCancel(t.Context())
		late, stays := call(ctx, g, j.run), call(t.Context(), g, j.run)
		requireWaiting(t, late, stays)
		fn := j.requireBegun(t)
		step, open := afterStall(t, g)
		step(func() { j.end <- 1 })
		step(cancel)
		requireWaiting(t, late, stays)
		open()
		assert.Equal(t, outcome{val: 1, shared: true}, <-late)
		assert.Equal(t, outcome{val: 1, shared: true}, <-stays)
		assert.NoError(t, fn.Err())
	})
}

// A message that outlived its call would keep the group from being at rest.
func TestCallThatLeavesTooLateReturnsWhenTheOwnerHasAnswered(t *testing.T) {
	withContextCalls(t, func(t *testing.T, g group[string, any], call contextCall) {
		j := newJob()
		ctx, cancel := context.WithCancel(t.Context())
		stays := call(t.Context(), g, j.run) // not behind the other in a row
		synctest.Wait()
		late := call(ctx, g, j.run)
		requireWaiting(t, late, stays)
		step, afterDone := afterStall(t, g)
		step(func() { j.end <- 1 })
		step, afterLeave := afterStall(t, g)
		step(cancel)
		afterDone()
		assert.Equal(t, outcome{val: 1, shared: true}, <-stays)
		requireWaiting(t, late)
		afterLeave()
		assert.Equal(t, outcome{val: 1, shared: true}, <-late)
	})
}

// Between the answer to done and the landing of each waiter, the flight is no
// longer the owner's. Here the test is the leader.
func TestLeaveBetweenDoneAndTheLandingGetsTheResult(t *testing.T) {
	for name, ownerLives := range map[string]bool{"owner alive": true, "at rest": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var g Group
				_, f := g.address.ClaimOrEnter(flight[string, any]{key: "key", turn: newTurn()})
				ctx, cancel := context.WithCancel(t.Context())
				late := doContext(ctx, &g, neverWith(t))
				requireWaiting(t, late)
				var other *activation[string, any]
				if ownerLives {
					other, _ = g.address.Claim()
				}
				g.address.Leave(f).Send(done[string, any]{f})
				<-f.turn
				cancel()
				requireWaiting(t, late)
				f.waiters.result = result[any]{val: 1, shared: true}
				f.waiters.release()
				assert.Equal(t, outcome{val: 1, shared: true}, <-late)
				if ownerLives {
					other.Send(newForget[string, any]("key", false))
				}
				synctest.Wait()
				requireRest(t, &g)
			})
		})
	}
}

// The owner handles a leave in an activation that began after the flight had
// landed. By then the call's fields belong to its caller again.
func TestLeaveInALaterActivation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Group
		assert.Equal(t, outcome{val: 1}, <-doContext(t.Context(), &g, valueWith(1)))
		l := &leaver[string, any]{turn: newTurn(), flight: &flight[string, any]{key: "key"}}
		j := newJob()
		later := doContext(t.Context(), &g, j.run)
		j.requireBegun(t)
		a, _ := g.address.Claim()
		a.Send(leave[string, any]{l})
		<-l.turn
		assert.False(t, l.left)
		requireWaiting(t, later)
		j.end <- 2
		assert.Equal(t, outcome{val: 2}, <-later)
	})
}

// started makes a call in a new goroutine, because a blocked owner blocks
// DoChanContext, too.
func started(call contextCall, ctx context.Context, g group[string, any], fn func(context.Context) (any, error)) <-chan outcome {
	return goCall(func() (any, error, bool) {
		o := <-call(ctx, g, fn)
		return o.val, o.err, o.shared
	})
}

func TestContextEndsBeforeTheOwnerHandlesTheCall(t *testing.T) {
	withContextCalls(t, func(t *testing.T, g group[string, any], call contextCall) {
		gate := make(chan struct{})
		alive := g.of("key").DoChan("keeps the owner alive", behind(gate, value(nil)))

		step, open := afterStall(t, g)
		ctx, cancel := context.WithCancel(t.Context())
		var left <-chan outcome
		step(func() { left = started(call, ctx, g, valueWith(nil)) })
		step(cancel)
		requireWaiting(t, left)
		open()
		assert.Contains(t, []outcome{canceled, {}}, <-left, "the flight may have landed before it leaves")
		for _, f := range g.InFlight() {
			assert.NotEqual(t, "key", f.Key, "it left a flight")
		}

		j := newJob()
		stays := goDo(g, "key", j.plain)
		synctest.Wait()
		step, open = afterStall(t, g)
		ctx, cancel = context.WithCancel(t.Context())
		step(func() { left = started(call, ctx, g, neverWith(t)) })
		step(cancel)
		open()
		assert.Equal(t, canceled, <-left)
		j.end <- 1
		assert.Equal(t, outcome{val: 1}, <-stays)
		close(gate)
		<-alive
	})
}

func TestTwoCallersLeaveAtOnce(t *testing.T) {
	withContextCalls(t, func(t *testing.T, g group[string, any], call contextCall) {
		j := newJob()
		ctx, cancel := context.WithCancel(t.Context())
		first, second := call(ctx, g, j.run), call(ctx, g, j.run)
		fn := j.requireBegun(t)
		step, open := afterStall(t, g)
		step(cancel)
		require.NoError(t, fn.Err())
		open()
		assert.Equal(t, canceled, <-first)
		assert.Equal(t, canceled, <-second)
		requireAbandoned(t, fn)
		j.end <- nil
	})
}

func TestLastCallerLeavesWhileAnotherComes(t *testing.T) {
	withContextCalls(t, func(t *testing.T, g group[string, any], call contextCall) {
		for _, leavesFirst := range []bool{true, false} {
			j := newJob()
			ctx, cancel := context.WithCancel(t.Context())
			left := call(ctx, g, j.run)
			fn := j.requireBegun(t)
			step, open := afterStall(t, g)
			var comes <-chan outcome
			come := func() { comes = started(call, t.Context(), g, valueWith("own")) }
			if leavesFirst {
				step(cancel)
				step(come)
			} else {
				step(come)
				step(cancel)
			}
			open()
			assert.Equal(t, canceled, <-left)
			requireWaiting(t, comes)
			assert.Equal(t, leavesFirst, fn.Err() != nil)
			j.end <- "joined"
			if leavesFirst {
				assert.Equal(t, outcome{val: "own"}, <-comes)
			} else {
				assert.Equal(t, outcome{val: "joined"}, <-comes)
			}
			synctest.Wait()
		}
	})
}

func TestFnDoesNotBeginIfAllHaveLeftBeforeItsGoroutineRuns(t *testing.T) {
	onBoth(t, func(t *testing.T, g group[string, any]) {
		synctest.Test(t, func(t *testing.T) {
			d := &g.of("key").address
			l := newLone(g.of("key").request(t.Context(), nil))
			_, f := d.ClaimOrEnter(flight[string, any]{key: "key", waiters: &l.waiters})
			l.leaver.flight = f
			ended := make(chan struct{})
			close(ended)
			waitOrLeave(d, &l.leaver, ended)
			require.True(t, l.leaver.left)
			host(nil, f, neverWith(t))
			synctest.Wait()
			requireRest(t, g)
		})
	})
}

// Contexts that users have written.

// A written is a context whose Done and Err come from a test.
type written struct {
	context.Context
	done func() <-chan struct{}
	err  func() error
}

func (w written) Done() <-chan struct{} { return w.done() }
func (w written) Err() error            { return w.err() }

// endsAfterFirstCheck returns a context that is not done when a call begins, but is
// done as soon as the call waits.
func endsAfterFirstCheck() context.Context {
	done := make(chan struct{})
	close(done)
	var err error
	return written{context.Background(), func() <-chan struct{} { return done }, func() error {
		before := err
		err = context.Canceled
		return before
	}}
}

func TestContextWhoseDoneChanges(t *testing.T) {
	withContextCalls(t, func(t *testing.T, g group[string, any], call contextCall) {
		ctx, cancel := context.WithCancel(t.Context())
		dones := 0
		changing := written{ctx, func() <-chan struct{} {
			if dones++; dones == 1 {
				return ctx.Done()
			}
			return nil
		}, ctx.Err}
		j := newJob()
		left := call(changing, g, j.run)
		fn := j.requireBegun(t)
		cancel()
		assert.Equal(t, canceled, <-left)
		requireAbandoned(t, fn)
		j.end <- nil
	})
}

// No goroutine but the caller's waits for the methods of its context.
func TestContextWhoseErrBlocks(t *testing.T) {
	withContextCalls(t, func(t *testing.T, g group[string, any], call contextCall) {
		ctx, cancel := context.WithCancel(t.Context())
		gate := make(chan struct{})
		slow := written{ctx, ctx.Done, func() error {
			if ctx.Err() != nil {
				<-gate
			}
			return ctx.Err()
		}}
		j := newJob()
		left := call(slow, g, j.run)
		fn := j.requireBegun(t)
		cancel()
		requireWaiting(t, left)
		requireAbandoned(t, fn)
		v, _, _ := g.of("key").Do("another in its shard", value(1))
		assert.Equal(t, 1, v)
		j.end <- nil
		assert.Equal(t, outcome{val: 2}, <-goDo(g, "key", value(2)))
		close(gate)
		assert.Equal(t, canceled, <-left)
	})
}

func TestCallWhoseKeyDoesNotEqualItselfMayLeave(t *testing.T) {
	withAndWithoutOwner(t, any("other"), func(t *testing.T, g group[any, any]) {
		ctx, cancel := context.WithCancel(t.Context())
		j := newJob()
		left := g.DoChanContext(ctx, math.NaN(), j.run)
		fn := j.requireBegun(t)
		cancel()
		assert.Equal(t, Result{Err: context.Canceled}, <-left)
		requireAbandoned(t, fn)
		j.end <- nil
	})
}

// What calls leave behind.

func TestContextCollectsNothingFromCallsThatHaveReturned(t *testing.T) {
	var g Group
	ctx, cancel := context.WithCancel(context.WithValue(t.Context(), contextKey{}, "value"))
	defer cancel()
	requireSmallGrowth(t, func() {
		if _, err, _ := g.DoContext(ctx, "key", valueWith(nil)); err != nil {
			require.NoError(t, err)
		}
	})
	requireSmallGrowth(t, func() { <-g.DoChanContext(ctx, "key", valueWith(nil)) })
}

func TestStuckFlightDoesNotGrowWhileCallersComeAndGo(t *testing.T) {
	for name, abandoned := range map[string]bool{"in flight": false, "abandoned": true} {
		t.Run(name, func(t *testing.T) {
			var g Group
			stuck := newJob()
			ctx, cancel := context.WithCancel(t.Context())
			first := g.DoChanContext(ctx, "key", stuck.run)
			<-stuck.begun
			if abandoned {
				cancel()
				<-first
			}
			requireSmallGrowth(t, func() {
				_, err, _ := g.DoContext(endsAfterFirstCheck(), "key", neverWith(t))
				if err != context.Canceled { //nolint:errorlint // exactly this error
					require.ErrorIs(t, err, context.Canceled)
				}
			})
			stuck.end <- nil
			assert.NoError(t, g.Wait(t.Context()))
			cancel()
		})
	}
}

// requireSmallGrowth requires that 100,000 calls leave less than a word each in the
// heap.
func requireSmallGrowth(t *testing.T, call func()) {
	t.Helper()
	const calls = 100_000
	call()
	before := heapInUse()
	for range calls {
		call()
	}
	require.Less(t, heapInUse(), before+8*calls)
}

func heapInUse() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
