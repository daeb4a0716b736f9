package singleflight

import (
	"context"
	"runtime/debug"
	"runtime/pprof"
	"testing"
	"testing/synctest"
	"weak"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// This file is about the flights that begin when others end: behind flights that all callers
// have left, and behind flights in progress, for fresh calls.

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

func TestCallsMayLeaveWhileTheyWaitForAFlightToEnd(t *testing.T) {
	withCallsBehind(t, func(t *testing.T, g group[string, any], a ahead, call contextCall) {
		old := a.begin(t, g)
		for range 2 { // all leave, and others come
			ctx, cancel := context.WithCancel(t.Context())
			first, second := call(ctx, g, neverWith(t)), call(ctx, g, neverWith(t))
			requireWaiting(t, first, second)
			assert.ElementsMatch(t, []Flight{
				{Key: "key", Callers: a.callers, State: a.state, Context: inFlight(g)[0].Context},
				{Key: "key", Callers: 2, State: Waiting},
			}, inFlight(g))
			cancel()
			assert.Equal(t, canceled, <-first)
			assert.Equal(t, canceled, <-second)
			require.Len(t, inFlight(g), 1, "a flight that all have left before it began is dropped")
			if fn := inFlight(g)[0].Context; fn != nil {
				assert.Equal(t, a.state == Abandoned, fn.Err() != nil)
			}
		}
		stays := call(t.Context(), g, valueWith(1))
		requireWaiting(t, stays)
		old.end <- nil
		assert.Equal(t, outcome{val: 1}, <-stays)
	})
}

func TestNextFlightDoesNotBeginIfAllItsCallersHaveLeft(t *testing.T) {
	withCallsBehind(t, func(t *testing.T, g group[string, any], a ahead, call contextCall) {
		old := a.begin(t, g)
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
	withCallsBehind(t, func(t *testing.T, g group[string, any], a ahead, call contextCall) {
		for name, stay := range a.kinds {
			old, next := a.begin(t, g), newJob()
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
			flights := inFlight(g)
			if contextKinds[name] == nil {
				assert.Equal(t, []Flight{{Key: "key", Callers: 2, State: Flying}}, flights)
			} else {
				assert.Equal(t, "stays", fn.Value(contextKey{}))
				assert.Equal(t, []Flight{{Key: "key", Callers: 2, State: Flying, Context: fn}}, flights)
			}
			next.end <- 1
			assert.Equal(t, outcome{val: 1, shared: true}, <-stays)
			assert.Equal(t, outcome{val: 1, shared: true}, <-last)
			synctest.Wait()
		}
	})
}

// Calls that wait for a flight to end, or have left meanwhile, keep their fn alive
// no longer than until the next flight begins.
func TestNextFlightKeepsNoFnButItsOwn(t *testing.T) {
	withCallsBehind(t, func(t *testing.T, g group[string, any], a ahead, call contextCall) {
		for _, lead := range both(a.kinds, only("^Do(Fresh)?( |$)")) {
			waiting := func(ctx context.Context) (<-chan outcome, weak.Pointer[blob]) {
				b := new(blob)
				ended := call(ctx, g, func(context.Context) (any, error) { return b, nil })
				synctest.Wait()
				return ended, weak.Make(b)
			}
			for _, firstLeaves := range []bool{true, false} {
				old, next := a.begin(t, g), newJob()
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
			synctest.Wait()
		}
	})
}

func TestNextFlightMayBeLeftAndAbandonedLikeAny(t *testing.T) {
	withCallsBehind(t, func(t *testing.T, g group[string, any], a ahead, call contextCall) {
		old, next := a.begin(t, g), newJob()
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
	for name, a := range aheads {
		t.Run(name, func(t *testing.T) {
			withAndWithoutOwner(t, "other", func(t *testing.T, g group[string, any]) {
				for _, wait := range a.kinds {
					old, next := a.begin(t, g), newJob()
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
					state := Forgotten
					if a.state == Abandoned {
						state = Abandoned
					}
					assert.ElementsMatch(t, []State{state, Flying}, states)
					joined := goDo(g, "key", never(t))
					requireWaiting(t, joined)
					next.end <- 1
					assert.Equal(t, outcome{val: 1, shared: true}, <-waits)
					assert.Equal(t, outcome{val: 1, shared: true}, <-joined)
					assert.Len(t, inFlight(g), 1)
					old.end <- nil
					synctest.Wait()
				}
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

func TestWaitAwaitsNextFlights(t *testing.T) {
	withCallsBehind(t, func(t *testing.T, g group[string, any], a ahead, call contextCall) {
		if len(g.InFlight()) > 0 {
			return // the flight that keeps the owner alive would be awaited, too
		}
		old, next := a.begin(t, g), newJob()
		call(t.Context(), g, next.run)
		synctest.Wait()
		rest := goWait(t.Context(), g)
		for _, j := range []job{old, next} {
			synctest.Wait()
			require.Empty(t, rest)
			j.end <- nil
		}
		assert.NoError(t, <-rest)
	})
}

// The calls that may leave bring their functions in the order in which they come. The
// flight runs that of the first that has not left.
func TestNextFlightRunsTheFnOfTheFirstThatHasNotLeft(t *testing.T) {
	withCallsBehind(t, func(t *testing.T, g group[string, any], a ahead, call contextCall) {
		const calls = 4
		for stay := 1; stay < 1<<calls; stay++ { // a bit for each call
			old := a.begin(t, g)
			var ended [calls]<-chan outcome
			var leave [calls]context.CancelFunc
			for i := range calls {
				var ctx context.Context
				ctx, leave[i] = context.WithCancel(t.Context())
				ended[i] = call(ctx, g, valueWith(i))
				requireWaiting(t, ended[i])
			}
			first := calls
			for i := calls - 1; i >= 0; i-- {
				if stay&(1<<i) != 0 {
					first = i
					continue
				}
				leave[i]()
				requireReturned(t, canceled, ended[i])
			}
			last := call(t.Context(), g, neverWith(t))
			requireWaiting(t, last)
			old.end <- nil
			requireReturned(t, outcome{val: first, shared: true}, last)
			for i := range calls {
				if stay&(1<<i) != 0 {
					requireReturned(t, outcome{val: first, shared: true}, ended[i])
				}
				leave[i]()
			}
		}
	})
}

// Of those that never leave, the first takes the next flight over, and the calls that
// came before it may leave.
func TestFirstCallThatNeverLeavesTakesTheNextFlightOver(t *testing.T) {
	withCallsBehind(t, func(t *testing.T, g group[string, any], a ahead, call contextCall) {
		for _, stay := range both(a.kinds, staying) {
			old, next := a.begin(t, g), newJob()
			ctx, cancel := context.WithCancel(t.Context())
			before := []<-chan outcome{call(ctx, g, neverWith(t)), call(t.Context(), g, neverWith(t))}
			requireWaiting(t, before...)
			takesOver := stay(t.Context(), g, next.run)
			requireWaiting(t, takesOver)
			after := []<-chan outcome{call(ctx, g, neverWith(t))}
			for _, stay := range both(a.kinds, staying) {
				after = append(after, stay(t.Context(), g, neverWith(t)))
			}
			requireWaiting(t, after...)
			cancel()
			requireReturned(t, canceled, before[0])
			requireReturned(t, canceled, after[0])
			old.end <- nil
			fn := next.requireBegun(t)
			assert.Nil(t, fn.Done(), "the flight cannot be abandoned")
			assert.Equal(t, len(before)+len(after)-1, inFlight(g)[0].Callers)
			next.end <- 1
			for _, ended := range append(after[1:], before[1], takesOver) {
				requireReturned(t, outcome{val: 1, shared: true}, ended)
			}
			synctest.Wait()
		}
	})
}

// A next flight that a call has taken over is not dropped when the others have left, and
// is not abandoned.
func TestNextFlightThatACallHasTakenOverIsLeftByAllOthers(t *testing.T) {
	withCallsBehind(t, func(t *testing.T, g group[string, any], a ahead, call contextCall) {
		for _, stay := range both(a.kinds, staying) {
			for _, begun := range []bool{false, true} {
				old, next := a.begin(t, g), newJob()
				ctx, cancel := context.WithCancel(t.Context())
				before := call(ctx, g, neverWith(t))
				requireWaiting(t, before)
				takesOver := stay(t.Context(), g, next.run)
				requireWaiting(t, takesOver)
				after := call(ctx, g, neverWith(t))
				requireWaiting(t, after)
				if begun {
					old.end <- nil
					next.requireBegun(t)
				}
				cancel()
				requireReturned(t, canceled, before)
				requireReturned(t, canceled, after)
				join := call
				if begun {
					join = doContext
				}
				joins := join(t.Context(), g, neverWith(t))
				requireWaiting(t, joins, takesOver)
				if !begun {
					old.end <- nil
					next.requireBegun(t)
				}
				next.end <- 1
				requireReturned(t, outcome{val: 1, shared: true}, takesOver)
				requireReturned(t, outcome{val: 1, shared: true}, joins)
			}
			synctest.Wait()
		}
	})
}

// As in TestDoChanStartsFnsGoroutineInTheCaller.
func TestChannelCallThatNeverLeavesStartsFnsGoroutineInTheCaller(t *testing.T) {
	withAndWithoutOwner(t, "other", func(t *testing.T, g group[string, any]) {
		for _, fresh := range []bool{false, true} {
			for _, behind := range []string{"no flight", "a flight", "an abandoned flight", "an abandoned flight and a call"} {
				var old job
				var joined <-chan outcome
				switch {
				case behind == "a flight" && !fresh:
					continue
				case behind == "a flight":
					old = inProgress(doContext)(t, g)
				case behind != "no flight":
					old = abandon(t, g)
				}
				if behind == "an abandoned flight and a call" {
					joined = doContext(t.Context(), g, neverWith(t))
					requireWaiting(t, joined)
				}
				ctx := context.WithValue(context.Background(), contextKey{}, behind)
				call := g.DoChanContext
				if fresh {
					call = g.DoChanFresh
				}
				results := call(ctx, "key", func(ctx context.Context) (any, error) {
					assert.Equal(t, behind, ctx.Value(contextKey{}))
					assert.Nil(t, ctx.Done())
					for _, f := range inFlight(g) {
						if f.State == Flying {
							assert.Equal(t, ctx, f.Context)
							assert.Equal(t, joined != nil, f.Callers > 1)
						}
					}
					return string(debug.Stack()), nil
				})
				if old.end != nil {
					old.end <- nil
				}
				r := <-results
				assert.Regexp(t, `\ncreated by .*singleflight\..*doChanContext.* in goroutine `+goroutine()+`\n`, r.Val)
				if joined != nil {
					requireReturned(t, outcome{val: r.Val, shared: true}, joined)
				}
				synctest.Wait()
			}
		}
	})
}

// What a stuck flight, and those behind it, take in memory.

func TestChainOfAbandonedFlightsKeepsNoneButTheLast(t *testing.T) {
	withCallsBehind(t, func(t *testing.T, g group[string, any], a ahead, call contextCall) {
		last := a.begin(t, g)
		var captured, inValues weak.Pointer[blob]
		for range 4 {
			before := []weak.Pointer[blob]{captured, inValues}
			b, v, j := new(blob), new(blob), newJob()
			captured, inValues = weak.Make(b), weak.Make(v)
			ctx, cancel := context.WithCancel(context.WithValue(t.Context(), contextKey{}, v))
			left := call(ctx, g, func(ctx context.Context) (any, error) {
				_, err := j.run(ctx)
				return b, err
			})
			requireWaiting(t, left)
			last.end <- nil
			fn := j.requireBegun(t)
			for _, p := range before {
				requireFreed(t, p)
			}
			cancel()
			requireReturned(t, canceled, left)
			requireAbandoned(t, fn)
			last = j
		}
		last.end <- nil
		synctest.Wait()
		requireFreed(t, captured)
		requireFreed(t, inValues)
	})
}

// The profiler labels of fn's goroutine are those of the caller or, if the owner has
// started it, of the caller's context. They are never those of the owner.
func TestFnHasTheProfilerLabelsOfItsCaller(t *testing.T) {
	with := func(ctx context.Context, who string) context.Context {
		return pprof.WithLabels(ctx, pprof.Labels("who", who))
	}
	for name, test := range map[string]struct {
		waits  bool // for a flight to end
		ctx    func(context.Context) context.Context
		labels string
	}{
		"begins at once":            {false, func(ctx context.Context) context.Context { return ctx }, `{"who":"caller"}`},
		"begins at once, labels":    {false, func(ctx context.Context) context.Context { return with(ctx, "ctx") }, `{"who":"caller"}`},
		"has waited":                {true, func(ctx context.Context) context.Context { return ctx }, ""},
		"has waited, labels":        {true, func(ctx context.Context) context.Context { return with(ctx, "ctx") }, `{"who":"ctx"}`},
		"has waited, never leaves":  {true, func(context.Context) context.Context { return with(context.Background(), "ctx") }, `{"who":"caller"}`},
		"in a goroutine of its own": {false, func(context.Context) context.Context { return with(context.Background(), "ctx") }, `{"who":"caller"}`},
	} {
		t.Run(name, func(t *testing.T) {
			withCallsBehind(t, func(t *testing.T, g group[string, any], a ahead, call contextCall) {
				var old job
				pprof.Do(t.Context(), pprof.Labels("who", "starter of the owner"), func(context.Context) {
					if test.waits {
						old = a.begin(t, g) // by a goroutine that inherits the labels
					}
				})
				var got string
				var ended <-chan outcome
				pprof.Do(t.Context(), pprof.Labels("who", "caller"), func(context.Context) {
					ended = call(test.ctx(t.Context()), g, func(context.Context) (any, error) {
						got = labels(t)
						return nil, nil
					})
					synctest.Wait()
				})
				if test.waits {
					requireWaiting(t, ended)
					old.end <- nil
				}
				<-ended
				assert.Equal(t, test.labels, got)
			})
		})
	}
}
