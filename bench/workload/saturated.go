package workload

import (
	"crypto/sha256"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/actorflight/singleflight/bench/peer"
)

// saturated measures calls on oversubscribed processors. Each caller sleeps before each
// call, so it has to be scheduled again.
func saturated(b *testing.B, newGroup func() peer.Group) {
	g := newGroup()
	land := fly(g, "other")
	stop := compute(2 * runtime.GOMAXPROCS(0))
	var lone, crowd []time.Duration
	for range b.N {
		lone = append(lone, callAndThink(g, 1, 150)...)
		crowd = append(crowd, callAndThink(g, 8, 50)...)
	}
	stop()
	land()
	for name, took := range map[string][]time.Duration{"lone": lone, "crowd": crowd} {
		slices.Sort(took)
		b.ReportMetric(float64(took[len(took)/2]), "ns/"+name+"-p50")
		b.ReportMetric(float64(took[len(took)*9/10]), "ns/"+name+"-p90")
	}
}

// callAndThink returns how long each call took.
func callAndThink(g peer.Group, callers, each int) []time.Duration {
	took := make([]time.Duration, callers*each)
	var ended sync.WaitGroup
	for caller := range callers {
		key := "key " + strconv.Itoa(caller)
		ended.Go(func() {
			for i := range each {
				time.Sleep(time.Millisecond)
				start := time.Now()
				g.Do(key, empty)
				took[caller*each+i] = time.Since(start)
			}
		})
	}
	ended.Wait()
	return took
}

// compute starts n goroutines that compute until stop is called. stop returns
// when they have ended.
func compute(n int) (stop func()) {
	over := make(chan struct{})
	var ended sync.WaitGroup
	for range n {
		ended.Go(func() {
			page := make([]byte, 4<<10)
			for {
				select {
				case <-over:
					return
				default:
					sha256.Sum256(page)
				}
			}
		})
	}
	return func() {
		close(over)
		ended.Wait()
	}
}
