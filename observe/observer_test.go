package observe

import (
	"context"
	"errors"
	"math"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/actorflight/singleflight"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// ./conformance tests that the library's promises are kept. The tests here are of what
// package observe adds.

var errFn = errors.New("fn failed")

// An observed is an observed group of either type.
type observed[K comparable, V any] interface {
	group[K, V]
	Observed
	Forget(K)
	Wait(context.Context) error
	drop()
}

func onBoth[K comparable, V any](t *testing.T, test func(*testing.T, observed[K, V])) {
	t.Run("GroupOf", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) { test(t, new(GroupOf[K, V])) })
	})
	t.Run("ShardedOf", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) { test(t, new(ShardedOf[K, V])) })
	})
}

// counts are the counters of a Stats, without the histogram.
type counts struct {
	Calls, Flights, Left, Outlived, Refused uint64
	Failures                                Failures
}

func counted(g Observed) counts {
	s := g.Stats()
	return counts{s.Calls, s.Flights, s.Left, s.Outlived, s.Refused, s.Failures}
}

// spared returns the calls that were spared.
func spared(g Observed) uint64 {
	s := g.Stats()
	return s.Spared()
}

// drop drops the list of flights, so that the next one is of now.
func (g *GroupOf[K, V]) drop()   { g.observer.looks.latest.Store(nil) }
func (s *ShardedOf[K, V]) drop() { s.observer.looks.latest.Store(nil) }

// now returns the Stats of a group, with what is in flight now.
func now(g interface {
	Observed
	drop()
},
) Stats {
	g.drop()
	return g.Stats()
}

// plain calls f in a goroutine that may panic or exit.
func plain(f func()) {
	go func() {
		defer func() { _ = recover() }()
		f()
	}()
}

// kinds are kinds of calls.
type kinds map[string]func(ctx context.Context, g observed[string, int], fn func() (int, error))

// with runs test with each kind of call. panics says whether fn may panic, as it must not
// with a channel.
func (k kinds) with(t *testing.T, test func(t *testing.T, g observed[string, int], panics bool, call func(func() (int, error)))) {
	for name, call := range k {
		t.Run(name, func(t *testing.T) {
			onBoth(t, func(t *testing.T, g observed[string, int]) {
				test(t, g, name[:min(6, len(name))] != "DoChan", func(fn func() (int, error)) { call(t.Context(), g, fn) })
			})
		})
	}
}

var (
	// calls join a flight in progress.
	calls = kinds{
		"Do": func(_ context.Context, g observed[string, int], fn func() (int, error)) {
			plain(func() { g.Do("key", fn) })
		},
		"DoChan": func(_ context.Context, g observed[string, int], fn func() (int, error)) { g.DoChan("key", fn) },
		"DoContext": func(ctx context.Context, g observed[string, int], fn func() (int, error)) {
			plain(func() { g.DoContext(ctx, "key", func(context.Context) (int, error) { return fn() }) })
		},
		"DoContext that never leaves": func(_ context.Context, g observed[string, int], fn func() (int, error)) {
			plain(func() {
				g.DoContext(context.Background(), "key", func(context.Context) (int, error) { return fn() })
			})
		},
		"DoChanContext": func(ctx context.Context, g observed[string, int], fn func() (int, error)) {
			g.DoChanContext(ctx, "key", func(context.Context) (int, error) { return fn() })
		},
	}

	// freshCalls join no flight that has begun.
	freshCalls = kinds{
		"DoFresh": func(ctx context.Context, g observed[string, int], fn func() (int, error)) {
			plain(func() { g.DoFresh(ctx, "key", func(context.Context) (int, error) { return fn() }) })
		},
		"DoFresh that never leaves": func(_ context.Context, g observed[string, int], fn func() (int, error)) {
			plain(func() {
				g.DoFresh(context.Background(), "key", func(context.Context) (int, error) { return fn() })
			})
		},
		"DoChanFresh": func(ctx context.Context, g observed[string, int], fn func() (int, error)) {
			g.DoChanFresh(ctx, "key", func(context.Context) (int, error) { return fn() })
		},
		"DoChanFresh that never leaves": func(_ context.Context, g observed[string, int], fn func() (int, error)) {
			g.DoChanFresh(context.Background(), "key", func(context.Context) (int, error) { return fn() })
		},
	}
)

func never() (int, error) { panic("this fn must not be called") }

