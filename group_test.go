package singleflight

import (
	"context"
	"math"
	"os/exec"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestDoEndsAsFnEnds(t *testing.T) {
	for _, e := range endings {
		t.Run(e.name, func(t *testing.T) {
			withAndWithoutOwner(t, "other", func(t *testing.T, g group[string, any]) {
				o := <-goDo(g, "key", e.fn)
				e.do(t, o)
				assert.False(t, o.shared)
				assert.Equal(t, outcome{val: "next"}, <-goDo(g, "key", value("next")), "the key is free")
			})
		})
	}
}

func TestEveryDoEndsAsFnEnds(t *testing.T) {
	for _, e := range endings {
		t.Run(e.name, func(t *testing.T) {
			withAndWithoutOwner(t, "other", func(t *testing.T, g group[string, any]) {
				gate := make(chan struct{})
				calls := []<-chan outcome{goDo(g, "key", behind(gate, e.fn))}
				synctest.Wait()
				for range rowSize + 2 { // more than the leader wakes by itself
					calls = append(calls, goDo(g, "key", never(t)))
				}
				synctest.Wait()
				for _, call := range calls {
					require.Empty(t, call, "Do waits for fn")
				}
				close(gate)
				var panics []any
				for _, call := range calls {
					o := <-call
					e.do(t, o)
					if o.panicked != nil {
						panics = append(panics, o.panicked)
						assert.Same(t, panics[0], o.panicked)
					} else {
						assert.Equal(t, !o.exited, o.shared)
					}
				}
				assert.Equal(t, outcome{val: "next"}, <-goDo(g, "key", value("next")), "the key is free")
			})
		})
	}
}

func TestDoChanReceivesHowFnEnds(t *testing.T) {
	for _, e := range endings {
		if e.doChan == nil {
			continue // see TestPanicWithDoChanCrashes
		}
		t.Run(e.name, func(t *testing.T) {
			withAndWithoutOwner(t, "other", func(t *testing.T, g group[string, any]) {
				assert.Equal(t, *e.doChan, <-g.DoChan("key", e.fn))
				assert.Equal(t, Result{Val: "next"}, <-g.DoChan("key", value("next")), "the key is free")
			})
		})
	}
}

func TestEveryDoChanReceivesHowFnEnds(t *testing.T) {
	for _, e := range endings {
		if e.doChan == nil {
			continue // see TestPanicWithDoChanCrashes
		}
		t.Run(e.name, func(t *testing.T) {
			for _, leader := range []string{"Do", "DoChan"} {
				t.Run("leader "+leader, func(t *testing.T) {
					withAndWithoutOwner(t, "other", func(t *testing.T, g group[string, any]) {
						gate := make(chan struct{})
						var do <-chan outcome
						var doChans []<-chan Result
						if leader == "Do" {
							do = goDo(g, "key", behind(gate, e.fn))
							synctest.Wait()
						} else {
							doChans = append(doChans, g.DoChan("key", behind(gate, e.fn)))
							do = goDo(g, "key", never(t))
						}
						for range 3 {
							doChans = append(doChans, g.DoChan("key", never(t)))
						}
						synctest.Wait()
						for _, results := range doChans {
							require.Empty(t, results)
						}
						close(gate)
						e.do(t, <-do)
						want := *e.doChan
						want.Shared = true
						for _, results := range doChans {
							assert.Equal(t, want, <-results)
						}
						assert.Equal(t, outcome{val: "next"}, <-goDo(g, "key", value("next")), "the key is free")
					})
				})
			}
		})
	}
}

func TestPanicNilIsAPanicUnderOldRulesToo(t *testing.T) {
	t.Setenv("GODEBUG", "panicnil=1")
	onBoth(t, func(t *testing.T, g group[string, any]) {
		defer func() {
			require.IsType(t, &PanicError{}, recover())
			requireRest(t, g)
		}()
		g.Do("key", func() (any, error) { panic(nil) })
		assert.Fail(t, "Do returned")
	})
}

func TestPanicWithDoChanCrashes(t *testing.T) {
	for _, test := range []struct {
		name  string
		crash func(t *testing.T, g group[string, any], gate chan struct{}, fn func() (any, error))
	}{
		{"leader DoChan", func(_ *testing.T, g group[string, any], gate chan struct{}, fn func() (any, error)) {
			results := g.DoChan("key", behind(gate, fn))
			close(gate)
			<-results
		}},
		{"leader DoChan, waiter Do", func(_ *testing.T, g group[string, any], gate chan struct{}, fn func() (any, error)) {
			g.DoChan("key", behind(gate, fn))
			waiter := goDo(g, "key", fn)
			synctest.Wait()
			close(gate)
			<-waiter
			select {}
		}},
		{"leader Do, waiters Do and DoChan", func(_ *testing.T, g group[string, any], gate chan struct{}, fn func() (any, error)) {
			goDo(g, "key", behind(gate, fn))
			synctest.Wait()
			waiter := goDo(g, "key", fn)
			synctest.Wait()
			results := g.DoChan("key", fn)
			close(gate)
			<-waiter
			<-results
		}},
		{"waiter DoChanContext", func(_ *testing.T, g group[string, any], _ chan struct{}, fn func() (any, error)) {
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			<-g.DoChanContext(ctx, "key", func(context.Context) (any, error) { return fn() })
		}},
		{"waiter DoChanContext, whose context ends too late", func(t *testing.T, g group[string, any], gate chan struct{}, fn func() (any, error)) {
			ctx, cancel := context.WithCancel(context.Background())
			results := g.DoChanContext(ctx, "key", func(context.Context) (any, error) { return behind(gate, fn)() })
			step, open := afterStall(t, g)
			step(func() { close(gate) })
			step(cancel)
			open()
			<-results
		}},
		{"leader DoChanContext", func(_ *testing.T, g group[string, any], _ chan struct{}, fn func() (any, error)) {
			<-g.DoChanContext(context.Background(), "key", func(context.Context) (any, error) { return fn() })
		}},
		{"leader DoChanFresh, behind a flight", func(_ *testing.T, g group[string, any], gate chan struct{}, fn func() (any, error)) {
			g.DoChan("key", behind(gate, value(nil)))
			results := g.DoChanFresh(context.Background(), "key", func(context.Context) (any, error) { return fn() })
			close(gate)
			<-results
		}},
		{"abandoned", func(_ *testing.T, g group[string, any], gate chan struct{}, fn func() (any, error)) {
			ctx, cancel := context.WithCancel(context.Background())
			left := doContext(ctx, g, func(context.Context) (any, error) { return behind(gate, fn)() })
			synctest.Wait()
			cancel()
			<-left
			close(gate)
			select {}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			onBoth(t, func(t *testing.T, g group[string, any]) {
				crash := func(t *testing.T, fn func() (any, error)) (output string, status int) {
					return inAnotherProcess(t, func() {
						defer func() { recover() }()
						synctest.Test(t, func(t *testing.T) { test.crash(t, g, make(chan struct{}), fn) })
					})
				}
				t.Run("and says why", func(t *testing.T) {
					output, status := crash(t, panicInFn)
					assert.Equal(t, 2, status)
					assert.Regexp(t, "(?m)^panic: "+errFn.Error()+"$", output)
					assert.Contains(t, output, "singleflight.panicInFn(", "the stack of the panic")
					if !strings.HasPrefix(test.name, "waiter DoChanContext") { // which panics in its own goroutine
						assert.Regexp(t, `goroutine \d+ \[.*\]:\n.*\.leader\[.*\]\.land\(`, output, "the goroutine that ran fn")
					}
				})
				t.Run("and is counted in coverage", func(t *testing.T) {
					output, status := crash(t, func() (any, error) { panic(lastWords{}) })
					assert.Equal(t, lastStatus, status, output)
				})
			})
		})
	}
}

func TestDoRunsFnOnTheCallersGoroutine(t *testing.T) {
	withAndWithoutOwner(t, "other", func(t *testing.T, g group[string, any]) {
		v, _, _ := g.Do("key", func() (any, error) { return goroutine(), nil })
		assert.Equal(t, goroutine(), v)
	})
}

func TestDoChanRunsFnOnANewGoroutineAndDoesNotWait(t *testing.T) {
	withAndWithoutOwner(t, "other", func(t *testing.T, g group[string, any]) {
		gate := make(chan struct{})
		results := g.DoChan("key", behind(gate, func() (any, error) { return goroutine(), nil }))
		close(gate) // if DoChan waited for fn, the test would not get here
		assert.NotEqual(t, goroutine(), (<-results).Val)
	})
}

// As in x/sync, the caller creates fn's goroutine, which inherits its profiler labels.
func TestDoChanStartsFnsGoroutineInTheCaller(t *testing.T) {
	withAndWithoutOwner(t, "other", func(t *testing.T, g group[string, any]) {
		gate := make(chan struct{})
		var landed []<-chan Result
		for _, who := range []string{"A", "B", "C", "D"} {
			called := make(chan struct{})
			go pprof.Do(t.Context(), pprof.Labels("who", who), func(context.Context) {
				caller := goroutine()
				landed = append(landed, g.DoChan(who, func() (any, error) {
					stack := string(debug.Stack())
					<-gate
					return [2]string{caller, stack}, nil
				}))
				close(called)
			})
			<-called
		}
		synctest.Wait()
		var profile strings.Builder
		require.NoError(t, pprof.Lookup("goroutine").WriteTo(&profile, 1))
		for i := range landed {
			assert.Contains(t, profile.String(), `labels: {"who":"`+string(rune('A'+i))+`"}`)
		}
		close(gate)
		for _, results := range landed {
			r := (<-results).Val.([2]string)
			assert.Regexp(t, `\ncreated by .*singleflight\..*DoChan.* in goroutine `+r[0]+`\n`, r[1])
		}
	})
}

func TestNoWaiterIsReleasedBeforeTheKeyIsFree(t *testing.T) {
	withAndWithoutOwner(t, "other", func(t *testing.T, g group[string, any]) {
		gate := make(chan struct{})
		leader := goDo(g, "key", behind(gate, value(1)))
		synctest.Wait()
		do := goDo(g, "key", never(t))
		doChan := g.DoChan("key", never(t))
		synctest.Wait()

		stalled := stallOwner(t, g.of("key")) // so the key is not freed
		close(gate)
		synctest.Wait()
		assert.Empty(t, leader)
		assert.Empty(t, do)
		assert.Empty(t, doChan)

		close(stalled)
		assert.Equal(t, outcome{val: 1, shared: true}, <-leader)
		assert.Equal(t, outcome{val: 1, shared: true}, <-do)
		assert.Equal(t, Result{Val: 1, Shared: true}, <-doChan)
	})
}

func TestKeyIsFreeBeforeAnyCallIsReleased(t *testing.T) {
	const callers, calls = 16, 2_000
	for name, call := range map[string]func(group[string, int], func() (int, error)) int{
		"Do": func(g group[string, int], fn func() (int, error)) int {
			v, _, _ := g.Do("key", fn)
			return v
		},
		"DoChan": func(g group[string, int], fn func() (int, error)) int {
			return (<-g.DoChan("key", fn)).Val
		},
	} {
		t.Run(name, func(t *testing.T) {
			onBoth(t, func(t *testing.T, g group[string, int]) {
				n := 0 // protected only by the rule of one flight at a time
				fn := func() (int, error) { n++; return n, nil }
				var wg sync.WaitGroup
				for range callers {
					wg.Go(func() {
						for last := range calls {
							v := call(g, fn)
							if !assert.Greater(t, v, last, "an old flight was joined") {
								return
							}
						}
					})
				}
				wg.Wait()
				requireRest(t, g)
			})
		})
	}
}

func TestLandingOfAForgottenFlightDoesNotFreeItsKeyAgain(t *testing.T) {
	withAndWithoutOwner(t, "other", func(t *testing.T, g group[string, any]) {
		first, second := make(chan struct{}), make(chan struct{})
		one := g.DoChan("key", behind(first, value(1)))
		g.Forget("key")
		two := g.DoChan("key", behind(second, value(2)))
		close(first)
		assert.Equal(t, Result{Val: 1}, <-one)
		joined := goDo(g, "key", never(t))
		synctest.Wait()
		close(second)
		assert.Equal(t, Result{Val: 2, Shared: true}, <-two)
		assert.Equal(t, outcome{val: 2, shared: true}, <-joined)
	})
}

func TestForgottenFlightGoesOnForItsCallers(t *testing.T) {
	withAndWithoutOwner(t, "other", func(t *testing.T, g group[string, any]) {
		gate := make(chan struct{})
		leader := g.DoChan("key", behind(gate, value(1)))
		joined := goDo(g, "key", never(t))
		synctest.Wait()
		g.Forget("key")
		v, _, shared := g.Do("key", value(2))
		assert.Equal(t, 2, v)
		assert.False(t, shared)
		close(gate)
		assert.Equal(t, Result{Val: 1, Shared: true}, <-leader)
		assert.Equal(t, outcome{val: 1, shared: true}, <-joined)
	})
}

func TestForgetSparesOtherKeys(t *testing.T) {
	withAndWithoutOwner(t, "other", func(t *testing.T, g group[string, any]) {
		gate := make(chan struct{})
		forgotten := g.DoChan("key", behind(gate, value(1)))
		another := g.DoChan("another", behind(gate, value(2)))
		g.Forget("key")
		joined := goDo(g, "another", never(t))
		synctest.Wait()
		g.ForgetUnshared("key")
		joinedLater := goDo(g, "another", never(t))
		synctest.Wait()
		close(gate)
		assert.Equal(t, Result{Val: 1}, <-forgotten)
		assert.Equal(t, Result{Val: 2, Shared: true}, <-another)
		assert.Equal(t, outcome{val: 2, shared: true}, <-joined)
		assert.Equal(t, outcome{val: 2, shared: true}, <-joinedLater)
	})
}

func TestForgetUnshared(t *testing.T) {
	for _, test := range []struct {
		name  string
		join  func(*testing.T, group[string, any], <-chan struct{})
		free  bool
		after any // what a Do gets afterwards: the flight's value, or its own
	}{
		{"no call joined", func(*testing.T, group[string, any], <-chan struct{}) {}, true, "own"},
		{"a Do joined", func(t *testing.T, g group[string, any], _ <-chan struct{}) {
			goDo(g, "key", never(t))
		}, false, "flight's"},
		{"a DoChan joined", func(t *testing.T, g group[string, any], _ <-chan struct{}) {
			g.DoChan("key", never(t))
		}, false, "flight's"},
		{"joined, then forgotten", func(t *testing.T, g group[string, any], _ <-chan struct{}) {
			g.DoChan("key", never(t))
			g.Forget("key")
		}, true, "own"},
		{"another key joined", func(t *testing.T, g group[string, any], gate <-chan struct{}) {
			g.DoChan("another", behind(gate, value(1)))
			g.DoChan("another", never(t))
		}, true, "own"},
	} {
		for _, leader := range []string{"Do", "DoChan"} {
			t.Run(test.name+", leader "+leader, func(t *testing.T) {
				withAndWithoutOwner(t, "other", func(t *testing.T, g group[string, any]) {
					gate := make(chan struct{})
					if leader == "Do" {
						goDo(g, "key", behind(gate, value("flight's")))
					} else {
						g.DoChan("key", behind(gate, value("flight's")))
					}
					synctest.Wait()
					test.join(t, g, gate)
					synctest.Wait()
					assert.Equal(t, test.free, g.ForgetUnshared("key"))
					after := goDo(g, "key", value("own"))
					synctest.Wait()
					close(gate)
					assert.Equal(t, test.after, (<-after).val)
					assert.True(t, g.ForgetUnshared("key"), "not in flight")
				})
			})
		}
	}
}

func TestForgetOnARestingGroupStartsNothing(t *testing.T) {
	onBoth(t, func(t *testing.T, g group[string, any]) {
		assert.Zero(t, testing.AllocsPerRun(100, func() {
			g.Forget("key")
			g.ForgetUnshared("key")
		}))
		assert.True(t, g.ForgetUnshared("key"))
		requireRest(t, g)
	})
}

func TestSharedIsFalseForACallThatNoOtherJoins(t *testing.T) {
	withAndWithoutOwner(t, "other", func(t *testing.T, g group[string, any]) {
		// Neither earlier calls nor a forgotten flight count.
		gate := make(chan struct{})
		forgotten := g.DoChan("key", behind(gate, value(0)))
		g.Forget("key")
		_, _, shared := g.Do("key", value(1))
		assert.False(t, shared)
		assert.False(t, (<-g.DoChan("key", value(2))).Shared)
		close(gate)
		assert.False(t, (<-forgotten).Shared)
	})
}

func TestSharedCountsACallThatJoinsAtTheLastMoment(t *testing.T) {
	withAndWithoutOwner(t, "other", func(t *testing.T, g group[string, any]) {
		gate := make(chan struct{})
		leader := goDo(g, "key", behind(gate, value(1)))
		synctest.Wait()
		stalled := stallOwner(t, g.of("key"))
		joined := goDo(g, "key", never(t))
		synctest.Wait() // the call is in the mailbox
		close(gate)
		synctest.Wait() // fn has ended, and land is behind it in the mailbox
		close(stalled)
		assert.Equal(t, outcome{val: 1, shared: true}, <-leader)
		assert.Equal(t, outcome{val: 1, shared: true}, <-joined)
	})
}

func TestSharedIsExact(t *testing.T) {
	const callers, calls = 16, 1_000
	type call struct {
		flight int
		shared bool
	}
	onBoth(t, func(t *testing.T, g group[string, int]) {
		n := 0 // one flight at a time
		fn := func() (int, error) { n++; return n, nil }
		made := make([][]call, callers)
		var wg sync.WaitGroup
		for i := range made {
			wg.Go(func() {
				for range calls {
					if i%2 == 0 {
						v, _, shared := g.Do("key", fn)
						made[i] = append(made[i], call{v, shared})
					} else {
						r := <-g.DoChan("key", fn)
						made[i] = append(made[i], call{r.Val, r.Shared})
					}
				}
			})
		}
		wg.Wait()
		requireRest(t, g)
		sharers := make([]int, n+1)
		for _, calls := range made {
			for _, c := range calls {
				sharers[c.flight]++
			}
		}
		for _, calls := range made {
			for _, c := range calls {
				require.Equal(t, sharers[c.flight] > 1, c.shared)
			}
		}
	})
}

func TestResultChannelGetsOneValueAndIsNeverClosed(t *testing.T) {
	withAndWithoutOwner(t, "other", func(t *testing.T, g group[string, any]) {
		gate := make(chan struct{})
		leader := g.DoChan("key", behind(gate, value(1)))
		joined := g.DoChan("key", never(t))
		close(gate)
		for _, results := range []<-chan Result{leader, joined} {
			assert.Equal(t, 1, cap(results))
			<-results
			synctest.Wait()
			assert.False(t, receives(results)(), "a second receive")
		}
	})
}

// joinInAdvance begins the flight of a DoChan, which the calls join.
func joinInAdvance(g *Group, results chan Result, calls ...*call[string, any]) leader[string, any] {
	_, f := g.address.ClaimOrEnter(flight[string, any]{key: "key", results: results})
	for _, c := range calls {
		a, _ := g.address.Claim()
		ask(a, c, c.answers)
	}
	return leader[string, any]{f, &g.address, nil, true}
}

// Unbuffered channels block the sender, so the test sees whose turn it is.
func TestResultsGoOutInTheOrderOfJoining(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Group
		first := make(chan Result)
		released := []func() bool{receives(first)}
		var calls []*call[string, any]
		for range 3 {
			results := make(chan Result)
			calls = append(calls, newCall("key", results))
			released = append(released, receives(results))
		}
		go joinInAdvance(&g, first, calls...).lead(value(1), new(result[any]))
		for i, next := range released {
			synctest.Wait()
			for _, later := range released[i+1:] {
				require.False(t, later())
			}
			require.True(t, next())
		}
	})
}

