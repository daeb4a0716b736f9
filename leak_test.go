package singleflight

import (
	"context"
	"math/rand/v2"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"unsafe"
	"weak"

	"github.com/actorflight/singleflight/actor"
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
	ours = regexp.MustCompile(`(?m)^github\.com/actorflight/singleflight(/actor\.\(\*Activation|\.leader|\.\(\*row|\.waitOrLeave)\[`)
	busy = regexp.MustCompile(`^goroutine \d+ \[(running|runnable)`)
)

// storm makes calls of every kind, with every ending, from many goroutines. When all
// have returned, it returns the channels that nothing has received from. If callers
// leave, abandoned flights may still be in progress.
func storm(g group[string, any], callersLeave bool) (unreceived []<-chan Result) {
	const callers, calls = 32, 200
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
			switch ending := endings[random.IntN(len(endings))]; random.IntN(16) {
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
			case 10, 11, 12, 13, 14, 15:
				if ending.doChan == nil {
					return // or the program may crash
				}
				ctx := contexts[random.IntN(len(contexts))]
				if callersLeave && random.IntN(2) == 0 {
					ctx = endsAfterFirstCheck()
				}
				fn := func(context.Context) (any, error) { return ending.fn() }
				switch random.IntN(4) {
				case 0:
					g.DoContext(ctx, key, fn)
				case 1:
					left <- g.DoChanContext(ctx, key, fn)
				case 2:
					g.DoFresh(ctx, key, fn)
				case 3:
					left <- g.DoChanFresh(ctx, key, fn)
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

// Nothing receives the answer to the last message, and its channel has no room. So the owner
// cannot get beyond the answer, and the test sees what it has done before.
func TestOwnerAnswersLast(t *testing.T) {
	t.Run("land", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var g Group
			_, f := g.address.ClaimOrEnter(flight[string, any]{key: "key", answers: make(chan struct{})})
			requireOwner(t, &g)
			g.address.Exit(f).Send(land[string, any]{f})
			synctest.Wait()
			requireRest(t, &g)
			<-f.answers
		})
	})
	type message = actor.Message[state[string, any], flight[string, any]]
	for name, last := range map[string]func() (m message, receive func()){
		"leave": func() (message, func()) {
			l := &leaver[string, any]{answers: make(chan struct{}), party: newParty[string, any]("key", true)}
			return leave[string, any]{l}, func() { <-l.answers }
		},
		"forget": func() (message, func()) {
			m := &forget[string, any]{key: "key", free: make(chan bool)}
			return m, func() { <-m.free }
		},
		"list": func() (message, func()) {
			m := list[string, any]{make(chan []Flight)}
			return m, func() { <-m.flights }
		},
		"rest": func() (message, func()) {
			m := &rest[string, any]{rest: make(chan (<-chan struct{}))}
			return m, func() { <-<-m.rest }
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var g Group
				_, f := g.address.ClaimOrEnter(flight[string, any]{key: "key", answers: newAnswers()})
				a, _ := g.address.Claim()
				m, receive := last()
				g.address.Exit(f).Send(land[string, any]{f})
				a.Send(m)
				synctest.Wait()
				requireRest(t, &g)
				receive()
			})
		})
	}
}

// With one processor, a caller whose message the owner has received runs when the owner
// waits for something: for the caller, if the answer had no room. But a goroutine may be
// preempted at any moment, so the test takes the best of many tries.
func TestOwnerDoesNotWaitUntilItsAnswersAreReceived(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	for name, prepare := range map[string]func(*testing.T, *Group) (ask func()){
		"do": func(t *testing.T, g *Group) func() {
			return func() { g.DoChan("key", never(t)) }
		},
		"leave": func(t *testing.T, g *Group) func() {
			r := g.request(t.Context(), neverWith(t), false)
			l, err := g.boardLeaver("key", &r)
			require.NoError(t, err)
			done := make(chan struct{})
			close(done)
			return func() { waitOrLeave(&g.address, l, done) }
		},
		"forget": func(_ *testing.T, g *Group) func() {
			return func() { g.Forget("another key") }
		},
		"list": func(_ *testing.T, g *Group) func() {
			return func() { g.InFlight() }
		},
		"rest": func(t *testing.T, g *Group) func() {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			return func() { g.Wait(ctx) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			for range 100 {
				if ownerOvertakes(t, prepare) {
					return
				}
			}
			assert.Fail(t, "the owner waits for the caller")
		})
	}
}

// ownerOvertakes reports whether the owner handles another message before the caller that
// asks something gets the answer.
func ownerOvertakes(t *testing.T, prepare func(*testing.T, *Group) (ask func())) (overtakes bool) {
	synctest.Test(t, func(t *testing.T) {
		var g Group
		gate := make(chan struct{})
		flight := g.DoChan("key", behind(gate, value(1)))
		requireOwner(t, &g)
		ask := prepare(t, &g)
		stalled := stallOwner(t, &g)
		for range 200 { // more than the mailbox has room for
			a, _ := g.address.Claim()
			go a.Send(census[string, any]{make(chan int, 1)})
		}
		synctest.Wait()
		answered := new(atomic.Bool)
		go func() {
			ask()
			answered.Store(true)
		}()
		synctest.Wait() // the caller waits until the mailbox has room, not for an answer
		next := overtaking{answered, make(chan bool, 1)}
		a, _ := g.address.Claim()
		go a.Send(next)
		synctest.Wait()
		close(stalled)
		overtakes = <-next.overtakes
		close(gate)
		<-flight
	})
	return overtakes
}