// ways are how fn ends, and what that counts as.
var ways = []struct {
	fn    func() (int, error)
	count func(*counts)
}{
	{func() (int, error) { return 1, nil }, func(*counts) {}},
	{func() (int, error) { return 1, errFn }, func(r *counts) { r.Failures.Error++ }},
	{func() (int, error) { return 1, context.Canceled }, func(r *counts) { r.Failures.Error++ }},
	{func() (int, error) { return 1, singleflight.ErrDeadlock }, func(r *counts) { r.Failures.Error++ }},
	{func() (int, error) { runtime.Goexit(); return 0, nil }, func(r *counts) { r.Failures.Goexit++ }},
	{func() (int, error) { defer panic(1); runtime.Goexit(); return 0, nil }, func(r *counts) { r.Failures.Goexit++ }},
	{func() (int, error) { defer deep(300); runtime.Goexit(); return 0, nil }, func(r *counts) { r.Failures.Goexit++ }},
	{func() (int, error) { panic(1) }, func(r *counts) { r.Failures.Panic++ }},
	{func() (int, error) { panic(nil) }, func(r *counts) { r.Failures.Panic++ }},
	{func() (int, error) { return deep(300) }, func(r *counts) { r.Failures.Panic++ }},
}

// inEachWay runs test with each way in which fn ends, for calls that join and that do not.
func inEachWay(panics bool, test func(joining int, fn func() (int, error), count func(*counts))) {
	for _, way := range ways {
		var counted counts
		if way.count(&counted); !panics && counted.Failures.Panic > 0 {
			continue
		}
		test(0, way.fn, way.count)
		test(3, way.fn, way.count)
	}
}

func TestCallsAndFlightsAreCounted(t *testing.T) {
	calls.with(t, func(t *testing.T, g observed[string, int], panics bool, call func(func() (int, error))) {
		inEachWay(panics, func(joining int, fn func() (int, error), count func(*counts)) {
			want := counted(g)
			gate := make(chan struct{})
			call(func() (int, error) { <-gate; return fn() })
			synctest.Wait()
			for range joining {
				call(never)
			}
			synctest.Wait()
			close(gate)
			synctest.Wait()
			want.Calls += 1 + uint64(joining)
			want.Flights++
			count(&want)
			require.Equal(t, want, counted(g))
			require.Equal(t, want.Calls-want.Flights, spared(g))
		})
	})
}

// Fresh calls wait for the flight in progress, which they do not join, and share the next.
func TestFreshCallsAreCounted(t *testing.T) {
	freshCalls.with(t, func(t *testing.T, g observed[string, int], panics bool, call func(func() (int, error))) {
		inEachWay(panics, func(joining int, fn func() (int, error), count func(*counts)) {
			want := counted(g)
			first, gate := make(chan struct{}), make(chan struct{})
			call(func() (int, error) { <-first; return 1, nil })
			synctest.Wait()
			call(func() (int, error) { <-gate; return fn() })
			synctest.Wait()
			for range joining {
				call(never)
			}
			synctest.Wait()
			want.Calls += 2 + uint64(joining)
			want.Flights++
			assert.Equal(t, want, counted(g), "the next flight has not begun")
			s := now(g)
			assert.Equal(t, []int{1, 1, 2 + joining}, []int{s.InFlight, s.Next, s.Callers})

			close(first)
			synctest.Wait()
			want.Flights++
			assert.Equal(t, want, counted(g))
			close(gate)
			synctest.Wait()
			count(&want)
			require.Equal(t, want, counted(g))
			require.Equal(t, want.Calls-want.Flights, spared(g))
		})
	})
}

// While a fresh call waits, other calls join the flight in progress.
func TestOthersJoinWhileAFreshCallWaits(t *testing.T) {
	calls.with(t, func(t *testing.T, g observed[string, int], _ bool, call func(func() (int, error))) {
		first, next := make(chan struct{}), make(chan struct{})
		call(func() (int, error) { <-first; return 1, nil })
		synctest.Wait()
		g.DoChanFresh(t.Context(), "key", func(context.Context) (int, error) { <-next; return 2, nil })
		call(never)
		synctest.Wait()
		assert.Equal(t, counts{Calls: 3, Flights: 1}, counted(g))
		assert.Equal(t, uint64(2), spared(g), "a fresh call that waits is among them")
		close(first)
		synctest.Wait()
		assert.Equal(t, counts{Calls: 3, Flights: 2}, counted(g))
		assert.Equal(t, uint64(1), spared(g))
		close(next)
	})
}

