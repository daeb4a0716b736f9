package singleflight

import (
	"context"
	"math/rand/v2"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"unsafe"
	"weak"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// lingering returns the stacks of this package's goroutines that are blocked now. An
// owner or a leader that is about to return is not. (goleak would retry for almost half
// a second.)
func lingering() (stacks []string) {
	all := make([]byte, 1<<20)
	all = all[:runtime.Stack(all, true)]
	for stack := range strings.SplitSeq(string(all), "\n\n") {
		if ours.MatchString(stack) && !busy.MatchString(stack) {
			stacks = append(stacks, stack)
		}
	}
	return stacks
}

var (
	ours = regexp.MustCompile(`(?m)^github\.com/actorflight/singleflight(/actor\.\(\*Activation|\.lead(Chan)?|\.waitOrLeave)\[`)
	busy = regexp.MustCompile(`^goroutine \d+ \[(running|runnable)`)
)

// storm makes calls of every kind, with every ending, from many goroutines. When all
// have returned, it returns the channels that nothing has received from. If callers
// leave, abandoned flights may still be in progress.
func storm(g group[string, any], callersLeave bool) (unreceived []<-chan Result) {
	const callers, calls = 32, 300
	ended, cancel := context.WithCancel(context.Background())
	cancel() // so that Wait does not block
	open := make(chan struct{})
	contexts := []context.Context{context.Background(), written{
		context.Background(), func() <-chan struct{} { return open }, func() error { return nil },
	}}
	left := make(chan (<-chan Result), callers*calls)
	var wg sync.WaitGroup
	for i := range callers {
		random := rand.New(rand.NewPCG(1, uint64(i)))
		call := func() {
			key := strconv.Itoa(random.IntN(8))
			switch ending := endings[random.IntN(len(endings))]; random.IntN(14) {
			default:
				if ending.doChan == nil {
					key = "panics " + key // which no DoChan has
				}
				g.Do(key, ending.fn)
			case 3, 4:
				if ending.doChan != nil {
					<-g.DoChan(key, ending.fn)
				}
			case 5:
				if ending.doChan != nil {
					left <- g.DoChan(key, ending.fn)
				}
			case 6:
				g.Forget(key)
			case 7:
				g.ForgetUnshared(key)
			case 8:
				g.InFlight()
			case 9:
				g.Wait(ended)
			case 10, 11, 12, 13:
				if ending.doChan == nil {
					return // or the program may crash
				}
				ctx := contexts[random.IntN(len(contexts))]
				if callersLeave && random.IntN(2) == 0 {
					ctx = endsAfterFirstCheck()
				}
				fn := func(context.Context) (any, error) { return ending.fn() }
				if random.IntN(2) == 0 {
					g.DoContext(ctx, key, fn)
				} else {
					left <- g.DoChanContext(ctx, key, fn)
				}
			}
		}
		wg.Go(func() {
			for range calls {
				done := make(chan struct{})
				go func() { // Goexit may end it
					defer close(done)
					defer func() { recover() }()
					call()
				}()
				<-done
			}
		})
	}
	wg.Wait()
	close(left)
	for results := range left {
		unreceived = append(unreceived, results)
	}
	return unreceived
}

func TestAtRestAtOnceAfterAStorm(t *testing.T) {
	// Here no time passes, and synctest.Wait lets every goroutine end that is not
	// blocked.
	t.Run("in a bubble", func(t *testing.T) {
		onBoth(t, func(t *testing.T, g group[string, any]) {
			synctest.Test(t, func(t *testing.T) {
				storm(g, true)
				synctest.Wait()
				requireRest(t, g)
				assert.Empty(t, lingering())
			})
		})
	})
	// Here a flight has landed when its channel has the result.
	t.Run("outside", func(t *testing.T) {
		onBoth(t, func(t *testing.T, g group[string, any]) {
			for range 12 {
				for _, results := range storm(g, false) {
					<-results
				}
				requireRest(t, g)
				require.Empty(t, lingering())
				for _, results := range storm(g, true) {
					<-results
				}
				require.NoError(t, g.Wait(t.Context()))
				requireRest(t, g)
				for len(lingering()) > 0 { // a leader that the owner is about to answer
					runtime.Gosched()
				}
			}
		})
	})
}

func TestAtRestWhenTheLastCallReturns(t *testing.T) {
	onBoth(t, func(t *testing.T, g group[string, any]) {
		for range 5_000 {
			results := g.DoChan("key", value(nil))
			g.Forget("key")
			<-results
			requireRest(t, g.of("key"))
		}
	})
}

// If Forget did not wait, the group would be in use until the owner got to its
// message.
func TestForgetReturnsWhenTheOwnerHasAnswered(t *testing.T) {
	withAndWithoutOwner(t, "other", func(t *testing.T, g group[string, any]) {
		gate := make(chan struct{})
		leader := g.DoChan("key", behind(gate, value(1)))
		stalled := stallOwner(t, g.of("key"))
		returned := make(chan struct{})
		go func() {
			g.Forget("key")
			close(returned)
		}()
		synctest.Wait()
		assert.False(t, receives(returned)(), "the owner has handled nothing")
		close(stalled)
		<-returned
		close(gate)
		<-leader
	})
}

// An answer that is not received blocks the owner, so the test sees what the owner
// has done before.
func TestOwnerAnswersLast(t *testing.T) {
	t.Run("done", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var g Group
			_, f := g.address.ClaimOrEnter(flight[string, any]{key: "key", turn: make(chan struct{})})
			requireOwner(t, &g)
			g.address.Leave(f).Send(done[string, any]{f})
			synctest.Wait()
			requireRest(t, &g)
			<-f.turn
		})
	})
	t.Run("forget", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var g Group
			_, f := g.address.ClaimOrEnter(flight[string, any]{key: "key", turn: make(chan struct{}, 1)})
			a, _ := g.address.Claim()
			g.address.Leave(f).Send(done[string, any]{f})
			m := &forget[string, any]{key: "key", free: make(chan bool)}
			a.Send(m)
			synctest.Wait()
			requireRest(t, &g)
			<-m.free
		})
	})
}

