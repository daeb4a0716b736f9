package singleflight

import (
	"context"
	"strconv"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A nest is a group with nested calls: calls made in the functions of others.
type nest struct {
	group[string, any]
	ctx    context.Context // of the outermost calls
	keys   []string        // of one shard, as circles through several are not detected; "key" is the first
	doChan bool            // nested calls are DoChanContexts
}

// call makes a nested call.
func (n nest) call(ctx context.Context, key string, fn func(context.Context) (any, error)) (any, error) {
	if n.doChan {
		r := <-n.DoChanContext(ctx, key, fn)
		return r.Val, r.Err
	}
	v, err, _ := n.DoContext(ctx, key, fn)
	return v, err
}

// goNested makes a nested call in a new goroutine.
func (n nest) goNested(ctx context.Context, key string, fn func(context.Context) (any, error)) <-chan outcome {
	return goCall(func() (any, error, bool) {
		v, err := n.call(ctx, key, fn)
		return v, err, false
	})
}

// goCall makes an outermost call.
func (n nest) goCall(key string, fn func(context.Context) (any, error)) <-chan outcome {
	return goCall(func() (any, error, bool) { return n.DoContext(n.ctx, key, fn) })
}

// inNests runs test with both kinds of nested calls, and with flights that can and
// that cannot be abandoned.
func inNests(t *testing.T, test func(*testing.T, nest)) {
	for _, doChan := range []bool{false, true} {
		for _, canEnd := range []bool{false, true} {
			t.Run("DoChanContext="+strconv.FormatBool(doChan)+"/ctx ends="+strconv.FormatBool(canEnd), func(t *testing.T) {
				withAndWithoutOwner(t, "other", func(t *testing.T, g group[string, any]) {
					n := nest{group: g, ctx: context.Background(), doChan: doChan}
					if canEnd {
						n.ctx = t.Context()
					}
					n.keys = []string{"key"}
					for i := 0; len(n.keys) < 4; i++ {
						if key := strconv.Itoa(i); g.of(key) == g.of("key") {
							n.keys = append(n.keys, key)
						}
					}
					test(t, n)
				})
			})
		}
	}
}

// begin makes an outermost call, and returns its job, and a context to make nested calls
// with, which does not end.
func (n nest) begin(t *testing.T, key string) (job, context.Context) {
	t.Helper()
	j := newJob()
	n.goCall(key, j.run)
	return j, context.WithoutCancel(j.requireBegun(t))
}

// abandon is begin, of a flight that all callers have left.
func (n nest) abandon(t *testing.T, key string) (job, context.Context) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	j := newJob()
	left := goCall(func() (any, error, bool) { return n.DoContext(ctx, key, j.run) })
	fn := j.requireBegun(t)
	cancel()
	require.Equal(t, canceled, <-left)
	requireAbandoned(t, fn)
	return j, context.WithoutCancel(fn)
}

var deadlock = outcome{err: ErrDeadlock}

func TestCallThatWouldWaitForItsOwnFlight(t *testing.T) {
	inNests(t, func(t *testing.T, n nest) {
		for name, derive := range derivations {
			assert.Equal(t, deadlock, <-n.goCall(n.keys[0], func(ctx context.Context) (any, error) {
				return n.call(derive(t, ctx), n.keys[0], neverWith(t))
			}), name)
			synctest.Wait()
		}
	})
}

func TestOneCallOfACircleIsRefused(t *testing.T) {
	inNests(t, func(t *testing.T, n nest) {
		for size := 2; size <= len(n.keys); size++ {
			keys := n.keys[:size]
			gate := make(chan struct{})
			refused := make(chan struct{}, size)
			var calls []<-chan outcome
			for i, key := range keys {
				calls = append(calls, n.goCall(key, func(ctx context.Context) (any, error) {
					<-gate
					v, err := n.call(ctx, keys[(i+1)%size], neverWith(t))
					if err == ErrDeadlock { //nolint:errorlint // nothing wraps it
						refused <- struct{}{}
						return "refused", nil
					}
					return v, err
				}))
			}
			requireWaiting(t, calls...)
			close(gate)
			for _, ended := range calls {
				o := <-ended
				assert.Equal(t, "refused", o.val)
				assert.NoError(t, o.err)
			}
			assert.Len(t, refused, 1)
			synctest.Wait()
		}
	})
}

