package singleflight

import (
	"context"
	"math"
	"strconv"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestInFlightListsEveryFlight(t *testing.T) {
	withAndWithoutOwner(t, "other", func(t *testing.T, g group[string, any]) {
		assert.Empty(t, inFlight(g))
		first, second := make(chan struct{}), make(chan struct{})
		forgotten := g.DoChan("key", behind(first, value(1)))
		joined := goDo(g, "key", never(t))
		synctest.Wait()
		assert.Equal(t, []Flight{{Key: "key", Callers: 2, State: Flying}}, inFlight(g))

		g.Forget("key")
		lone := goDo(g, "lone", behind(second, value(2)))
		newer := goDo(g, "key", behind(second, value(3)))
		synctest.Wait()
		g.DoChan("key", never(t)) // nothing receives its result
		goDo(g, "key", never(t))
		synctest.Wait()
		assert.ElementsMatch(t, []Flight{
			{Key: "key", Callers: 2, State: Forgotten},
			{Key: "key", Callers: 3, State: Flying},
			{Key: "lone", Callers: 1, State: Flying},
		}, inFlight(g))

		close(first)
		<-forgotten
		<-joined
		assert.ElementsMatch(t, []Flight{{Key: "key", Callers: 3, State: Flying}, {Key: "lone", Callers: 1, State: Flying}}, inFlight(g))
		close(second)
		<-lone
		<-newer
		assert.Empty(t, inFlight(g))
	})
}

func TestInFlightListsALoneFlight(t *testing.T) {
	onBoth(t, func(t *testing.T, g group[string, any]) {
		g.Do("key", func() (any, error) {
			assert.Equal(t, []Flight{{Key: "key", Callers: 1, State: Flying}}, g.InFlight())
			return nil, nil
		})
		requireRest(t, g)
	})
}

func TestInFlightAndWaitStartNothingAtRest(t *testing.T) {
	onBoth(t, func(t *testing.T, g group[string, any]) {
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		assert.Zero(t, testing.AllocsPerRun(100, func() {
			if g.InFlight() != nil || g.Wait(ended) != nil {
				t.Fail()
			}
		}))
		requireRest(t, g)
	})
}

func TestInFlightAndWaitDoNotSeeKeysThatDoNotEqualThemselves(t *testing.T) {
	onBoth(t, func(t *testing.T, g group[any, any]) {
		g.Do(math.NaN(), func() (any, error) {
			assert.Empty(t, g.InFlight())
			assert.NoError(t, g.Wait(t.Context()))
			return nil, nil
		})
	})
}

func TestWaitReturnsWhenNothingIsInFlight(t *testing.T) {
	onBoth(t, func(t *testing.T, g group[string, any]) {
		synctest.Test(t, func(t *testing.T) {
			gates := map[string]chan struct{}{}
			fly := func(key string) {
				gates[key] = make(chan struct{})
				g.DoChan(key, behind(gates[key], value(key))) // nothing receives its result
			}
			fly("first")
			fly("forgotten")
			g.Forget("forgotten")
			waits := []<-chan error{goWait(t.Context(), g), goWait(t.Context(), g)}
			synctest.Wait()
			fly("later")
			for _, key := range []string{"first", "later", "forgotten"} {
				for _, wait := range waits {
					require.Empty(t, wait, "%s is in flight", key)
				}
				close(gates[key])
				synctest.Wait()
			}
			for _, wait := range waits {
				assert.NoError(t, <-wait)
			}
			requireRest(t, g)
		})
	})
}

func TestWaitGivesUpWhenItsContextEnds(t *testing.T) {
	withAndWithoutOwner(t, "other", func(t *testing.T, g group[string, any]) {
		gate := make(chan struct{})
		flight := g.DoChan("key", behind(gate, value(1)))
		ctx, cancel := context.WithCancel(t.Context())
		wait := goWait(ctx, g)
		synctest.Wait()
		require.Empty(t, wait)
		cancel()
		assert.Equal(t, context.Canceled, <-wait)
		assert.Len(t, inFlight(g), 1, "the flight goes on")
		close(gate)
		assert.Equal(t, Result{Val: 1}, <-flight)
	})
}

// Calls of Wait that have given up must not accumulate in the owner.
func TestAllWaitsOfAnActivationShareAChannel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Group
		gate := make(chan struct{})
		flight := g.DoChan("key", behind(gate, value(1)))
		var rests []<-chan struct{}
		for range 3 {
			a, _ := g.address.Claim()
			m := &rest[string, any]{nil, make(chan (<-chan struct{}), 1)}
			a.Send(m)
			rests = append(rests, <-m.rest)
		}
		assert.Equal(t, rests[0], rests[1])
		assert.Equal(t, rests[0], rests[2])
		close(gate)
		<-flight
		<-rests[0]
	})
}