// The test receives each answer only after the owner has handled one more message.
func TestOwnerDoesNotWaitUntilItsAnswersAreReceived(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // it would fail if the owner waited
		var g Group
		_, alone := g.address.ClaimOrEnter(flight[string, any]{key: "other", turn: newTurn()})
		a, _ := g.address.Claim()

		lead := newCall[string, any]("key", nil)
		a.Send(do[string, any]{lead})
		requireOwner(t, &g)
		<-lead.turn

		for _, results := range []chan Result{nil, make(chan Result, 1)} {
			a, _ = g.address.Claim()
			a.Send(do[string, any]{newCall("key", results)})
			requireOwner(t, &g)
		}

		a, _ = g.address.Claim()
		a.Send(newForget[string, any]("key", false))
		requireOwner(t, &g)

		a.Send(done[string, any]{&lead.flight})
		requireOwner(t, &g)
		<-lead.turn
		lead.waiters.release() // the leader does not wait either

		a = g.address.Leave(alone)
		again, _ := g.address.Claim()
		again.Send(newList[string, any]())
		again, _ = g.address.Claim()
		again.Send(newWait[string, any]())
		again, _ = g.address.Claim()
		a.Send(done[string, any]{alone})
		again.Send(newForget[string, any]("key", false))
		synctest.Wait()
		requireRest(t, &g)
	})
}

func TestLeaksAreDetected(t *testing.T) {
	var g Group
	gate := make(chan struct{})
	results := g.DoChan("key", behind(gate, value(nil)))
	requireOwner(t, &g)
	err := goleak.Find()
	require.ErrorContains(t, err, "singleflight.lead", "the leader leaks")
	assert.ErrorContains(t, err, "actor.(*Activation", "the owner leaks")
	assert.Len(t, lingering(), 2)
	close(gate)
	<-results
}