// A row must not be larger than rowSize, or one processor wakes too many callers.
func TestCallersWaitInRows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Group
		var calls []*call[string, any]
		for range 2*rowSize + 1 {
			calls = append(calls, newCall("key", nil))
		}
		l := joinInAdvance(&g, nil, calls...)
		for i, c := range calls {
			require.Same(t, calls[i/rowSize*rowSize].row, c.row)
			require.Equal(t, i%rowSize == 0, i == 0 || calls[i-1].row != c.row)
		}
		l.lead(value(1), new(result[any]))
		for _, c := range calls {
			<-c.row.landed
			require.Equal(t, result[any]{val: 1, shared: true}, c.row.result)
		}
	})
}

func TestDistinctKeysDoNotWaitForEachOther(t *testing.T) {
	withAndWithoutOwner(t, "other", func(t *testing.T, g group[string, any]) {
		gate := make(chan struct{})
		var blocked []<-chan Result
		for i := range 500 {
			key := strconv.Itoa(i)
			blocked = append(blocked,
				g.DoChan(key, behind(gate, value(key))),
				g.DoChan(key, never(t)))
		}
		v, _, _ := g.Do("key", value("not blocked"))
		assert.Equal(t, "not blocked", v)
		close(gate)
		for i, results := range blocked {
			assert.Equal(t, Result{Val: strconv.Itoa(i / 2), Shared: true}, <-results)
		}
	})
}