type overtaking struct {
	answered  *atomic.Bool
	overtakes chan bool
}

func (m overtaking) Handle(o *owner[string, any]) {
	m.overtakes <- !m.answered.Load()
	release(o)
}

// A call that will lead gets two answers, and may not have received the first when the
// owner sends the second.
func TestAnswersHaveRoomForTheBeginningOfTheNextFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Group
		old := abandon(t, &g)
		c := newCall("key", nil)
		a, _ := g.address.Claim()
		a.Send(do[string, any]{c})
		g.Forget("key")
		assert.Len(t, g.InFlight(), 2, "both have begun")
		<-c.answers
		<-c.answers
		assert.Equal(t, willLead, c.answer)
		leader[string, any]{c.led, &g.address, a, true}.lead(value(1), new(result[any]))
		old.end <- nil
	})
}

// The host of a flight that a call may leave has answers of its own: else it could receive
// the caller's answer to leave, and the caller its answer to land.
func TestCallThatMayLeaveSharesNoAnswersWithItsHost(t *testing.T) {
	for name, waits := range map[string]bool{"begins at once": false, "waits": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var g Group
				old, j := newJob(), newJob()
				if waits {
					old = abandon(t, &g)
				} else {
					g.DoChan("other", old.plain)
				}
				r := g.request(t.Context(), j.run, false)
				l, err := g.boardLeaver("key", &r)
				require.NoError(t, err)
				a, _ := g.address.Claim()
				m := find{"key", make(chan *flight[string, any], 1)}
				a.Send(m)
				f := <-m.found
				require.Same(t, l.party, f.party)
				assert.Nil(t, f.answers, "the host has asked for none yet")
				old.end <- nil
				j.requireBegun(t)
				j.end <- 1
				<-l.row.landed
				assert.Empty(t, l.answers)
			})
		})
	}
}

// A find asks for the flight of a key or, if one waits for that, the next flight.
type find struct {
	key   string
	found chan *flight[string, any]
}

func (m find) Handle(o *owner[string, any]) {
	f := stateOf(o).flights[m.key]
	if next := f.next(); next != nil {
		f = next.flight
	}
	release(o)
	m.found <- f
}

// The owner finds the flight of the call that was alone with its first message, whatever
// that is.
func TestFirstMessageFindsTheFlightThatWasAlone(t *testing.T) {
	type message = actor.Message[state[string, any], flight[string, any]]
	for name, test := range map[string]struct {
		first    func(g *Group, l *leaver[string, any]) message
		inFlight []Flight // afterwards, without their contexts
	}{
		"do": {func(g *Group, _ *leaver[string, any]) message {
			return do[string, any]{newCall("key", make(chan Result, 1))}
		}, []Flight{{Key: "key", Callers: 2}}},
		"leave": {func(_ *Group, l *leaver[string, any]) message {
			l.answers = newAnswers()
			return leave[string, any]{l}
		}, []Flight{{Key: "key", State: Abandoned}}},
		"forget": {func(*Group, *leaver[string, any]) message {
			return &forget[string, any]{"key", false, make(chan bool, 1)}
		}, []Flight{{Key: "key", Callers: 1, State: Forgotten}}},
		"list": {func(*Group, *leaver[string, any]) message {
			return list[string, any]{make(chan []Flight, 1)}
		}, []Flight{{Key: "key", Callers: 1}}},
		"rest": {func(_ *Group, l *leaver[string, any]) message {
			return &rest[string, any]{l.party, make(chan (<-chan struct{}), 1)}
		}, []Flight{{Key: "key", Callers: 1}}},
		"land": {nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var g Group
				r := g.request(t.Context(), neverWith(t), false)
				l := newLone("key", &r)
				_, f := g.address.ClaimOrEnter(flight[string, any]{key: "key", answers: newAnswers(), party: l.party})
				a, _ := g.address.Claim() // starts the owner
				alive, _ := g.address.Claim()
				var m message
				if name == "land" {
					g.address.Exit(f).Send(land[string, any]{f})
					a.Send(list[string, any]{make(chan []Flight, 1)})
				} else {
					m = test.first(&g, l)
					a.Send(m)
				}
				flights := g.InFlight()
				for i := range flights {
					flights[i].Context = nil
				}
				assert.ElementsMatch(t, test.inFlight, flights)
				switch m := m.(type) {
				case leave[string, any]:
					assert.True(t, l.left && l.last)
				case *forget[string, any]:
					assert.True(t, <-m.free)
				case list[string, any]:
					assert.Len(t, <-m.flights, 1)
				case *rest[string, any]:
					assert.Nil(t, <-m.rest, "the flight that the call is made in is in flight")
				case do[string, any]:
					assert.Equal(t, joined, m.call.answer)
				}
				if name != "land" {
					g.address.Exit(f).Send(land[string, any]{f})
				}
				<-f.answers
				assert.Empty(t, g.InFlight())
				alive.Send(list[string, any]{make(chan []Flight, 1)})
				synctest.Wait()
				requireRest(t, &g)
			})
		})
	}
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
		waiter := newCall("key", make(chan Result, 1))
		a.Send(do[string, any]{waiter})
		<-waiter.answers
		require.Equal(t, joined, waiter.answer)
		synctest.Wait() // the owner is done with it
		requireFreed(t, weak.Make(waiter))
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