func TestFreshCallsThatLeaveAreCounted(t *testing.T) {
	onBoth(t, func(t *testing.T, g observed[string, int]) {
		withContext := func(context.Context) (int, error) { return never() }
		done, cancel := context.WithCancel(t.Context())
		cancel()
		_, err, _ := g.DoFresh(done, "key", withContext)
		assert.Equal(t, context.Canceled, err)
		assert.Equal(t, singleflight.ResultOf[int]{Err: context.Canceled}, <-g.DoChanFresh(done, "key", withContext))
		want := counts{Calls: 2, Left: 2}
		assert.Equal(t, want, counted(g))

		// If all leave, their flight never begins.
		first, next := make(chan struct{}), make(chan struct{})
		present := g.DoChan("key", func() (int, error) { <-first; return 1, nil })
		synctest.Wait()
		fresh := func(fn func(context.Context) (int, error)) (leave func()) {
			ctx, cancel := context.WithCancel(t.Context())
			result := g.DoChanFresh(ctx, "key", fn)
			synctest.Wait()
			return func() {
				cancel()
				assert.Equal(t, singleflight.ResultOf[int]{Err: context.Canceled}, <-result)
			}
		}
		fresh(withContext)()
		want.Calls, want.Flights, want.Left = 4, 1, 3
		assert.Equal(t, want, counted(g))
		assert.Zero(t, now(g).Next)

		// The flight outlives a call whose fn it runs, but none that has left before.
		leave := fresh(withContext)
		leaveLater := fresh(func(context.Context) (int, error) { <-next; return 2, nil })
		stays := g.DoChanFresh(t.Context(), "key", withContext)
		leave()
		close(first)
		assert.Equal(t, 1, (<-present).Val)
		synctest.Wait()
		want.Calls, want.Flights, want.Left = 7, 2, 4
		assert.Equal(t, want, counted(g))
		leaveLater()
		want.Left, want.Outlived = 5, 1
		assert.Equal(t, want, counted(g))
		close(next)
		assert.Equal(t, singleflight.ResultOf[int]{Val: 2}, <-stays)
		synctest.Wait()
		assert.Equal(t, want, counted(g))
		assert.Equal(t, uint64(1), spared(g))
	})
}

// The time of a fresh call's flight is without that for which the call has waited.
func TestWaitOfAFreshCallIsNoTimeOfItsFlight(t *testing.T) {
	onBoth(t, func(t *testing.T, g observed[string, int]) {
		g.DoChan("key", func() (int, error) { time.Sleep(5 * time.Second); return 1, nil })
		time.Sleep(time.Second)
		fresh := g.DoChanFresh(t.Context(), "key", func(context.Context) (int, error) { time.Sleep(2 * time.Second); return 2, nil })
		time.Sleep(3 * time.Second)
		assert.Equal(t, map[string]row{
			"key flying":  {Key: "key", State: "flying", Callers: 1, Age: age(4 * time.Second)},
			"key waiting": {Key: "key", State: "waiting", Callers: 1, waits: true},
		}, rowsByKey(g))
		assert.Equal(t, 4*time.Second, now(g).Oldest)
		time.Sleep(2 * time.Second)
		assert.Equal(t, map[string]row{
			"key flying": {Key: "key", State: "flying", Callers: 1, Age: age(time.Second)},
		}, rowsByKey(g))
		<-fresh
		d := g.Stats().Durations
		assert.Equal(t, 7*time.Second, d.Sum)
		assert.Equal(t, map[time.Duration]uint64{2500 * time.Millisecond: 1, 5 * time.Second: 1}, buckets(d))
	})
}

// A call may be made, and its fn panic, while the goroutine exits.
func TestPanicDuringGoexit(t *testing.T) {
	onBoth(t, func(t *testing.T, g observed[string, int]) {
		go func() {
			defer func() {
				assert.Panics(t, func() { g.Do("key", func() (int, error) { panic(1) }) })
			}()
			runtime.Goexit()
		}()
		synctest.Wait()
		assert.Equal(t, counts{Calls: 1, Flights: 1, Failures: Failures{Panic: 1}}, counted(g))
	})
}

func deep(n int) (int, error) {
	if n == 0 {
		panic("deep")
	}
	defer func() {}()
	return deep(n - 1)
}

// Calls count when they are made, whatever becomes of them.
func TestCallsCountAtOnce(t *testing.T) {
	calls.with(t, func(t *testing.T, g observed[string, int], _ bool, call func(func() (int, error))) {
		end := abandon(t, g)
		call(func() (int, error) { return 1, nil })
		synctest.Wait()
		call(never)
		synctest.Wait()
		assert.Equal(t, counts{Calls: 3, Flights: 1, Left: 1, Outlived: 1}, counted(g))
		assert.Equal(t, uint64(2), spared(g), "one of them will begin a flight")
		close(end)
		synctest.Wait()
		assert.Equal(t, counts{Calls: 3, Flights: 2, Left: 1, Outlived: 1, Failures: Failures{Abandoned: 1}}, counted(g))
		assert.Equal(t, uint64(1), spared(g))
	})
}