func TestInnermostCallOfACircleIsRefused(t *testing.T) {
	inNests(t, func(t *testing.T, n nest) {
		refused := 0
		var nested func(depth int) func(context.Context) (any, error)
		nested = func(depth int) func(context.Context) (any, error) {
			return func(ctx context.Context) (any, error) {
				v, err := n.call(ctx, n.keys[(depth+1)%len(n.keys)], nested(depth+1))
				if err == ErrDeadlock { //nolint:errorlint // nothing wraps it
					refused++
					return depth, nil
				}
				return v, err
			}
		}
		assert.Equal(t, outcome{val: len(n.keys) - 1}, <-n.goCall(n.keys[0], nested(0)))
		assert.Equal(t, 1, refused)
	})
}

// A call with the key of an abandoned flight waits for the function, too.
func TestCircleThroughAFlightThatWaits(t *testing.T) {
	inNests(t, func(t *testing.T, n nest) {
		a, b := n.keys[0], n.keys[1]
		for _, abandonedCallsFirst := range []bool{true, false} {
			ctx, cancel := context.WithCancel(t.Context())
			callB, callA := make(chan struct{}), make(chan struct{})
			fromA, fromB := make(chan outcome, 1), make(chan outcome, 1)
			left := goCall(func() (any, error, bool) {
				return n.DoContext(ctx, a, func(ctx context.Context) (any, error) {
					<-callB
					v, err := n.call(context.WithoutCancel(ctx), b, neverWith(t))
					fromA <- outcome{val: v, err: err}
					return nil, nil
				})
			})
			landed := n.goCall(b, func(ctx context.Context) (any, error) {
				<-callA
				v, err := n.call(ctx, a, valueWith("new a"))
				fromB <- outcome{val: v, err: err}
				return "b", nil
			})
			requireWaiting(t, left, landed)
			cancel()
			require.Equal(t, canceled, <-left)
			if abandonedCallsFirst {
				close(callB)
				requireWaiting(t, landed, fromA)
				close(callA)
				assert.Equal(t, deadlock, <-fromB)
				assert.Equal(t, outcome{val: "b"}, <-fromA)
			} else {
				close(callA)
				requireWaiting(t, landed, fromB)
				close(callB)
				assert.Equal(t, deadlock, <-fromA)
				assert.Equal(t, outcome{val: "new a"}, <-fromB)
			}
			<-landed
			synctest.Wait()
		}
	})
}

func TestAbandonedFunctionMayNotWaitForItsOwnEnd(t *testing.T) {
	inNests(t, func(t *testing.T, n nest) {
		ctx, cancel := context.WithCancel(t.Context())
		refused := make(chan outcome, 1)
		left := goCall(func() (any, error, bool) {
			return n.DoContext(ctx, n.keys[0], func(ctx context.Context) (any, error) {
				<-ctx.Done()
				v, err := n.call(context.WithoutCancel(ctx), n.keys[0], neverWith(t))
				refused <- outcome{val: v, err: err}
				return nil, nil
			})
		})
		requireWaiting(t, left)
		cancel()
		assert.Equal(t, canceled, <-left)
		assert.Equal(t, deadlock, <-refused)
	})
}

// The calls on the next flight wait for the abandoned one, whether a host or a caller leads.
func TestCircleThroughANextFlightThatACallHasTakenOver(t *testing.T) {
	for kind, stay := range staying {
		t.Run(kind, func(t *testing.T) {
			inNests(t, func(t *testing.T, n nest) {
				a, x := n.keys[0], n.keys[1]
				jobX, inX := n.begin(t, x)
				oldA, inA := n.abandon(t, a)
				newA := newJob()
				fromX := n.goNested(inX, a, newA.run)
				requireWaiting(t, fromX)
				takesOver := stay(t.Context(), n, newA.run)
				requireWaiting(t, takesOver)
				requireReturned(t, deadlock, n.goNested(inA, x, neverWith(t)))

				oldA.end <- nil
				fn := newA.requireBegun(t)
				late := n.goNested(inA, x, neverWith(t))
				requireWaiting(t, late) // nothing waits for oldA any more
				fromNewA := n.goNested(context.WithoutCancel(fn), x, neverWith(t))
				if fn.Value(originKey{}) != nil {
					requireReturned(t, deadlock, fromNewA)
				} else { // the fn of a Do gets no context
					requireWaiting(t, fromNewA)
				}

				newA.end <- "a"
				requireReturned(t, outcome{val: "a"}, fromX)
				requireReturned(t, outcome{val: "a", shared: true}, takesOver)
				jobX.end <- "x"
				requireReturned(t, outcome{val: "x"}, late)
			})
		})
	}
}