func TestWaitPanicsIfItsContextIsNil(t *testing.T) {
	withAndWithoutOwner(t, "other", func(t *testing.T, g group[string, any]) {
		var none context.Context
		assert.PanicsWithValue(t, nilContext, func() { g.Wait(none) })
	})
}

func TestWaitReturnsTheErrOfItsContext(t *testing.T) {
	withAndWithoutOwner(t, "other", func(t *testing.T, g group[string, any]) {
		j := newJob()
		flight := goDo(g, "key", j.plain)
		j.requireBegun(t)
		for name, test := range contextsThatEnd {
			ctx, end := test.begin(t)
			wait := goWait(ctx, g)
			synctest.Wait()
			require.Empty(t, wait, name)
			end()
			assert.Equal(t, test.err, <-wait, name)
			assert.Equal(t, test.err, <-goWait(ctx, g), name)
		}
		requireWaiting(t, flight)
		j.end <- 1
		assert.Equal(t, outcome{val: 1}, <-flight)
	})
}

func TestWaitWhoseContextPanics(t *testing.T) {
	withAndWithoutOwner(t, "other", func(t *testing.T, g group[string, any]) {
		j := newJob()
		flight := doContext(t.Context(), g, j.run)
		j.requireBegun(t)
		for _, method := range []string{"Value", "Done"} {
			assert.PanicsWithValue(t, method, func() { g.Wait(panicking(t.Context(), method)) })
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		assert.PanicsWithValue(t, "Err", func() { g.Wait(panicking(ctx, "Err")) })
		assert.Equal(t, 1, inFlight(g)[0].Callers)
		j.end <- 1
		assert.Equal(t, outcome{val: 1}, <-flight)
	})
}

// requireDeadlock requires that a Wait in fn is refused, because it would wait for fn.
func requireDeadlock(t *testing.T, g group[string, any], fn context.Context) {
	t.Helper()
	for name, derive := range derivations {
		wait := goWait(derive(t, fn), g)
		synctest.Wait()
		require.Len(t, wait, 1, "Wait waits: %s", name)
		require.Equal(t, ErrDeadlock, <-wait, name)
	}
}

func TestWaitInFnWouldWaitForFn(t *testing.T) {
	for name, call := range contextKinds {
		t.Run(name, func(t *testing.T) {
			withAndWithoutOwner(t, "other", func(t *testing.T, g group[string, any]) {
				j := newJob()
				ctx, cancel := context.WithCancel(t.Context())
				ended := call(ctx, g, j.run)
				fn := j.requireBegun(t)
				requireDeadlock(t, g, fn)
				g.Forget("key")
				requireDeadlock(t, g, fn)
				newer := goDo(g, "key", j.plain)
				j.requireBegun(t)
				requireDeadlock(t, g, fn)
				cancel() // all may have left
				requireDeadlock(t, g, fn)
				j.end <- nil
				j.end <- nil
				<-ended
				<-newer

				old := abandon(t, g)
				next := call(t.Context(), g, j.run)
				requireWaiting(t, next)
				for _, f := range inFlight(g) {
					if f.State == Abandoned {
						requireDeadlock(t, g, f.Context)
					}
				}
				old.end <- nil
				requireDeadlock(t, g, j.requireBegun(t))
				j.end <- nil
				<-next
			})
		})
	}
}

// A flight of a newer call is not the one that the context belongs to.
func TestWaitWithAContextThatHasOutlivedItsFlight(t *testing.T) {
	for name, call := range kinds {
		t.Run(name, func(t *testing.T) {
			onBoth(t, func(t *testing.T, g group[string, any]) {
				synctest.Test(t, func(t *testing.T) {
					j := newJob()
					call(t.Context(), g, j.run)
					fn := j.requireBegun(t)
					j.end <- nil
					synctest.Wait()
					assert.NoError(t, g.Wait(fn), "at rest")

					newer := call(t.Context(), g, j.run)
					j.requireBegun(t)
					wait := goWait(fn, g)
					requireWaiting(t, newer)
					require.Empty(t, wait)
					j.end <- 1
					assert.NoError(t, <-wait)
					assert.Equal(t, outcome{val: 1}, <-newer)

					old := abandon(t, g)
					next := call(t.Context(), g, j.run)
					wait = goWait(fn, g)
					requireWaiting(t, next)
					require.Empty(t, wait)
					old.end <- nil
					j.requireBegun(t)
					require.Empty(t, wait)
					j.end <- nil
					assert.NoError(t, <-wait)
				})
			})
		})
	}
}

func TestWaitWithAContextOfAnotherGroup(t *testing.T) {
	onBoth(t, func(t *testing.T, g group[string, any]) {
		synctest.Test(t, func(t *testing.T) {
			inOther, j := newJob(), newJob()
			other := doContext(t.Context(), new(Group), inOther.run)
			fn := inOther.requireBegun(t)
			flight := doContext(t.Context(), g, j.run)
			j.requireBegun(t)
			wait := goWait(fn, g)
			requireWaiting(t, flight, other)
			require.Empty(t, wait)
			j.end <- nil
			assert.NoError(t, <-wait)
			assert.NoError(t, g.Wait(fn))
			inOther.end <- nil
		})
	})
}

// keysOfShards returns a key of each shard.
func keysOfShards(s *Sharded) (keys [shards]string) {
	byShard := make(map[*Group]string)
	for i := 0; len(byShard) < shards; i++ {
		byShard[s.of(strconv.Itoa(i))] = strconv.Itoa(i)
	}
	for i, g := range s.all() {
		keys[i] = byShard[g]
	}
	return keys
}

func TestInFlightAndWaitSeeEveryShard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s Sharded
		keys := keysOfShards(&s)
		for _, key := range keys {
			gate := make(chan struct{})
			s.DoChan(key, behind(gate, value(nil)))
			wait := goWait(t.Context(), &s)
			ctx, cancel := context.WithCancel(t.Context())
			givesUp := goWait(ctx, &s)
			synctest.Wait()
			require.Empty(t, wait)
			require.Empty(t, givesUp)
			require.Equal(t, []Flight{{Key: key, Callers: 1}}, s.InFlight())
			cancel()
			require.Equal(t, context.Canceled, <-givesUp)
			close(gate)
			require.NoError(t, <-wait)
		}

		gates := make(map[string]chan struct{})
		var flights []Flight
		for _, key := range keys {
			gates[key] = make(chan struct{})
			s.DoChan(key, behind(gates[key], value(nil)))
			flights = append(flights, Flight{Key: key, Callers: 1})
		}
		require.ElementsMatch(t, flights, s.InFlight())
		wait := goWait(t.Context(), &s)
		for _, gate := range gates {
			synctest.Wait()
			require.Empty(t, wait)
			close(gate)
		}
		assert.NoError(t, <-wait)
		requireRest(t, &s)
	})
}

