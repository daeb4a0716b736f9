package conformance

import (
	"context"
	"errors"
	"flag"
	"math/rand/v2"
	"regexp"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorflight/singleflight"
)

var soak = flag.Duration("soak", 5*time.Second, "how long TestSoak lasts")

// TestSoak makes calls from a thousand goroutines on one Group, with thousands of keys,
// every ending, fresh calls, and callers that leave. Then nothing may be left behind, at once.
func TestSoak(t *testing.T) {
	var s soaked
	var cancel func()
	s.ctx, cancel = context.WithCancel(t.Context())
	defer cancel()
	// The runtime keeps memory of a thousand goroutines, which is not the Group's.
	s.run(time.Second, func() {})
	before, heap := blocked(), heapAlloc()

	began := time.Now()
	report := func() {
		t.Logf("%4.0f s: %d calls, %d of which left, %d fresh ones that shared a flight, %d flights, %d of which were abandoned, %d goroutines, %d KiB of heap",
			time.Since(began).Seconds(), s.calls.Load(), s.left.Load(), s.fresh.Load(), s.flights.Load(), s.abandoned.Load(),
			runtime.NumGoroutine(), heapAlloc()>>10)
	}
	s.run(*soak, report)

	assert.Equal(t, before, blocked())
	assert.Less(t, heapAlloc(), heap+1<<20)
	cancel()
	assert.NoError(t, s.group.Wait(s.ctx), "the group is not at rest")
	require.Less(t, s.flights.Load(), s.calls.Load()*9/10, "the calls hardly met")
	require.Greater(t, s.left.Load(), s.calls.Load()/50, "the calls hardly left")
	require.Greater(t, s.fresh.Load(), s.calls.Load()/100, "the fresh calls hardly met")
	require.Greater(t, s.abandoned.Load(), s.flights.Load()/100, "the calls hardly left together")
	report()
	runtime.KeepAlive(&s)
}

// blocked waits until all other goroutines are blocked, and returns how many there are.
// Abandoned flights may outlast their calls, and the system may delay goroutines that
// are about to return.
func blocked() (n int) {
	stacks := make([]byte, 1<<22)
	for running := 2; running > 1; runtime.Gosched() {
		n, running = 0, 0
		for _, header := range headers.FindAllSubmatch(stacks[:runtime.Stack(stacks, true)], -1) {
			if state := string(header[1]); state == "running" || state == "runnable" {
				running++
			} else {
				n++
			}
		}
	}
	return n
}

var headers = regexp.MustCompile(`(?m)^goroutine \d+ \[(\w+)`)

func heapAlloc() uint64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}

type soaked struct {
	group singleflight.GroupOf[int, []byte]
	ctx   context.Context // outlives all calls

	calls, left, fresh, flights, abandoned atomic.Int64
}

// run makes calls for d, and reports ten times.
func (s *soaked) run(d time.Duration, report func()) {
	over := make(chan struct{})
	var callers sync.WaitGroup
	for i := range 1_000 {
		random := rand.New(rand.NewPCG(1, uint64(i)))
		callers.Go(func() {
			for {
				select {
				case <-over:
					return
				default:
				}
				done := make(chan struct{})
				go func() { // Goexit may end it
					defer close(done)
					defer func() { recover() }()
					s.call(random)
				}()
				<-done
			}
		})
	}
	ticker := time.NewTicker(d / 10)
	defer ticker.Stop()
	for range 10 {
		<-ticker.C
		report()
	}
	close(over)
	callers.Wait()
}

func (s *soaked) call(random *rand.Rand) {
	key := random.IntN(5_000)
	if random.IntN(2) == 0 {
		key %= 50 // a hot key
	}
	pauses, ending := random.IntN(10), ending(random.IntN(4))
	kind := random.IntN(15)
	if kind > 1 {
		s.calls.Add(1)
	}
	fnWith := func(ctx context.Context) ([]byte, error) {
		s.flights.Add(1)
		for range pauses {
			if ctx.Err() != nil {
				s.abandoned.Add(1)
				return nil, ctx.Err()
			}
			runtime.Gosched()
		}
		switch ending {
		case failure:
			return nil, flown(0)
		case exit:
			runtime.Goexit()
		case crash:
			panic(flown(0))
		}
		return make([]byte, 1<<10), nil
	}
	fn := func() ([]byte, error) { return fnWith(s.ctx) }
	switch {
	case kind == 0:
		s.group.Forget(key)
	case kind == 1:
		s.group.ForgetUnshared(key)
	case ending == crash && kind <= 3:
		s.group.DoFresh(context.Background(), -1-key, fnWith)
	case ending == crash && kind <= 5:
		s.group.DoContext(context.Background(), -1-key, fnWith)
	case ending == crash:
		s.group.Do(-1-key, fn) // a key that no DoChan has, and that no call leaves
	case kind <= 5:
		<-s.group.DoChan(key, fn)
	case kind <= 9:
		s.group.Do(key, fn)
	default:
		s.callAndLeave(random, key, fnWith)
	}
}

// callAndLeave makes a call whose context, half of the time, ends after some pauses.
func (s *soaked) callAndLeave(random *rand.Rand, key int, fn func(context.Context) ([]byte, error)) {
	ctx := s.ctx
	if pauses := random.IntN(20); pauses < 10 {
		var cancel func()
		ctx, cancel = context.WithCancel(ctx)
		go func() {
			for range pauses {
				runtime.Gosched()
			}
			cancel()
		}()
	}
	var err error
	var shared bool // by a fresh call
	switch random.IntN(4) {
	case 0:
		_, err, _ = s.group.DoContext(ctx, key, fn)
	case 1:
		err = (<-s.group.DoChanContext(ctx, key, fn)).Err
	case 2:
		_, err, shared = s.group.DoFresh(ctx, key, fn)
	case 3:
		r := <-s.group.DoChanFresh(ctx, key, fn)
		err, shared = r.Err, r.Shared
	}
	if shared {
		s.fresh.Add(1)
	}
	if errors.Is(err, context.Canceled) {
		s.left.Add(1)
	}
}