func TestNestedCallThatTakesTheNextFlightOver(t *testing.T) {
	inNests(t, func(t *testing.T, n nest) {
		a, x := n.keys[0], n.keys[1]
		jobX, inX := n.begin(t, x)
		oldA, inA := n.abandon(t, a)
		newA := newJob()
		stranger := doContext(t.Context(), n, neverWith(t))
		requireWaiting(t, stranger)
		fromX := n.goNested(inX, a, newA.run) // never leaves
		requireWaiting(t, fromX)
		requireReturned(t, deadlock, n.goNested(inA, x, neverWith(t)))
		oldA.end <- nil
		fn := newA.requireBegun(t)
		requireReturned(t, deadlock, n.goNested(fn, x, neverWith(t)))
		newA.end <- "a"
		requireReturned(t, outcome{val: "a"}, fromX)
		requireReturned(t, outcome{val: "a", shared: true}, stranger)
		jobX.end <- nil
	})
}

// The calls on a forgotten flight still wait for it.
func TestCircleThroughAForgottenFlight(t *testing.T) {
	inNests(t, func(t *testing.T, n nest) {
		x, b := n.keys[0], n.keys[1]
		jobX, inX := n.begin(t, x)
		oldB, inOldB := n.begin(t, b)
		fromX := n.goNested(inX, b, neverWith(t))
		requireWaiting(t, fromX)
		n.Forget(b)
		requireReturned(t, deadlock, n.goNested(inOldB, x, neverWith(t)))
		newB, inNewB := n.begin(t, b)
		fromNewB := n.goNested(inNewB, x, neverWith(t))
		requireWaiting(t, fromNewB)
		requireReturned(t, deadlock, n.goNested(inX, b, neverWith(t)))

		oldB.end <- "old b"
		requireReturned(t, outcome{val: "old b"}, fromX)
		jobX.end <- "x"
		requireReturned(t, outcome{val: "x"}, fromNewB)
		newB.end <- nil
	})
}

// The search for a circle takes time in proportion to the flights, not to the paths.
func TestCircleSearchVisitsEachFlightOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := nest{group: new(Group), ctx: context.Background()}
		var jobs []job
		nested := func(ctx context.Context, key string) context.Context {
			j := newJob()
			n.goNested(ctx, key, j.run)
			jobs = append(jobs, j)
			return j.requireBegun(t)
		}
		top := nested(context.Background(), "top")
		in := top
		for level := range 40 { // with 2 paths through each
			left, right := nested(in, "left "+strconv.Itoa(level)), nested(in, "right "+strconv.Itoa(level))
			in = nested(left, "below "+strconv.Itoa(level))
			n.goNested(right, "below "+strconv.Itoa(level), neverWith(t))
			synctest.Wait()
		}
		j, _ := n.begin(t, "other")
		joined := n.goNested(in, "other", neverWith(t))
		requireWaiting(t, joined)
		requireReturned(t, deadlock, n.goNested(in, "top", neverWith(t)))
		j.end <- 1
		requireReturned(t, outcome{val: 1}, joined)
		for _, j := range jobs {
			j.end <- nil
		}
	})
}

// What looks like a circle, but is not.