func TestFnMayUseTheGroup(t *testing.T) {
	withAndWithoutOwner(t, "other", func(t *testing.T, g group[string, any]) {
		v, _, _ := g.Do("outer", func() (any, error) {
			inner, _, _ := g.Do("inner", value("inner"))
			chanInner := <-g.DoChan("inner", value("DoChan"))
			g.Forget("outer") // frees its own key
			second, _, _ := g.Do("outer", value("second"))
			return []any{inner, chanInner.Val, second}, nil
		})
		assert.Equal(t, []any{"inner", "DoChan", "second"}, v)
	})
}

func TestTypedKeysAndValues(t *testing.T) {
	type key struct{ table, id int }
	withAndWithoutOwner(t, key{0, 0}, func(t *testing.T, g group[key, []string]) {
		v, err, shared := g.Do(key{1, 2}, func() ([]string, error) { return []string{"row"}, nil })
		assert.Equal(t, []string{"row"}, v)
		assert.NoError(t, err)
		assert.False(t, shared)
		assert.Equal(t, ResultOf[[]string]{Err: errFn},
			<-g.DoChan(key{1, 2}, func() ([]string, error) { return nil, errFn }))
	})
}

// An element of a channel has at most 64 KiB, and DoChan's are ResultOfs. GroupOf's
// doc gives the limit.
func TestLargestValue(t *testing.T) {
	type large = [65_504]byte
	withAndWithoutOwner(t, "other", func(t *testing.T, g group[string, large]) {
		fn := func() (v large, err error) {
			v[len(v)-1] = 1
			return v, nil
		}
		v, _, _ := g.Do("key", fn)
		assert.EqualValues(t, 1, v[len(v)-1])
		r := <-g.DoChan("key", fn)
		assert.EqualValues(t, 1, r.Val[len(v)-1])
	})
	t.Run("larger", func(t *testing.T) {
		output, err := exec.Command("go", "build", "./testdata/large").CombinedOutput()
		require.Error(t, err)
		assert.Contains(t, string(output), "channel element type too large")
	})
}