// abandon makes an abandoned flight of "key", which ends when end is closed.
func abandon(t *testing.T, g observed[string, int]) (end chan struct{}) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	end = make(chan struct{})
	g.DoChanContext(ctx, "key", func(context.Context) (int, error) { <-end; return 1, nil })
	synctest.Wait()
	cancel()
	synctest.Wait()
	return end
}

func TestLeavingIsCounted(t *testing.T) {
	onBoth(t, func(t *testing.T, g observed[string, int]) {
		end := abandon(t, g)
		assert.Equal(t, counts{Calls: 1, Flights: 1, Left: 1, Outlived: 1}, counted(g))

		// One call leaves before its flight begins, and the context of another is done
		// before the call.
		ctx, cancel := context.WithCancel(t.Context())
		withContext := func(context.Context) (int, error) { return never() }
		left := g.DoChanContext(ctx, "key", withContext)
		cancel()
		assert.Equal(t, singleflight.ResultOf[int]{Err: context.Canceled}, <-left)
		_, err, _ := g.DoContext(ctx, "key", withContext)
		assert.Equal(t, context.Canceled, err)
		assert.Equal(t, counts{Calls: 3, Flights: 1, Left: 3, Outlived: 1}, counted(g))

		close(end)
		synctest.Wait()
		assert.Equal(t, counts{Calls: 3, Flights: 1, Left: 3, Outlived: 1, Failures: Failures{Abandoned: 1}}, counted(g))
	})
}

// An ended is a context that has ended, and does not say so in Err.
type ended struct{ context.Context }

func (ended) Err() error { return nil }

func TestLeavingIsCountedIfErrIsNil(t *testing.T) {
	onBoth(t, func(t *testing.T, g observed[string, int]) {
		ctx, cancel := context.WithCancel(t.Context())
		end := make(chan struct{})
		fn := func(context.Context) (int, error) { <-end; return 1, nil }
		lead := g.DoChanContext(ended{ctx}, "key", fn)
		join := g.DoChanContext(ended{ctx}, "key", fn)
		synctest.Wait()
		cancel()
		assert.Equal(t, singleflight.ResultOf[int]{Err: context.Canceled}, <-lead)
		assert.Equal(t, singleflight.ResultOf[int]{Err: context.Canceled}, <-join)
		close(end)
		synctest.Wait()
		assert.Equal(t, counts{Calls: 2, Flights: 1, Left: 2, Outlived: 1, Failures: Failures{Abandoned: 1}}, counted(g))
	})
}

// An error that fn returns is not mistaken for that of a call that leaves.
func TestCanceledReturnedByFnIsNotCountedAsLeaving(t *testing.T) {
	onBoth(t, func(t *testing.T, g observed[string, int]) {
		_, err, _ := g.DoContext(t.Context(), "key", func(context.Context) (int, error) { return 0, context.Canceled })
		assert.Equal(t, context.Canceled, err)
		assert.Equal(t, counts{Calls: 1, Flights: 1, Failures: Failures{Error: 1}}, counted(g))
	})
}

func TestWaitInFnIsRefused(t *testing.T) {
	onBoth(t, func(t *testing.T, g observed[string, int]) {
		_, err, _ := g.DoContext(t.Context(), "key", func(ctx context.Context) (int, error) {
			return 0, g.Wait(ctx)
		})
		assert.Equal(t, singleflight.ErrDeadlock, err)
		assert.NoError(t, g.Wait(t.Context()))
	})
}

// Other calls get the result of a flight whose first call has left.
func TestOutlivedFlight(t *testing.T) {
	onBoth(t, func(t *testing.T, g observed[string, int]) {
		ctx, cancel := context.WithCancel(t.Context())
		gate := make(chan struct{})
		g.DoChanContext(ctx, "key", func(context.Context) (int, error) { <-gate; return 1, nil })
		stays := g.DoChan("key", never)
		cancel()
		synctest.Wait()
		close(gate)
		assert.Equal(t, 1, (<-stays).Val)
		synctest.Wait()
		assert.Equal(t, counts{Calls: 2, Flights: 1, Left: 1, Outlived: 1}, counted(g))
	})
}

func TestRefusedCallsAreCounted(t *testing.T) {
	onBoth(t, func(t *testing.T, g observed[string, int]) {
		_, err, _ := g.DoContext(t.Context(), "key", func(ctx context.Context) (int, error) {
			again := func(context.Context) (int, error) { return never() }
			r := <-g.DoChanContext(ctx, "key", again)
			assert.Equal(t, singleflight.ErrDeadlock, r.Err)
			v, err, _ := g.DoContext(ctx, "key", again)
			return v, err
		})
		require.ErrorIs(t, err, singleflight.ErrDeadlock)
		assert.Equal(t, counts{Calls: 3, Flights: 1, Refused: 2, Failures: Failures{Error: 1}}, counted(g))
	})
}