// A flight that no call has joined is no part of a circle, and is not mistaken for another
// of its kind, such as a next flight that a Do leads.
func TestFlightThatNoCallHasJoinedClosesNoCircle(t *testing.T) {
	inNests(t, func(t *testing.T, n nest) {
		for _, lead := range []func(fn func() (any, error)) <-chan outcome{
			func(fn func() (any, error)) <-chan outcome { return goDo(n, n.keys[1], fn) },
			func(fn func() (any, error)) <-chan outcome { return received(n.DoChan(n.keys[1], fn)) },
		} {
			a, b, x := n.keys[0], n.keys[1], n.keys[2]
			oldA, inA := n.abandon(t, a)
			newA := goDo(n, a, value("new a"))
			jobB := newJob()
			plain := lead(jobB.plain)
			jobB.requireBegun(t)
			requireWaiting(t, newA, plain)
			joined := n.goNested(inA, b, neverWith(t))
			requireWaiting(t, joined)
			jobB.end <- "b"
			requireReturned(t, outcome{val: "b"}, joined)
			requireReturned(t, outcome{val: "b", shared: true}, plain)

			jobX, inX := n.begin(t, x)
			fromA := n.goNested(inA, x, neverWith(t))
			plain = lead(jobB.plain)
			jobB.requireBegun(t)
			requireWaiting(t, newA, fromA, plain)
			joined = n.goNested(inX, b, neverWith(t))
			requireWaiting(t, joined)
			jobB.end <- "b"
			requireReturned(t, outcome{val: "b"}, joined)
			requireReturned(t, outcome{val: "b", shared: true}, plain)

			jobX.end <- "x"
			requireReturned(t, outcome{val: "x"}, fromA)
			oldA.end <- nil
			requireReturned(t, outcome{val: "new a"}, newA)
			synctest.Wait()
		}
	})
}

// After Forget nothing waits for the abandoned function, which may then wait for what
// waits for the next flight.
func TestNextFlightThatForgetHasBegunWaitsForNothing(t *testing.T) {
	inNests(t, func(t *testing.T, n nest) {
		a, x := n.keys[0], n.keys[1]
		jobX, inX := n.begin(t, x)
		oldA, inA := n.abandon(t, a)
		newA := newJob()
		fromX := n.goNested(inX, a, newA.run)
		requireWaiting(t, fromX)
		n.Forget(a)
		fn := newA.requireBegun(t)
		fromOldA := n.goNested(inA, x, neverWith(t))
		requireWaiting(t, fromOldA)
		requireReturned(t, deadlock, n.goNested(fn, x, neverWith(t)))
		newA.end <- "a"
		requireReturned(t, outcome{val: "a"}, fromX)
		jobX.end <- "x"
		requireReturned(t, outcome{val: "x"}, fromOldA)
		oldA.end <- nil
	})
}

func TestFlightOfAForgottenKeyClosesNoCircle(t *testing.T) {
	inNests(t, func(t *testing.T, n nest) {
		x, b := n.keys[0], n.keys[1]
		oldX, inOldX := n.begin(t, x)
		jobB, inB := n.begin(t, b)
		fromOldX := n.goNested(inOldX, b, neverWith(t))
		requireWaiting(t, fromOldX)
		n.Forget(x)
		requireReturned(t, outcome{val: "own"}, n.goNested(inB, x, valueWith("own")))
		newX, inNewX := n.begin(t, x)
		fromB := n.goNested(inB, x, neverWith(t))
		requireWaiting(t, fromB)
		requireReturned(t, deadlock, n.goNested(inNewX, b, neverWith(t)))
		newX.end <- "new x"
		requireReturned(t, outcome{val: "new x"}, fromB)
		jobB.end <- "b"
		requireReturned(t, outcome{val: "b"}, fromOldX)
		oldX.end <- nil
	})
}

// The call that is refused does not wait.
func TestCallThatIsRefusedClosesNoCircle(t *testing.T) {
	inNests(t, func(t *testing.T, n nest) {
		a, b := n.keys[0], n.keys[1]
		jobA, inA := n.begin(t, a)
		jobB, inB := n.begin(t, b)
		short, cancel := context.WithCancel(inA)
		leaves := n.goNested(short, b, neverWith(t))
		requireWaiting(t, leaves)
		requireReturned(t, deadlock, n.goNested(inB, a, neverWith(t)))
		cancel()
		requireReturned(t, canceled, leaves)
		again := n.goNested(inA, b, neverWith(t))
		requireWaiting(t, again)
		requireReturned(t, deadlock, n.goNested(inB, a, neverWith(t)))
		jobB.end <- "b"
		requireReturned(t, outcome{val: "b"}, again)
		jobA.end <- nil
	})
}

