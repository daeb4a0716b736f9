package workload

import (
	"context"
	"testing"
	"time"

	"github.com/actorflight/singleflight/bench/peer"
)

// This file has the workloads of calls with a context.

func contextual(b *testing.B, newGroup func() peer.ContextDoer) {
	oneAfterAnother(b.Context(), b, newGroup())
}

func background(b *testing.B, newGroup func() peer.ContextDoer) {
	oneAfterAnother(context.Background(), b, newGroup())
}

func oneAfterAnother(ctx context.Context, b *testing.B, g peer.ContextDoer) {
	b.Helper()
	runs := 0
	fn := func(context.Context) (any, error) {
		runs++
		return nil, nil
	}
	for b.Loop() {
		if _, err := g.DoContext(ctx, "key", fn); err != nil {
			b.Fatal(err)
		}
	}
	if runs != b.N {
		b.Fatalf("%d functions run for %d calls", runs, b.N)
	}
}

func leave(b *testing.B, newGroup func() peer.ContextDoer) {
	mean(b, perCaller, func() float64 {
		d := prepareDeparture(b, newGroup())
		start := time.Now()
		d.cancel()
		d.ended.Wait()
		took := time.Since(start)
		d.land(b)
		return float64(took) / leavers
	})
}

func onlooker(b *testing.B, newGroup func() peer.ContextDoer) {
	mean(b, perBurst, func() float64 {
		g := newGroup()
		d := prepareDeparture(b, g)
		go d.cancel() // cancel itself delays other calls, too
		longest := d.watch(withContext{g, b.Context()})
		d.land(b)
		return float64(longest)
	})
}

func leaver(b *testing.B, newGroup func() peer.ContextDoer) {
	memory(b, func() peer.Group { return withContext{newGroup(), b.Context()} }, func(int) string { return "key" })
}

// withContext is a Group whose Do is a DoContext.
type withContext struct {
	peer.ContextDoer
	ctx context.Context
}

func (g withContext) Do(key string, fn func() (any, error)) (any, error) {
	return g.DoContext(g.ctx, key, func(context.Context) (any, error) { return fn() })
}

const leavers = 10_000

// A departure is a swarm of calls with one context, on the flight of a call that
// stays.
type departure struct {
	*swarm
	cancel context.CancelFunc
	stayer *swarm
}

// prepareDeparture returns when all leavers wait.
func prepareDeparture(b *testing.B, g peer.ContextDoer) departure {
	b.Helper()
	key := func(int) string { return "key" }
	stayer := launch(b, withContext{g, b.Context()}, 1, key)
	ctx, cancel := context.WithCancel(context.Background())
	s := prepare(withContext{g, ctx}, leavers, key)
	s.launch()
	AwaitRest()
	if runs, calls := s.runs.Load(), s.calls.Load(); runs != 0 || calls != leavers {
		b.Fatalf("%d of %d calls wait, and run %d functions of their own", calls, leavers, runs)
	}
	return departure{s, cancel, stayer}
}

// land ends the flight, when all leavers have returned.
func (d departure) land(b *testing.B) {
	b.Helper()
	if left := d.left.Load(); left != leavers {
		b.Fatalf("%d of %d callers have left", left, leavers)
	}
	if d.stayer.calls.Load() != 1 {
		b.Fatal("the caller that stays has returned")
	}
	d.stayer.land()
	d.stayer.ended.Wait()
	if d.stayer.left.Load() != 0 {
		b.Fatal("the caller that stays has not got the result")
	}
}