// A channel that was made in a bubble must not be used outside. Here one group is used
// in and out of bubbles, so no use may leave anything behind.
func TestGroupInAndOutOfBubbles(t *testing.T) {
	onBoth(t, inAndOutOfBubbles)
}

func inAndOutOfBubbles(t *testing.T, g group[string, any]) {
	use := func(t *testing.T) {
		gate := make(chan struct{})
		leader := g.DoChan("key", behind(gate, value(1)))
		requireOwner(t, g.of("key"))
		joined := g.DoChan("key", never(t))
		other := goDo(g, "other", behind(gate, value(2)))
		g.Forget("another")
		close(gate)
		assert.Equal(t, Result{Val: 1, Shared: true}, <-leader)
		assert.Equal(t, Result{Val: 1, Shared: true}, <-joined)
		assert.Equal(t, outcome{val: 2}, <-other)
	}
	for range 200 {
		use(t)
		synctest.Test(t, use)
		synctest.Test(t, use)
	}
	use(t)
}

// README's last difference from x/sync. A goroutine that waits for something outside
// keeps synctest from reporting a deadlock where another crash is expected.
func TestUseOnBothSidesOfABubbleCrashes(t *testing.T) {
	for _, test := range []struct {
		name string
		use  func(t *testing.T, g group[string, any], outside <-chan struct{})
		says string
	}{
		{"alone outside", func(t *testing.T, g group[string, any], outside <-chan struct{}) {
			g.of("inside").DoChan("outside", behind(outside, value(1)))
			synctest.Test(t, func(*testing.T) { g.Do("inside", value(2)) })
		}, "panic: deadlock: .* blocked goroutines remain"},
		{"owner outside", func(t *testing.T, g group[string, any], outside <-chan struct{}) {
			g.of("inside").DoChan("outside", behind(outside, value(1)))
			requireOwner(t, g.of("inside"))
			synctest.Test(t, func(*testing.T) {
				go func() { <-outside }()
				g.Do("inside", value(2))
			})
		}, "fatal error: send on synctest channel from outside bubble"},
		{"owner inside", func(t *testing.T, g group[string, any], outside <-chan struct{}) {
			started := make(chan struct{})
			go func() {
				<-started
				g.of("inside").Do("outside", value(1))
			}()
			synctest.Test(t, func(*testing.T) {
				g.DoChan("inside", behind(outside, value(2)))
				requireOwner(t, g.of("inside"))
				close(started)
				<-outside
			})
		}, "fatal error: send on synctest channel from outside bubble"},
	} {
		t.Run(test.name, func(t *testing.T) {
			onBoth(t, func(t *testing.T, g group[string, any]) {
				output, status := inAnotherProcess(t, func() {
					test.use(t, g, make(chan struct{}))
				})
				assert.Equal(t, 2, status)
				assert.Regexp(t, test.says, output)
			})
		})
	}
}

type blob [1 << 10]byte

// requireFreed fails if the memory that p points to is still reachable.
func requireFreed[T any](t *testing.T, p weak.Pointer[T]) {
	t.Helper()
	runtime.GC()
	require.Nil(t, p.Value(), "the memory is still reachable")
}