func TestNestedCallLeavesTheNextFlight(t *testing.T) {
	inNests(t, func(t *testing.T, n nest) {
		a, x := n.keys[0], n.keys[1]
		for _, strangers := range []int{0, 1} { // who stay on the next flight
			jobX, inX := n.begin(t, x)
			oldA, inA := n.abandon(t, a)
			newA := newJob()
			short, cancel := context.WithCancel(inX)
			leaves := n.goNested(short, a, newA.run)
			requireWaiting(t, leaves)
			var stay []<-chan outcome
			for range strangers {
				stay = append(stay, doContext(t.Context(), n, newA.run))
			}
			requireWaiting(t, stay...)
			requireReturned(t, deadlock, n.goNested(inA, x, neverWith(t)))
			cancel()
			requireReturned(t, canceled, leaves)
			fromA := n.goNested(inA, x, neverWith(t))
			requireWaiting(t, append(stay, fromA)...)
			jobX.end <- "x"
			requireReturned(t, outcome{val: "x"}, fromA)
			oldA.end <- nil
			newA.end <- "a"
			for _, ended := range stay {
				requireReturned(t, outcome{val: "a"}, ended)
			}
			synctest.Wait()
		}
	})
}

func TestNestedCallLeavesAForgottenFlight(t *testing.T) {
	inNests(t, func(t *testing.T, n nest) {
		x, b := n.keys[0], n.keys[1]
		jobX, inX := n.begin(t, x)
		jobB, inB := n.begin(t, b)
		short, cancel := context.WithCancel(inX)
		leaves := n.goNested(short, b, neverWith(t))
		requireWaiting(t, leaves)
		n.Forget(b)
		cancel()
		requireReturned(t, canceled, leaves)
		fromB := n.goNested(inB, x, neverWith(t))
		requireWaiting(t, fromB)
		jobX.end <- "x"
		requireReturned(t, outcome{val: "x"}, fromB)
		jobB.end <- nil
	})
}

// The owner has taken away what it knew of the nested call when the flight landed.
func TestNestedCallLeavesTooLate(t *testing.T) {
	inNests(t, func(t *testing.T, n nest) {
		jobX, inX := n.begin(t, n.keys[1])
		jobA, _ := n.begin(t, n.keys[0])
		short, cancel := context.WithCancel(inX)
		late := n.goNested(short, n.keys[0], neverWith(t))
		requireWaiting(t, late)
		step, open := afterStall(t, n)
		step(func() { jobA.end <- "a" })
		step(cancel)
		open()
		requireReturned(t, outcome{val: "a"}, late)
		jobX.end <- nil
	})
}

func TestCallsWithAContextThatHasOutlivedItsFlightComeAndGo(t *testing.T) {
	inNests(t, func(t *testing.T, n nest) {
		a, b, c := n.keys[0], n.keys[1], n.keys[2]
		jobA, inA := n.begin(t, a)
		jobB, inB := n.begin(t, b)
		earlyCtx, leaveEarly := context.WithCancel(inA)
		early := n.goNested(earlyCtx, b, neverWith(t)) // outlived only while it waits
		requireWaiting(t, early)
		jobA.end <- nil
		synctest.Wait()

		lateCtx, leaveLate := context.WithCancel(inA)
		jobC := newJob()
		joins, begins := n.goNested(lateCtx, b, neverWith(t)), n.goNested(lateCtx, c, jobC.run)
		inC := context.WithoutCancel(jobC.requireBegun(t))
		requireWaiting(t, early, joins, begins)
		newA, _ := n.begin(t, a)
		for _, in := range []context.Context{inB, inC} {
			requireWaiting(t, n.goNested(in, a, neverWith(t)))
		}
		leaveEarly()
		requireReturned(t, canceled, early)
		leaveLate()
		requireReturned(t, canceled, joins)
		requireReturned(t, canceled, begins)
		for _, j := range []job{newA, jobB, jobC} {
			j.end <- nil
			synctest.Wait()
		}
	})
}

