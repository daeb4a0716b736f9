package conformance

import (
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

// TestSoak lets a thousand goroutines call one Group, with thousands of keys and
// every kind of ending, and then looks at once for what is left of it.
func TestSoak(t *testing.T) {
	var s soaked
	// What the runtime keeps of a thousand goroutines is not the Group's.
	s.run(time.Second, func() {})
	before, heap := blocked(), heapAlloc()

	began := time.Now()
	report := func() {
		t.Logf("%4.0f s: %d calls, %d flights, %d goroutines, %d KiB of heap",
			time.Since(began).Seconds(), s.calls.Load(), s.flights.Load(), runtime.NumGoroutine(), heapAlloc()>>10)
	}
	s.run(*soak, report)

	assert.Equal(t, before, blocked())
	assert.Less(t, heapAlloc(), heap+1<<20)
	require.Less(t, s.flights.Load(), s.calls.Load()*9/10, "the calls hardly met")
	report()
	runtime.KeepAlive(&s)
}

// blocked returns how many goroutines wait for something. One that is about to
// return does not, however long the system keeps it from running.
func blocked() (n int) {
	stacks := make([]byte, 1<<22)
	stacks = stacks[:runtime.Stack(stacks, true)]
	for _, header := range headers.FindAllSubmatch(stacks, -1) {
		if state := string(header[1]); state != "running" && state != "runnable" {
			n++
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
	group          singleflight.GroupOf[int, []byte]
	calls, flights atomic.Int64
}

// run makes calls for as long as it is told, and reports ten times.
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
				go func() { // which Goexit may end
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
		key %= 50 // which are in demand
	}
	pauses, ending := random.IntN(10), ending(random.IntN(4))
	kind := random.IntN(10)
	if kind > 1 {
		s.calls.Add(1)
	}
	fn := func() ([]byte, error) {
		s.flights.Add(1)
		for range pauses {
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
	switch {
	case kind == 0:
		s.group.Forget(key)
	case kind == 1:
		s.group.ForgetUnshared(key)
	case ending == crash:
		s.group.Do(-1-key, fn) // where no DoChan comes
	case kind <= 5:
		<-s.group.DoChan(key, fn)
	default:
		s.group.Do(key, fn)
	}
}