// A call that waits needs neither its key, which may be a small part of a large
// string, nor its fn, which may have captured anything.
func TestWaiterKeepsNeitherItsKeyNorItsFn(t *testing.T) {
	for name, join := range map[string]func(ctx context.Context, g group[string, any], key string, fn func() (any, error)){
		"Do":     func(_ context.Context, g group[string, any], key string, fn func() (any, error)) { go g.Do(key, fn) },
		"DoChan": func(_ context.Context, g group[string, any], key string, fn func() (any, error)) { g.DoChan(key, fn) },
		"DoContext": func(ctx context.Context, g group[string, any], key string, fn func() (any, error)) {
			go g.DoContext(ctx, key, func(context.Context) (any, error) { return fn() })
		},
		"DoContext that never leaves": func(_ context.Context, g group[string, any], key string, fn func() (any, error)) {
			go g.DoContext(context.Background(), key, func(context.Context) (any, error) { return fn() })
		},
		"DoChanContext": func(ctx context.Context, g group[string, any], key string, fn func() (any, error)) {
			g.DoChanContext(ctx, key, func(context.Context) (any, error) { return fn() })
		},
	} {
		t.Run(name, func(t *testing.T) {
			withAndWithoutOwner(t, "other", func(t *testing.T, g group[string, any]) {
				newKey := func() string { return strings.Repeat("key", 1<<10) }
				gate := make(chan struct{})
				leader := g.DoChan(newKey(), behind(gate, value(1)))
				var keys []weak.Pointer[byte]
				var captured []weak.Pointer[blob]
				for range 3 {
					key, b := newKey(), new(blob)
					join(t.Context(), g, key, func() (any, error) { return b, nil })
					keys = append(keys, weak.Make(unsafe.StringData(key)))
					captured = append(captured, weak.Make(b))
				}
				synctest.Wait()
				for i := range keys {
					requireFreed(t, keys[i])
					requireFreed(t, captured[i])
				}
				close(gate)
				assert.Equal(t, Result{Val: 1, Shared: true}, <-leader)
			})
		})
	}
}

func TestOwnerKeepsNoCallThatHasJoined(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Group
		gate := make(chan struct{})
		leader := g.DoChan("key", behind(gate, value(1)))
		a, _ := g.address.Claim()
		joined := newCall("key", make(chan Result, 1))
		a.Send(do[string, any]{joined})
		<-joined.turn
		require.NotSame(t, &joined.flight, joined.on)
		synctest.Wait() // the owner is done with it
		requireFreed(t, weak.Make(joined))
		close(gate)
		<-leader
	})
}

func TestMapHasOnlyFlights(t *testing.T) {
	onBoth(t, func(t *testing.T, g group[string, any]) {
		gate := make(chan struct{})
		other := g.of("key").DoChan("other", behind(gate, value(nil)))
		for range 3 {
			g.Do("key", value(1))
			<-g.DoChan("key", value(1))
			require.Equal(t, 1, requireOwner(t, g.of("key")), "landed flights are in the map")
			g.Do("key", func() (any, error) { g.Forget("key"); return nil, nil })
			require.Equal(t, 1, requireOwner(t, g.of("key")), "forgotten flights are in the map")
		}
		close(gate)
		<-other
	})
}

func TestNothingIsKeptAtRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := new(GroupOf[string, *blob])
		var result weak.Pointer[blob]
		fn := func() (*blob, error) {
			b := new(blob)
			result = weak.Make(b)
			return b, nil
		}

		g.Do("lone", fn)
		requireFreed(t, result)

		gate := make(chan struct{})
		g.DoChan("met", func() (*blob, error) { <-gate; return fn() })
		g.DoChan("met", nilBlob)
		close(gate)
		synctest.Wait()
		requireRest(t, g)
		requireFreed(t, result)
		runtime.KeepAlive(g)
	})
}

func TestLandedFlightIsNotKeptWhileTheOwnerLives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := new(GroupOf[string, *blob])
		var result weak.Pointer[blob]
		first, other := make(chan struct{}), make(chan struct{})
		g.DoChan("first", func() (*blob, error) {
			<-first
			b := new(blob)
			result = weak.Make(b)
			return b, nil
		})
		g.DoChan("first", nilBlob)
		landed := g.DoChan("other", func() (*blob, error) { <-other; return nil, nil })
		close(first)
		synctest.Wait()
		requireFreed(t, result)
		close(other)
		<-landed
		requireRest(t, g)
	})
}

func nilBlob() (*blob, error) { return nil, nil }