func TestFlightMayBeWaitedForOnSeveralPaths(t *testing.T) {
	inNests(t, func(t *testing.T, n nest) {
		top, left, right, bottom := n.keys[0], n.keys[1], n.keys[2], n.keys[3]
		j := newJob()
		other := n.goCall("below the bottom", j.run)
		callOther := make(chan struct{})
		ended := n.goCall(top, func(ctx context.Context) (any, error) {
			var paths []<-chan outcome
			for _, key := range []string{left, right, left, right} {
				paths = append(paths, n.goNested(ctx, key, func(ctx context.Context) (any, error) {
					return n.call(ctx, bottom, func(ctx context.Context) (any, error) {
						<-callOther
						return n.call(ctx, "below the bottom", neverWith(t))
					})
				}))
			}
			for _, ended := range paths {
				assert.Equal(t, outcome{val: 1}, <-ended)
			}
			return "top", nil
		})
		requireWaiting(t, ended, other)
		close(callOther)
		requireWaiting(t, ended, other)
		j.end <- 1
		assert.Equal(t, outcome{val: "top"}, <-ended)
		assert.Equal(t, 1, (<-other).val)
	})
}

func TestAbandonedFunctionMayWaitForOthers(t *testing.T) {
	inNests(t, func(t *testing.T, n nest) {
		j := newJob()
		other := n.goCall(n.keys[1], j.run)
		ctx, cancel := context.WithCancel(t.Context())
		call, got := make(chan struct{}), make(chan outcome, 1)
		left := goCall(func() (any, error, bool) {
			return n.DoContext(ctx, n.keys[0], func(ctx context.Context) (any, error) {
				<-call
				v, err := n.call(context.WithoutCancel(ctx), n.keys[1], neverWith(t))
				got <- outcome{val: v, err: err}
				return nil, nil
			})
		})
		requireWaiting(t, left, other)
		cancel()
		<-left
		next := goDo(n, n.keys[0], value("next"))
		requireWaiting(t, next)
		close(call)
		requireWaiting(t, next, got)
		j.end <- 1
		assert.Equal(t, outcome{val: 1}, <-got)
		assert.Equal(t, outcome{val: "next"}, <-next)
		<-other
	})
}

func TestCallThatHasLeftClosesNoCircle(t *testing.T) {
	inNests(t, func(t *testing.T, n nest) {
		a, b := n.keys[0], n.keys[1]
		leave, callA, endA := make(chan struct{}), make(chan struct{}), make(chan struct{})
		landedB := n.goCall(b, func(ctx context.Context) (any, error) {
			<-callA
			return n.call(ctx, a, neverWith(t))
		})
		synctest.Wait()
		landedA := n.goCall(a, func(ctx context.Context) (any, error) {
			short, cancel := context.WithCancel(ctx)
			leaves := n.goNested(short, b, neverWith(t))
			<-leave
			cancel()
			assert.Equal(t, canceled, <-leaves)
			<-endA
			return "a", nil
		})
		requireWaiting(t, landedA, landedB)
		close(leave)
		synctest.Wait()
		close(callA)
		requireWaiting(t, landedA, landedB)
		close(endA)
		assert.Equal(t, outcome{val: "a", shared: true}, <-landedA)
		assert.Equal(t, outcome{val: "a"}, <-landedB)
	})
}

// Of two calls of one function that wait, one has left.
func TestCircleIsDetectedAfterOneOfTwoCallsHasLeft(t *testing.T) {
	inNests(t, func(t *testing.T, n nest) {
		a, b := n.keys[0], n.keys[1]
		callA, leave := make(chan struct{}), make(chan struct{})
		landedB := n.goCall(b, func(ctx context.Context) (any, error) {
			<-callA
			return n.call(ctx, a, neverWith(t))
		})
		synctest.Wait()
		landedA := n.goCall(a, func(ctx context.Context) (any, error) {
			short, cancel := context.WithCancel(ctx)
			leaves := n.goNested(short, b, neverWith(t))
			stays := n.goNested(ctx, b, neverWith(t))
			<-leave
			cancel()
			<-leaves
			o := <-stays
			return "a", o.err
		})
		requireWaiting(t, landedA, landedB)
		close(leave)
		requireWaiting(t, landedA, landedB)
		close(callA)
		assert.Equal(t, outcome{err: ErrDeadlock, shared: true}, <-landedB)
		assert.Equal(t, outcome{val: "a", err: ErrDeadlock}, <-landedA)
	})
}