func TestNilFnPanicsInTheCallerAndLeavesTheKeyFree(t *testing.T) {
	withAndWithoutOwner(t, "other", func(t *testing.T, g group[string, any]) {
		assert.PanicsWithValue(t, nilFunc, func() { g.Do("key", nil) })
		assert.PanicsWithValue(t, nilFunc, func() { g.DoChan("key", nil) })
		assert.Equal(t, outcome{val: 1}, <-goDo(g, "key", value(1)))
	})
}

func TestUnhashableKeyPanicsInTheCaller(t *testing.T) {
	withAndWithoutOwner(t, any("other"), func(t *testing.T, g group[any, int]) {
		fn := func() (int, error) { return 1, nil }
		for _, key := range []any{
			[]int{1},
			map[string]int{},
			func() {},
			[2]any{1, []int{}},
			struct{ f, v any }{math.NaN(), []int{}}, // not equal to itself, either
		} {
			for name, call := range map[string]func(){
				"Do":             func() { g.Do(key, fn) },
				"DoChan":         func() { g.DoChan(key, fn) },
				"Forget":         func() { g.Forget(key) },
				"ForgetUnshared": func() { g.ForgetUnshared(key) },
				"DoContext": func() {
					g.DoContext(t.Context(), key, func(context.Context) (int, error) { return fn() })
				},
				"DoChanContext": func() {
					g.DoChanContext(t.Context(), key, func(context.Context) (int, error) { return fn() })
				},
				"DoFresh": func() {
					g.DoFresh(t.Context(), key, func(context.Context) (int, error) { return fn() })
				},
				"DoChanFresh": func() {
					g.DoChanFresh(t.Context(), key, func(context.Context) (int, error) { return fn() })
				},
			} {
				func() {
					defer func() {
						err, _ := recover().(runtime.Error)
						assert.ErrorContains(t, err, "unhashable", "%s(%T)", name, key)
					}()
					call()
				}()
			}
		}
		v, _, _ := g.Do("key", fn)
		assert.Equal(t, 1, v)
	})
}