// A call that alone gets the ErrDeadlock that the fn of another has returned is not refused.
func TestErrDeadlockOfFnIsNotCountedAsRefused(t *testing.T) {
	onBoth(t, func(t *testing.T, g observed[string, int]) {
		ctx, leave := context.WithCancel(t.Context())
		gate := make(chan struct{})
		g.DoChanContext(ctx, "key", func(context.Context) (int, error) { <-gate; return 0, singleflight.ErrDeadlock })
		synctest.Wait()
		stays := g.DoChanContext(t.Context(), "key", func(context.Context) (int, error) { return never() })
		leave()
		synctest.Wait()
		close(gate)
		assert.Equal(t, singleflight.ResultOf[int]{Err: singleflight.ErrDeadlock}, <-stays)
		assert.Equal(t, counts{Calls: 2, Flights: 1, Left: 1, Outlived: 1, Failures: Failures{Error: 1}}, counted(g))
	})
}

// Nor is a call that is made in an fn, if its own fn returns ErrDeadlock, or that of a
// flight that it shares.
func TestErrDeadlockInFnIsNotCountedAsRefused(t *testing.T) {
	onBoth(t, func(t *testing.T, g observed[string, int]) {
		gate := make(chan struct{})
		g.DoChan("shared", func() (int, error) { <-gate; return 0, singleflight.ErrDeadlock })
		go g.DoContext(t.Context(), "key", func(ctx context.Context) (int, error) {
			g.DoContext(ctx, "own", func(context.Context) (int, error) { return 0, singleflight.ErrDeadlock })
			g.DoContext(ctx, "shared", func(context.Context) (int, error) { return never() })
			return 1, nil
		})
		synctest.Wait()
		close(gate)
		synctest.Wait()
		assert.Equal(t, counts{Calls: 4, Flights: 3, Failures: Failures{Error: 2}}, counted(g))
	})
}

func TestRefusedFreshCallsAreCounted(t *testing.T) {
	onBoth(t, func(t *testing.T, g observed[string, int]) {
		_, err, _ := g.DoFresh(t.Context(), "key", func(ctx context.Context) (int, error) {
			again := func(context.Context) (int, error) { return never() }
			r := <-g.DoChanFresh(context.WithoutCancel(ctx), "key", again)
			assert.Equal(t, singleflight.ErrDeadlock, r.Err)
			v, err, _ := g.DoFresh(ctx, "key", again)
			return v, err
		})
		require.ErrorIs(t, err, singleflight.ErrDeadlock)
		assert.Equal(t, counts{Calls: 3, Flights: 1, Refused: 2, Failures: Failures{Error: 1}}, counted(g))
	})
}

// A function that has itself executed once more is another flight.
func TestRerunIsCounted(t *testing.T) {
	onBoth(t, func(t *testing.T, g observed[string, int]) {
		again := func(context.Context) (int, error) { return 2, nil }
		var rerun <-chan singleflight.ResultOf[int]
		v, err, shared := g.DoFresh(t.Context(), "key", func(context.Context) (int, error) {
			rerun = g.DoChanFresh(context.Background(), "key", again)
			return 1, nil
		})
		require.NoError(t, err)
		assert.Equal(t, 1, v)
		assert.False(t, shared)
		assert.Equal(t, singleflight.ResultOf[int]{Val: 2}, <-rerun)
		assert.Equal(t, counts{Calls: 2, Flights: 2}, counted(g))
	})
}

// Calls that panic because of their arguments do not count.
func TestMistakesAreNotCounted(t *testing.T) {
	onBoth(t, func(t *testing.T, g observed[any, int]) {
		fn := func() (int, error) { return never() }
		withContext := func(context.Context) (int, error) { return never() }
		for _, mistake := range []func(){
			func() { g.Do("key", nil) },
			func() { g.DoChan("key", nil) },
			func() { g.DoContext(t.Context(), "key", nil) },
			func() { g.DoChanContext(t.Context(), "key", nil) },
			func() { g.DoFresh(t.Context(), "key", nil) },
			func() { g.DoChanFresh(t.Context(), "key", nil) },
			func() { g.DoContext(nil, "key", withContext) },     //nolint:staticcheck // the mistake
			func() { g.DoChanContext(nil, "key", withContext) }, //nolint:staticcheck // the mistake
			func() { g.DoFresh(nil, "key", withContext) },       //nolint:staticcheck // the mistake
			func() { g.DoChanFresh(nil, "key", withContext) },   //nolint:staticcheck // the mistake
			func() { g.Do([]int{}, fn) },
			func() { g.DoChan([]int{}, fn) },
			func() { g.DoContext(t.Context(), []int{}, withContext) },
			func() { g.DoChanContext(t.Context(), []int{}, withContext) },
			func() { g.DoFresh(t.Context(), []int{}, withContext) },
			func() { g.DoChanFresh(t.Context(), []int{}, withContext) },
		} {
			assert.Panics(t, mistake)
		}
		assert.Zero(t, counted(g))
	})
}