// Wait begins with the shard of the flight that it is made in, and goes round.
func TestWaitInFnOfEveryShard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s Sharded
		keys := keysOfShards(&s)
		var fns [shards]context.Context
		gate := make(chan struct{})
		for i, key := range keys {
			s.DoChanContext(t.Context(), key, func(ctx context.Context) (any, error) {
				fns[i] = ctx
				<-gate
				return nil, nil
			})
		}
		synctest.Wait()
		for _, fn := range fns {
			requireDeadlock(t, &s, fn)
		}
		close(gate)
		synctest.Wait()
		for i, fn := range fns {
			for _, key := range []string{keys[0], keys[(i+shards-1)%shards], keys[(i+1)%shards], keys[shards-1]} {
				gate := make(chan struct{})
				s.DoChan(key, behind(gate, value(nil)))
				wait := goWait(fn, &s)
				synctest.Wait()
				require.Empty(t, wait)
				close(gate)
				require.NoError(t, <-wait)
			}
		}
	})
}

func TestState(t *testing.T) {
	assert.Equal(t, "flying", Flying.String())
	assert.Equal(t, "forgotten", Forgotten.String())
	assert.Equal(t, "abandoned", Abandoned.String())
	assert.Equal(t, "waiting", Waiting.String())
	assert.Equal(t, "State(200)", State(200).String())
}
