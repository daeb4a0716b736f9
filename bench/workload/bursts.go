package workload

import (
	"context"
	"errors"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/actorflight/singleflight/bench/peer"
)

// This file has the workloads in which each operation is a burst of concurrent calls.

func stampede(b *testing.B, newGroup func() peer.Group) {
	mean(b, perBurst, func() float64 {
		s := launch(b, newGroup(), 10_000+1, func(int) string { return "key" })
		start := time.Now()
		s.land()
		s.ended.Wait()
		return float64(time.Since(start))
	})
}

func bystander(b *testing.B, newGroup func() peer.Group) {
	mean(b, perBurst, func() float64 {
		g := newGroup()
		s := launch(b, g, 100_000+1, func(int) string { return "key" })
		s.land()
		return float64(s.watch(g))
	})
}

// retained measures the memory that is freed with a Group at rest.
func retained(b *testing.B, newGroup func() peer.Group) {
	names := numbers(200_000)
	mean(b, perGroup, func() float64 {
		g := newGroup()
		s := launch(b, g, len(names), func(i int) string { return names[i] })
		s.land()
		s.ended.Wait()
		before := heap()
		runtime.KeepAlive(g)
		after := heap()
		return float64(before - min(before, after))
	})
	runtime.KeepAlive(names)
}

func flight(b *testing.B, newGroup func() peer.Group) {
	names := numbers(100_000)
	memory(b, newGroup, func(i int) string { return names[i] })
}

func waiter(b *testing.B, newGroup func() peer.Group) {
	memory(b, newGroup, func(int) string { return "key" })
}

// memory measures the memory of 100,000 calls in progress. Their goroutines do not
// count: they wait before the calls as well as in them.
func memory(b *testing.B, newGroup func() peer.Group, key func(int) string) {
	const n = 100_000
	mean(b, perPiece, func() float64 {
		s := prepare(newGroup(), n, key)
		AwaitRest()
		before := heap()
		s.launch()
		AwaitRest()
		after := heap()
		s.land()
		s.ended.Wait()
		return float64(after-min(before, after)) / n
	})
}

// mean makes b.N bursts, and reports the mean of what they return.
func mean(b *testing.B, unit string, burst func() float64) {
	b.Helper()
	total := 0.0
	for range b.N {
		total += burst()
	}
	b.ReportMetric(total/float64(b.N), unit)
}

// A swarm is a number of calls, each in its own goroutine, that start together and whose
// functions return together.
type swarm struct {
	launched, landing chan struct{}
	runs, calls, left atomic.Int64 // functions begun; calls not yet returned; calls that were cancelled
	ended             sync.WaitGroup
}

func prepare(g peer.Group, n int, key func(int) string) *swarm {
	s := &swarm{launched: make(chan struct{}), landing: make(chan struct{})}
	s.calls.Store(int64(n))
	fn := func() (any, error) {
		s.runs.Add(1)
		<-s.landing
		return nil, nil
	}
	for i := range n {
		s.ended.Go(func() {
			<-s.launched
			if _, err := g.Do(key(i), fn); errors.Is(err, context.Canceled) {
				s.left.Add(1)
			}
			s.calls.Add(-1)
		})
	}
	return s
}

func (s *swarm) launch() { close(s.launched) }
func (s *swarm) land()   { close(s.landing) }

// launch returns when all n calls are in progress.
func launch(b *testing.B, g peer.Group, n int, key func(int) string) *swarm {
	b.Helper()
	s := prepare(g, n, key)
	s.launch()
	AwaitRest()
	distinct := int64(1)
	if key(0) != key(1) {
		distinct = int64(n)
	}
	if runs := s.runs.Load(); runs != distinct {
		b.Fatalf("%d functions run for %d keys", runs, distinct)
	}
	return s
}

// watch calls g with another key until all calls have returned, and returns how long
// the longest took.
func (s *swarm) watch(g peer.Group) (longest time.Duration) {
	for s.calls.Load() > 0 {
		start := time.Now()
		g.Do("other", empty)
		longest = max(longest, time.Since(start))
		runtime.Gosched() // so that its time slice does not end in a Do
	}
	s.ended.Wait()
	return longest
}

// numbers returns the first n numbers as strings.
func numbers(n int) []string {
	s := make([]string, n)
	for i := range s {
		s[i] = strconv.Itoa(i)
	}
	return s
}