// A key that does not equal itself is never joined, and InFlight does not show it.
func TestNaN(t *testing.T) {
	onBoth(t, func(t *testing.T, g observed[float64, int]) {
		gate := make(chan struct{})
		for range 3 {
			g.DoChan(math.NaN(), func() (int, error) { <-gate; return 1, nil })
			g.DoChanFresh(t.Context(), math.NaN(), func(context.Context) (int, error) { <-gate; return 1, nil })
		}
		close(gate)
		synctest.Wait()
		assert.Equal(t, counts{Calls: 6, Flights: 6}, counted(g))
	})
}

type valueKey struct{}

// A user's InFlight shows what the library's would: the record is hidden.
func TestInFlightShowsFnsContext(t *testing.T) {
	onBoth(t, func(t *testing.T, g observed[string, int]) {
		gate := make(chan struct{})
		fn := func() (int, error) { <-gate; return 1, nil }
		got, gotFresh := make(chan context.Context, 1), make(chan context.Context, 1)
		go g.Do("Do", fn)
		g.DoChan("DoChan", fn)
		ctx := context.WithValue(context.Background(), valueKey{}, "value")
		go g.DoContext(ctx, "DoContext", func(ctx context.Context) (int, error) { got <- ctx; return fn() })
		go g.DoFresh(ctx, "DoFresh", func(ctx context.Context) (int, error) { gotFresh <- ctx; return fn() })
		synctest.Wait()
		go g.DoFresh(ctx, "DoContext", func(context.Context) (int, error) { return 1, nil })
		synctest.Wait()
		contexts := make(map[string]context.Context)
		for _, f := range g.InFlight() {
			contexts[f.Key+" "+f.State.String()] = f.Context
		}
		fnCtx, freshCtx := <-got, <-gotFresh
		assert.Equal(t, map[string]context.Context{
			"Do flying": nil, "DoChan flying": nil, "DoContext flying": fnCtx, "DoFresh flying": freshCtx, "DoContext waiting": nil,
		}, contexts)
		assert.Equal(t, "value", fnCtx.Value(valueKey{}))
		assert.Equal(t, "value", freshCtx.Value(valueKey{}))
		close(gate)
	})
}

// rowsByKey returns the rows of a group, without the time of day.
func rowsByKey(g observed[string, int]) map[string]row {
	g.drop()
	rows := make(map[string]row)
	for _, r := range reportOf(g).rows {
		r.Since = nil
		rows[r.Key+" "+r.State] = r
	}
	return rows
}

// The age is that of the flight, not of the call, nor of a flight around it.
func TestAges(t *testing.T) {
	onBoth(t, func(t *testing.T, g observed[string, int]) {
		gate := make(chan struct{})
		fn := func() (int, error) { <-gate; return 1, nil }
		withContext := func(context.Context) (int, error) { return fn() }
		go g.DoContext(t.Context(), "outer", func(ctx context.Context) (int, error) {
			time.Sleep(time.Second)
			v, err, _ := g.DoContext(ctx, "inner", withContext)
			return v, err
		})
		time.Sleep(2 * time.Second)
		go g.Do("Do", fn)
		g.DoChan("DoChan", fn)
		time.Sleep(3 * time.Second)
		g.DoChan("DoChan", never)
		rows := rowsByKey(g)
		assert.Equal(t, map[string]row{
			"outer flying":  {Key: "outer", State: "flying", Callers: 1, Age: age(5 * time.Second)},
			"inner flying":  {Key: "inner", State: "flying", Callers: 1, Age: age(4 * time.Second)},
			"Do flying":     {Key: "Do", State: "flying", Callers: 1, Age: age(3 * time.Second)},
			"DoChan flying": {Key: "DoChan", State: "flying", Callers: 2, Age: age(3 * time.Second)},
		}, rows)
		s := now(g)
		assert.Equal(t, 4, s.InFlight)
		assert.Equal(t, 5, s.Callers)
		assert.Equal(t, 5*time.Second, s.Oldest)
		close(gate)
	})
}