// A function may leave goroutines behind that still have its context.
func TestContextOfAFlightThatHasLandedClosesNoCircle(t *testing.T) {
	inNests(t, func(t *testing.T, n nest) {
		a, b := n.keys[0], n.keys[1]
		endA, endB := make(chan struct{}), make(chan struct{})
		var of context.Context
		landedA := n.goCall(a, func(ctx context.Context) (any, error) {
			of = ctx
			<-endA
			return "a", nil
		})
		synctest.Wait()
		landedB := n.goCall(b, func(ctx context.Context) (any, error) {
			v, err := n.call(ctx, a, neverWith(t))
			<-endB
			return v, err
		})
		requireWaiting(t, landedA, landedB)
		close(endA)
		<-landedA
		late := goCall(func() (any, error, bool) { return n.DoContext(of, b, neverWith(t)) })
		requireWaiting(t, late, landedB)
		close(endB)
		assert.Equal(t, outcome{val: "a", shared: true}, <-late)
		assert.Equal(t, outcome{val: "a", shared: true}, <-landedB)
	})
}

func TestFnMayForgetItsKeyAndCallAgain(t *testing.T) {
	inNests(t, func(t *testing.T, n nest) {
		assert.Equal(t, outcome{val: 1}, <-n.goCall(n.keys[0], func(ctx context.Context) (any, error) {
			n.Forget(n.keys[0])
			return n.call(ctx, n.keys[0], valueWith(1))
		}))
	})
}

// When the other group's function calls back, the nested caller has left its flight. The
// stranger that is still on it closes no circle.
func TestCallBackFromAnotherGroup(t *testing.T) {
	inNests(t, func(t *testing.T, n nest) {
		other := new(Group)
		leave, callBack, end := make(chan struct{}), make(chan struct{}), make(chan struct{})
		first := n.goCall(n.keys[0], func(ctx context.Context) (any, error) {
			short, cancel := context.WithCancel(ctx)
			defer cancel()
			left := goCall(func() (any, error, bool) {
				return other.DoContext(short, "key", func(ctx context.Context) (any, error) {
					<-callBack
					return n.call(ctx, n.keys[0], neverWith(t))
				})
			})
			<-leave
			cancel()
			assert.Equal(t, canceled, <-left)
			<-end
			return 1, nil
		})
		synctest.Wait()
		stranger := doContext(t.Context(), other, neverWith(t))
		synctest.Wait()
		close(leave)
		synctest.Wait()
		close(callBack)
		requireWaiting(t, first, stranger)
		close(end)
		assert.Equal(t, outcome{val: 1, shared: true}, <-first)
		assert.Equal(t, outcome{val: 1}, <-stranger)
	})
}

// As documented, the calls wait until a context ends.
func TestCircleThroughTwoGroupsIsNotDetected(t *testing.T) {
	inNests(t, func(t *testing.T, n nest) {
		other, gate := new(Group), make(chan struct{})
		alive := other.DoChan("keeps the owner alive", behind(gate, value(nil)))
		requireOwner(t, other)
		circle, cancel := context.WithCancel(t.Context())
		ended := n.goCall(n.keys[0], func(ctx context.Context) (any, error) {
			v, err, _ := other.DoContext(ctx, "key", func(ctx context.Context) (any, error) {
				ctx, stop := context.WithCancel(ctx)
				defer stop()
				defer context.AfterFunc(circle, stop)()
				return n.call(ctx, n.keys[0], neverWith(t))
			})
			return v, err
		})
		requireWaiting(t, ended)
		cancel()
		assert.Equal(t, canceled, <-ended)
		close(gate)
		<-alive
	})
}

func TestSameKeyInAnotherGroupClosesNoCircle(t *testing.T) {
	inNests(t, func(t *testing.T, n nest) {
		other := new(Group)
		assert.Equal(t, outcome{val: 1}, <-n.goCall(n.keys[0], func(ctx context.Context) (any, error) {
			v, err, _ := other.DoContext(ctx, n.keys[0], valueWith(1))
			return v, err
		}))
	})
}