func TestKeyThatDoesNotEqualItselfFliesAlone(t *testing.T) {
	for name, nan := range map[string]any{
		"NaN":             math.NaN(),
		"a struct of one": struct{ f float64 }{math.NaN()},
	} {
		t.Run(name, func(t *testing.T) {
			withAndWithoutOwner(t, any("other"), func(t *testing.T, g group[any, any]) {
				gate := make(chan struct{})
				plain := g.DoChan("key", behind(gate, value("plain")))
				before := requireOwner(t, g.of("key"))

				alone := []<-chan ResultOf[any]{
					g.DoChan(nan, behind(gate, value(0))),
					g.DoChan(nan, behind(gate, value(1))),
				}
				v, _, shared := g.Do(nan, value(2))
				assert.Equal(t, 2, v)
				assert.False(t, shared)
				g.Forget(nan)
				assert.True(t, g.ForgetUnshared(nan))
				assert.Equal(t, before, requireOwner(t, g.of("key")), "nothing entered the map")
				close(gate)
				for i, results := range alone {
					assert.Equal(t, Result{Val: i}, <-results)
				}
				assert.Equal(t, Result{Val: "plain"}, <-plain)
			})
		})
	}
}

func TestGroupIsOneWord(t *testing.T) {
	assert.Equal(t, unsafe.Sizeof(uintptr(0)), unsafe.Sizeof(Group{}))
}