// A forgotten flight is older than the flight that has its key now.
func TestAgesOfForgottenFlights(t *testing.T) {
	onBoth(t, func(t *testing.T, g observed[string, int]) {
		gate := make(chan struct{})
		fn := func() (int, error) { <-gate; return 1, nil }
		g.DoChan("key", fn)
		time.Sleep(time.Second)
		g.Forget("key")
		first := make(chan struct{})
		second := g.DoChan("key", func() (int, error) { <-first; return 1, nil })
		time.Sleep(time.Second)
		assert.Equal(t, map[string]row{
			"key forgotten": {Key: "key", State: "forgotten", Callers: 1, Age: age(2 * time.Second)},
			"key flying":    {Key: "key", State: "flying", Callers: 1, Age: age(time.Second)},
		}, rowsByKey(g))

		close(first)
		<-second
		synctest.Wait()
		go g.Do("key", fn)
		time.Sleep(time.Second)
		assert.Equal(t, map[string]row{
			"key forgotten": {Key: "key", State: "forgotten", Callers: 1, Age: age(3 * time.Second)},
			"key flying":    {Key: "key", State: "flying", Callers: 1, Age: age(time.Second)},
		}, rowsByKey(g))
		close(gate)
	})
}

// The flight behind an abandoned one has no age.
func TestAbandonedAndWaiting(t *testing.T) {
	onBoth(t, func(t *testing.T, g observed[string, int]) {
		end := abandon(t, g)
		time.Sleep(time.Second)
		g.DoChan("key", func() (int, error) { return 1, nil })
		r := reportOf(g)
		assert.Equal(t, 1, r.InFlight)
		assert.Equal(t, 1, r.Next)
		assert.Equal(t, 1, r.Callers)
		assert.Equal(t, map[string]row{
			"key abandoned": {Key: "key", State: "abandoned", Age: age(time.Second)},
			"key waiting":   {Key: "key", State: "waiting", Callers: 1, waits: true},
		}, rowsByKey(g))
		assert.NotNil(t, r.rows[0].Since)
		assert.Nil(t, r.rows[1].Since)
		close(end)
	})
}

// buckets returns the buckets that are not empty, by their bounds.
func buckets(h Histogram) map[time.Duration]uint64 {
	flights := make(map[time.Duration]uint64)
	for i, n := range h.Counts {
		if n > 0 {
			flights[append(h.Bounds, math.MaxInt64)[i]] = n
		}
	}
	return flights
}

func TestDurations(t *testing.T) {
	onBoth(t, func(t *testing.T, g observed[string, int]) {
		for _, d := range []time.Duration{0, time.Second, time.Second + 1, time.Hour} {
			g.Do("key", func() (int, error) { time.Sleep(d); return 1, nil })
		}
		d := g.Stats().Durations
		assert.Equal(t, time.Hour+2*time.Second+1, d.Sum)
		assert.Equal(t, uint64(4), d.Count())
		assert.Equal(t, map[time.Duration]uint64{
			100 * time.Microsecond: 1, time.Second: 1, 2500 * time.Millisecond: 1, math.MaxInt64: 1,
		}, buckets(d))
	})
}

// Every kind of call counts.
func TestKeysCalledMost(t *testing.T) {
	calls.with(t, func(t *testing.T, g observed[string, int], _ bool, call func(func() (int, error))) {
		for range 2 {
			gate := make(chan struct{})
			call(func() (int, error) { <-gate; return 1, nil })
			synctest.Wait()
			for range 4 {
				call(never)
			}
			synctest.Wait()
			close(gate)
			synctest.Wait()
		}
		g.Do("once", func() (int, error) { return 1, nil })
		<-g.DoChan("once, too", func() (int, error) { return 1, nil })
		assert.Equal(t, []hot{{Key: "key", Calls: 10, Flights: 2}}, reportOf(g).top)
		time.Sleep(halfLife)
		assert.Equal(t, []hot{{Key: "key", Calls: 5, Flights: 1}}, reportOf(g).top)
		time.Sleep(3 * halfLife)
		assert.Empty(t, reportOf(g).top)
	})
}

// Keys that are called once are not kept.
func TestLoneCallsLeaveNoKey(t *testing.T) {
	var g GroupOf[string, int]
	fn := func() (int, error) { return 1, nil }
	g.Do("Do", fn)
	<-g.DoChan("DoChan", fn)
	for i := range g.observer.top {
		assert.Nil(t, g.observer.top[i].name.Load())
	}
}

