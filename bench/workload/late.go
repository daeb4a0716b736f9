package workload

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/actorflight/singleflight/bench/peer"
)

// This file has the workloads of callers that come while a slow function is in progress.

const latecomers = 1_000

type contextFunc = func(context.Context) (any, error)

func join(b *testing.B, newGroup func() peer.ContextDoer) {
	late(b, newGroup, peer.ContextDoer.DoContext)
}

func forget(b *testing.B, newGroup func() peer.ContextDoer) {
	late(b, newGroup, func(g peer.ContextDoer, ctx context.Context, key string, fn contextFunc) (any, error) {
		g.(peer.Forgetter).Forget(key)
		return g.DoContext(ctx, key, fn)
	})
}

func fresh(b *testing.B, newGroup func() peer.ContextDoer) {
	late(b, newGroup, func(g peer.ContextDoer, ctx context.Context, key string, fn contextFunc) (any, error) {
		return g.(peer.Fresher).DoFresh(ctx, key, fn)
	})
}

// late measures the time from the first call to the last return, and how often fn runs, the
// flight that the callers find in progress included.
func late(b *testing.B, newGroup func() peer.ContextDoer, call func(peer.ContextDoer, context.Context, string, contextFunc) (any, error)) {
	b.Helper()
	var runs atomic.Int64
	mean(b, perBurst, func() float64 {
		g := newGroup()
		begun := make(chan struct{})
		begin := sync.OnceFunc(func() { close(begun) })
		fn := func(context.Context) (any, error) {
			runs.Add(1)
			begin()
			time.Sleep(20 * time.Millisecond) // a query
			return nil, nil
		}
		var ended sync.WaitGroup
		ended.Go(func() { g.DoContext(b.Context(), "key", fn) })
		<-begun
		start := time.Now()
		for range latecomers {
			ended.Go(func() {
				if _, err := call(g, b.Context(), "key", fn); err != nil {
					b.Error(err)
				}
			})
		}
		ended.Wait()
		return float64(time.Since(start))
	})
	b.ReportMetric(float64(runs.Load())/float64(b.N), runsPerBurst)
}
