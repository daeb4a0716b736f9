package singleflight

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

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
	withCalls(t, leaving, func(t *testing.T, g group[string, any], call contextCall) {
		done, cancel := context.WithCancel(t.Context())
		cancel()
		assert.Equal(t, canceled, <-call(done, g, neverWith(t)))
		assert.Empty(t, inFlight(g))

		j := newJob()
		lone := goDo(g, "key", j.plain)
		synctest.Wait()
		assert.Equal(t, canceled, <-call(done, g, neverWith(t)))
		assert.Len(t, inFlight(g), 1, "the call does not wait either")
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
		assert.PanicsWithValue(t, nilContext, func() { g.DoFresh(none, "key", neverWith(t)) })
		assert.PanicsWithValue(t, nilContext, func() { g.DoChanFresh(none, "key", neverWith(t)) })
		for _, ctx := range []context.Context{context.Background(), t.Context()} {
			assert.PanicsWithValue(t, nilFunc, func() { g.DoContext(ctx, "key", nil) })
			assert.PanicsWithValue(t, nilFunc, func() { g.DoChanContext(ctx, "key", nil) })
			assert.PanicsWithValue(t, nilFunc, func() { g.DoFresh(ctx, "key", nil) })
			assert.PanicsWithValue(t, nilFunc, func() { g.DoChanFresh(ctx, "key", nil) })
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

func TestCallsOfAllKindsShareFlights(t *testing.T) {
	withAndWithoutOwner(t, "other", func(t *testing.T, g group[string, any]) {
		for _, lead := range kinds {
			j := newJob()
			calls := []<-chan outcome{lead(t.Context(), g, j.run)}
			j.requireBegun(t)
			for _, join := range joining {
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
	for kind, stay := range staying {
		t.Run(kind, func(t *testing.T) {
			withContextCalls(t, func(t *testing.T, g group[string, any], call contextCall) {
				for _, first := range []string{"leads", "joins"} {
					if first == "leads" && fresh[kind] != nil {
						continue // the other does not join
					}
					j := newJob()
					ctx, cancel := context.WithCancel(t.Context())
					var left, stays <-chan outcome
					if first == "joins" {
						stays = stay(t.Context(), g, j.run)
						synctest.Wait()
						left = call(ctx, g, neverWith(t))
					} else {
						left = call(ctx, g, j.run)
						synctest.Wait()
						stays = stay(t.Context(), g, neverWith(t))
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
		for i := range 2*rowSize + 3 {
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

// After Forget two flights of a key are in flight. Each is left, and abandoned, by itself.
func TestCallersLeaveAForgottenFlight(t *testing.T) {
	withContextCalls(t, func(t *testing.T, g group[string, any], call contextCall) {
		for _, forgottenFirst := range []bool{true, false} {
			var jobs [2]job
			var calls [2][2]<-chan outcome
			var leave [2][2]context.CancelFunc
			var fns [2]context.Context
			for i := range jobs { // the forgotten one, and the newer
				jobs[i] = newJob()
				for j := range calls[i] {
					var ctx context.Context
					ctx, leave[i][j] = context.WithCancel(t.Context())
					calls[i][j] = call(ctx, g, jobs[i].run)
				}
				fns[i] = jobs[i].requireBegun(t)
				requireWaiting(t, calls[i][:]...)
				if i == 0 {
					g.Forget("key")
				}
			}
			first, second := 0, 1
			if !forgottenFirst {
				first, second = 1, 0
			}
			for i := range calls[first] {
				require.NoError(t, fns[first].Err())
				leave[first][i]()
				requireReturned(t, canceled, calls[first][i])
			}
			requireAbandoned(t, fns[first])
			require.NoError(t, fns[second].Err())
			requireWaiting(t, calls[second][:]...)
			others := map[bool]State{true: Flying, false: Forgotten}[forgottenFirst]
			assert.ElementsMatch(t, []Flight{
				{Key: "key", State: Abandoned, Context: fns[first]},
				{Key: "key", Callers: 2, State: others, Context: fns[second]},
			}, inFlight(g))

			leave[second][1]()
			requireReturned(t, canceled, calls[second][1])
			jobs[second].end <- 1
			requireReturned(t, outcome{val: 1}, calls[second][0])
			require.NoError(t, fns[second].Err())
			if !forgottenFirst {
				next := call(t.Context(), g, valueWith("next"))
				requireWaiting(t, next)
				jobs[first].end <- nil
				requireReturned(t, outcome{val: "next"}, next)
			} else {
				requireReturned(t, outcome{val: "next"}, call(t.Context(), g, valueWith("next")))
				jobs[first].end <- nil
			}
			synctest.Wait()
			leave[second][0]()
		}
	})
}

// fn may print its context, whose party belongs to the owner. The race detector sees it,
// too.
func TestFnPrintsItsContextWhileCallsComeAndGo(t *testing.T) {
	for name, lead := range contextKinds {
		t.Run(name, func(t *testing.T) {
			withAndWithoutOwner(t, "other", func(t *testing.T, g group[string, any]) {
				text := func(ctx context.Context) string { return fmt.Sprintf("%v %+v", ctx, ctx) }
				begun, stop := make(chan struct{}), make(chan struct{})
				ended := lead(t.Context(), g, func(ctx context.Context) (any, error) {
					before := text(ctx)
					close(begun)
					for {
						assert.Equal(t, before, text(ctx))
						select {
						case <-stop:
							return nil, nil
						default:
							runtime.Gosched()
						}
					}
				})
				<-begun
				for range 10 {
					g.DoContext(endsAfterFirstCheck(), "key", neverWith(t))
					g.DoChan("key", never(t))
				}
				close(stop)
				<-ended
			})
		})
	}
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

func TestLeaveBeforeLand(t *testing.T) {
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

func TestLeaveAfterLandGetsTheResult(t *testing.T) {
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
		step, afterLand := afterStall(t, g)
		step(func() { j.end <- 1 })
		step, afterLeave := afterStall(t, g)
		step(cancel)
		afterLand()
		assert.Equal(t, outcome{val: 1, shared: true}, <-stays)
		requireWaiting(t, late)
		afterLeave()
		assert.Equal(t, outcome{val: 1, shared: true}, <-late)
	})
}

// Between the answer to land and the waking of the callers, the party is no longer the
// owner's. Here the test is the leader.
func TestLeaveBeforeTheCallersAreWokenGetsTheResult(t *testing.T) {
	for name, ownerLives := range map[string]bool{"owner alive": true, "at rest": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var g Group
				_, f := g.address.ClaimOrEnter(flight[string, any]{key: "key"})
				ctx, cancel := context.WithCancel(t.Context())
				late := doContext(ctx, &g, neverWith(t))
				requireWaiting(t, late)
				var other *activation[string, any]
				if ownerLives {
					other, _ = g.address.Claim()
				}
				f.answers = newAnswers()
				g.address.Exit(f).Send(land[string, any]{f})
				<-f.answers
				cancel()
				requireWaiting(t, late)
				f.party.wake(&result[any]{val: 1, shared: true})
				assert.Equal(t, outcome{val: 1, shared: true}, <-late)
				if ownerLives {
					other.Send(&forget[string, any]{"key", false, make(chan bool, 1)})
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
		l := &leaver[string, any]{answers: newAnswers(), party: newParty[string, any]("key", true)}
		j := newJob()
		later := doContext(t.Context(), &g, j.run)
		j.requireBegun(t)
		a, _ := g.address.Claim()
		a.Send(leave[string, any]{l})
		<-l.answers
		assert.False(t, l.left)
		requireWaiting(t, later)
		j.end <- 2
		assert.Equal(t, outcome{val: 2}, <-later)
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
			r := g.of("key").request(t.Context(), neverWith(t), false)
			l := newLone("key", &r)
			_, f := d.ClaimOrEnter(flight[string, any]{key: "key", party: l.party})
			ended := make(chan struct{})
			close(ended)
			waitOrLeave(d, l, ended)
			require.True(t, l.left)
			leader[string, any]{f, d, nil, true}.host(false, neverWith(t))
			synctest.Wait()
			requireRest(t, g)
		})
	})
}

// Contexts that users have written.

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

// It may be done without an error, or have a cause besides.
func TestCallThatLeavesReturnsTheErrOfItsContext(t *testing.T) {
	withContextCalls(t, func(t *testing.T, g group[string, any], call contextCall) {
		j := newJob()
		flight := goDo(g, "key", j.plain)
		j.requireBegun(t)
		for name, test := range contextsThatEnd {
			ctx, end := test.begin(t)
			left := call(ctx, g, neverWith(t))
			requireWaiting(t, left)
			end()
			assert.Equal(t, outcome{err: test.err}, <-left, name)
			assert.Equal(t, outcome{err: test.err}, <-call(ctx, g, neverWith(t)), name)
		}
		requireWaiting(t, flight)
		j.end <- 1
		assert.Equal(t, outcome{val: 1}, <-flight)
	})
}

// The panic is the caller's, and the call leaves nothing behind.
func TestContextThatPanics(t *testing.T) {
	withAndWithoutOwner(t, "other", func(t *testing.T, g group[string, any]) {
		requirePanics := func() {
			for _, method := range []string{"Value", "Done", "Err"} {
				ctx := panicking(t.Context(), method)
				assert.PanicsWithValue(t, method, func() { g.DoContext(ctx, "key", neverWith(t)) })
				assert.PanicsWithValue(t, method, func() { g.DoChanContext(ctx, "key", neverWith(t)) })
			}
		}
		requirePanics()
		assert.Empty(t, inFlight(g))
		j := newJob()
		flight := doContext(t.Context(), g, j.run)
		j.requireBegun(t)
		requirePanics()
		assert.Equal(t, 1, inFlight(g)[0].Callers)
		j.end <- 1
		assert.Equal(t, outcome{val: 1}, <-flight)
	})
}

// The call has left, although it returns in an unusual way.
func TestContextThatPanicsWhenItsCallHasLeft(t *testing.T) {
	withAndWithoutOwner(t, "other", func(t *testing.T, g group[string, any]) {
		ctx, cancel := context.WithCancel(t.Context())
		errs := written{ctx, ctx.Done, func() error {
			if ctx.Err() != nil {
				panic("Err")
			}
			return nil
		}}
		j := newJob()
		first, second := doContext(errs, g, j.run), doContext(errs, g, j.run)
		fn := j.requireBegun(t)
		cancel()
		assert.Equal(t, outcome{panicked: "Err"}, <-first)
		assert.Equal(t, outcome{panicked: "Err"}, <-second)
		requireAbandoned(t, fn)
		j.end <- nil
	})
}

// The methods of a context are called where a panic has somewhere to go. One of the host
// is the flight's, as one of fn is.
func TestContextThatPanicsWhenItsFlightBegins(t *testing.T) {
	withAndWithoutOwner(t, "other", func(t *testing.T, g group[string, any]) {
		old := abandon(t, g)
		method := "none yet"
		first := doContext(panics{t.Context(), &method}, g, neverWith(t))
		requireWaiting(t, first)
		second := doContext(t.Context(), g, neverWith(t))
		requireWaiting(t, second)
		method = "Value"
		old.end <- nil
		for _, ended := range []<-chan outcome{first, second} {
			o := <-ended
			require.IsType(t, &PanicError{}, o.panicked)
			assert.Equal(t, "Value", o.panicked.(*PanicError).Value)
		}
	})
}

// Keys that do not equal themselves.

func TestCallWhoseKeyDoesNotEqualItselfMayLeave(t *testing.T) {
	withAndWithoutOwner(t, any("other"), func(t *testing.T, g group[any, any]) {
		calls := map[string]contextCall{
			"DoContext": func(ctx context.Context, _ group[string, any], fn func(context.Context) (any, error)) <-chan outcome {
				return goCall(func() (any, error, bool) { return g.DoContext(ctx, math.NaN(), fn) })
			},
			"DoChanContext": func(ctx context.Context, _ group[string, any], fn func(context.Context) (any, error)) <-chan outcome {
				return received(g.DoChanContext(ctx, math.NaN(), fn))
			},
			"DoFresh": func(ctx context.Context, _ group[string, any], fn func(context.Context) (any, error)) <-chan outcome {
				return goCall(func() (any, error, bool) { return g.DoFresh(ctx, math.NaN(), fn) })
			},
			"DoChanFresh": func(ctx context.Context, _ group[string, any], fn func(context.Context) (any, error)) <-chan outcome {
				return received(g.DoChanFresh(ctx, math.NaN(), fn))
			},
		}
		for name, call := range calls {
			ctx, cancel := context.WithCancel(t.Context())
			leaves, stays, never := newJob(), newJob(), newJob()
			left := call(ctx, nil, leaves.run)
			lone := call(t.Context(), nil, stays.run)
			neverLeaves := call(context.Background(), nil, never.run)
			fn := leaves.requireBegun(t)
			cancel()
			assert.Equal(t, canceled, <-left, name)
			requireAbandoned(t, fn)
			assert.NoError(t, stays.requireBegun(t).Err())
			fn = never.requireBegun(t)
			assert.Nil(t, fn.Done())
			requireReturned(t, outcome{val: "nested"}, call(fn, nil, valueWith("nested")))
			leaves.end <- nil
			stays.end <- "stays"
			never.end <- "never leaves"
			assert.Equal(t, outcome{val: "stays"}, <-lone, name)
			assert.Equal(t, outcome{val: "never leaves"}, <-neverLeaves, name)
		}
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
	for name, test := range map[string]struct {
		abandoned, stays bool
		call             func(*Group, context.Context, string, func(context.Context) (any, error)) (any, error, bool)
	}{
		"in flight":                                 {false, false, (*Group).DoContext},
		"in flight, another stays":                  {false, true, (*Group).DoContext},
		"in flight, calls are fresh":                {false, false, (*Group).DoFresh},
		"abandoned":                                 {true, false, (*Group).DoContext},
		"abandoned, another stays behind":           {true, true, (*Group).DoContext},
		"abandoned, another stays, calls are fresh": {true, true, (*Group).DoFresh},
	} {
		t.Run(name, func(t *testing.T) {
			var g Group
			stuck := newJob()
			ctx, cancel := context.WithCancel(t.Context())
			first := g.DoChanContext(ctx, "key", stuck.run)
			<-stuck.begun
			if test.abandoned {
				cancel()
				<-first
			}
			if test.stays {
				g.DoChanContext(t.Context(), "key", valueWith(nil))
			}
			requireSmallGrowth(t, func() {
				_, err, _ := test.call(&g, endsAfterFirstCheck(), "key", neverWith(t))
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

// requireSmallGrowth requires that 50,000 calls leave less than a word each in the
// heap.
func requireSmallGrowth(t *testing.T, call func()) {
	t.Helper()
	const calls = 50_000
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