func TestVetWarnsWhenAGroupIsCopied(t *testing.T) {
	output, err := exec.Command("go", "vet", "./testdata/copied").CombinedOutput()
	require.Error(t, err)
	assert.Regexp(t, "assignment copies lock value to second: .*singleflight\\.Group ", string(output))
	assert.Regexp(t, "assignment copies lock value to other: .*singleflight\\.Sharded ", string(output))
}

func TestLoneDoAllocatesOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, g group[string, any]) {
		fn := value(nil)
		assert.Equal(t, 1, int(testing.AllocsPerRun(1_000, func() { g.Do("key", fn) })))
	})
}

// If Do passed fn to another goroutine, the closure would be allocated.
func TestDoDoesNotMakeFnEscape(t *testing.T) {
	var g GroupOf[int, int]
	sum := 0
	assert.Equal(t, 1, int(testing.AllocsPerRun(1_000, func() {
		g.Do(1, func() (int, error) { sum++; return sum, nil })
	})))
}

func TestDoThatMeetsALiveOwnerAllocatesAtMostTwice(t *testing.T) {
	onBoth(t, func(t *testing.T, g group[string, any]) {
		gate := make(chan struct{})
		landed := g.of("key").DoChan("other", behind(gate, value(nil)))
		requireOwner(t, g.of("key"))
		fn := value(nil)
		assert.LessOrEqual(t, testing.AllocsPerRun(1_000, func() { g.Do("key", fn) }), 2.0)
		close(gate)
		<-landed
		requireRest(t, g)
	})
}

func TestShards(t *testing.T) {
	var s ShardedOf[int, int]
	assert.Zero(t, len(s.shards)&(len(s.shards)-1), "a power of two")
	assert.Equal(t, unsafe.Sizeof(Group{})+56, unsafe.Sizeof(s.shards[0]), "a cache line, on 64-bit machines")
	used := make(map[*GroupOf[int, int]]int)
	const keys = 100 * shards
	for key := range keys {
		shard := s.of(key)
		require.Same(t, shard, s.of(key), "a key is always in the same shard")
		used[shard]++
	}
	assert.Len(t, used, shards, "all shards are used")
	for _, n := range used {
		assert.Less(t, n, keys/shards*2, "no shard has many more keys than the others")
	}
}

func TestPanicError(t *testing.T) {
	p := &PanicError{Value: "value", Stack: []byte("stack")}
	require.EqualError(t, p, "value\n\nstack")
	require.NoError(t, p.Unwrap())
	assert.Equal(t, errFn, (&PanicError{Value: errFn}).Unwrap())
}