// If two keys share a place, the one that is called more has it.
func TestPlaceOfTwoKeys(t *testing.T) {
	var keys top[string]
	p := keys.place(1)
	require.Same(t, p, keys.place(1+uint64(len(keys))))
	call := func(hash uint64, key string) {
		p.come(hash)
		p.begin(hash)
		p.end(hash, key)
	}
	for range 10 {
		call(1, "more")
		call(1, "more")
		call(2, "less")
	}
	assert.Equal(t, []hotKey[string]{{"more", 20, 20}}, keys.most(maxTop))
	for range 11 { // which makes 21 in all
		call(2, "less")
	}
	assert.Empty(t, keys.most(maxTop), "called once since it has the place")
	call(2, "less")
	assert.Equal(t, []hotKey[string]{{"less", 2, 2}}, keys.most(maxTop))
	call(1, "more")
	keys.halve()
	assert.Equal(t, []int64{1, 1, 0}, []int64{p.calls.Load(), p.flights.Load(), p.rivals.Load()})
}

// The record of a Do is used again, but it is not in use twice.
func TestPlainCallsAreUsedAgain(t *testing.T) {
	onBoth(t, func(t *testing.T, g observed[string, int]) {
		for range 3 {
			end := make(chan struct{})
			for _, key := range []string{"a", "b"} {
				plain(func() { g.Do(key, func() (int, error) { <-end; panic(key) }) })
				time.Sleep(time.Second)
			}
			assert.Equal(t, map[string]row{
				"a flying": {Key: "a", State: "flying", Callers: 1, Age: age(2 * time.Second)},
				"b flying": {Key: "b", State: "flying", Callers: 1, Age: age(time.Second)},
			}, rowsByKey(g))
			close(end)
			synctest.Wait()
		}
		assert.Equal(t, counts{Calls: 6, Flights: 6, Failures: Failures{Panic: 6}}, counted(g))
	})
}

// What is used again has nothing of the call before.
func TestPlainCallsKeepNothing(t *testing.T) {
	var g GroupOf[string, int]
	fn := func() (int, error) { return 1, nil }
	var c *plainCall[string, int]
	for c == nil || c.begun.Load() == 0 { // the race detector makes a sync.Pool forget some
		g.Do("key", fn)
		c, _ = g.observer.plainCalls.ended.Get().(*plainCall[string, int])
	}
	assert.Empty(t, c.key)
	assert.Nil(t, c.fn)
	g.observer.plainCalls.ended.Put(c)
	assert.Zero(t, g.observer.plain("key", fn).begun.Load(), "the next flight has not begun")
}

// All who look within a second share one list.
func TestListIsShared(t *testing.T) {
	onBoth(t, func(t *testing.T, g observed[string, int]) {
		gate := make(chan struct{})
		fn := func() (int, error) { <-gate; return 1, nil }
		g.DoChan("first", fn)
		time.Sleep(5 * time.Second)
		at := time.Now()
		assert.Equal(t, 1, g.Stats().InFlight)
		g.DoChan("second", fn)
		synctest.Wait()
		time.Sleep(maxAge - 1)
		s := g.Stats()
		assert.True(t, s.At.Equal(at))
		assert.Equal(t, 1, s.InFlight)
		assert.Equal(t, 5*time.Second, s.Oldest, "then")
		assert.Equal(t, uint64(2), s.Flights, "now")
		assert.Len(t, reportOf(g).rows, 1)
		time.Sleep(time.Nanosecond)
		s = g.Stats()
		assert.True(t, s.At.Equal(at.Add(maxAge)))
		assert.Equal(t, 2, s.InFlight)
		close(gate)
		synctest.Wait()
		assert.Equal(t, 2, g.Stats().InFlight)
		time.Sleep(maxAge)
		assert.Zero(t, g.Stats().InFlight)
	})
}

// Those who look at once make one list, even while it takes long, and none is left behind.
func TestListIsMadeOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l looks[string]
		gate := make(chan struct{})
		asked := 0
		lists := make(chan *list[string], 3)
		for range cap(lists) {
			go func() {
				lists <- l.list(func() []singleflight.FlightOf[string] {
					asked++
					<-gate
					return []singleflight.FlightOf[string]{{Key: "key"}}
				})
			}()
		}
		synctest.Wait()
		close(gate)
		first := <-lists
		assert.Same(t, first, <-lists)
		assert.Same(t, first, <-lists)
		assert.Equal(t, 1, asked)
		time.Sleep(maxAge)
		synctest.Wait()
		assert.Nil(t, l.latest.Load(), "the list keeps keys and contexts")
	})
}

// A list that was made in a bubble is not shown outside it, nor the other way round.
func TestListOfAnotherClock(t *testing.T) {
	var g GroupOf[string, int]
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		g.DoChan("key", func() (int, error) { <-gate; return 1, nil })
		assert.Equal(t, 1, g.Stats().InFlight)
		close(gate)
	})
	assert.Zero(t, g.Stats().InFlight)
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		g.DoChan("key", func() (int, error) { <-gate; return 1, nil })
		assert.Equal(t, 1, g.Stats().InFlight, "the list of outside has none")
		close(gate)
	})
}
