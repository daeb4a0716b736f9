package observe

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorflight/singleflight"
)

// A storm makes calls of every kind, with every ending, and keeps its own counts.
type storm struct {
	g observed[string, int]

	calls, flights, joined, left, outlived, refused atomic.Uint64
	failures                                        [endings]atomic.Uint64
}

// A try is one call of a storm.
type try struct {
	*storm
	random *rand.Rand
	ran    atomic.Bool // its fn
}

func (s *storm) try(random *rand.Rand) *try {
	s.calls.Add(1)
	return &try{storm: s, random: random}
}

// end counts the outcome of a call.
func (c *try) end(err error, left bool) {
	switch {
	case left:
		c.left.Add(1)
	case c.ran.Load():
	case errors.Is(err, singleflight.ErrDeadlock):
		c.refused.Add(1)
	default:
		c.joined.Add(1)
	}
}

// call runs f where it may panic or exit, and ends c.
func (c *try) call(f func() error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		var err error
		defer func() {
			_ = recover()
			c.end(err, false)
		}()
		err = f()
	}()
	<-done
}

// finish ends fn in one of the ways.
func (c *try) finish(mayPanic bool) (int, error) {
	switch c.random.IntN(6) {
	case 0:
		c.failures[failed].Add(1)
		return 0, errFn
	case 1:
		c.failures[exited].Add(1)
		runtime.Goexit()
	case 2:
		if mayPanic {
			c.failures[panicked].Add(1)
			panic("fn")
		}
	}
	return 1, nil
}

// stay makes a call that does not leave.
func (c *try) stay(key string, fn func(context.Context) (int, error), open context.Context, channels bool) {
	plain := func() (int, error) { return fn(nil) }
	kinds := 5
	if channels { // where no fn panics
		kinds = 9
	}
	switch c.random.IntN(kinds) {
	case 0:
		c.call(func() error { _, err, _ := c.g.Do(key, plain); return err })
	case 1:
		c.call(func() error { _, err, _ := c.g.DoContext(open, key, fn); return err })
	case 2:
		c.call(func() error { _, err, _ := c.g.DoContext(context.Background(), key, fn); return err })
	case 3:
		c.call(func() error { _, err, _ := c.g.DoFresh(open, key, fn); return err })
	case 4:
		c.call(func() error { _, err, _ := c.g.DoFresh(context.Background(), key, fn); return err })
	case 5:
		c.end((<-c.g.DoChan(key, plain)).Err, false)
	case 6:
		c.end((<-c.g.DoChanContext(open, key, fn)).Err, false)
	case 7:
		c.end((<-c.g.DoChanFresh(open, key, fn)).Err, false)
	case 8:
		c.end((<-c.g.DoChanFresh(context.Background(), key, fn)).Err, false)
	}
}

// leave makes a call that leaves before fn ends.
func (c *try) leave(t *testing.T, key string, fn func(context.Context) (int, error)) {
	ctx, cancel := context.WithCancel(context.Background())
	results := make(chan error, 1)
	do, doChan := c.g.DoContext, c.g.DoChanContext
	if c.random.IntN(2) == 0 {
		do, doChan = c.g.DoFresh, c.g.DoChanFresh
	}
	if c.random.IntN(2) == 0 {
		go func() {
			_, err, _ := do(ctx, key, fn)
			results <- err
		}()
	} else {
		r := doChan(ctx, key, fn)
		go func() { results <- (<-r).Err }()
	}
	for range c.random.IntN(20) {
		runtime.Gosched()
	}
	cancel()
	assert.ErrorIs(t, <-results, context.Canceled)
	c.end(nil, true)
}

// There are three kinds of keys. All callers of the first kind leave, so its flights are
// abandoned. The second kind is forgotten, and no caller leaves. The third kind has callers
// that leave and callers that stay; one of its keys has a fn that panics, and no channels.
func (s *storm) one(t *testing.T, random *rand.Rand, open context.Context) {
	c := s.try(random)
	switch n := random.IntN(3); random.IntN(5) {
	case 0:
		c.leave(t, fmt.Sprint("abandoned ", n), func(ctx context.Context) (int, error) {
			s.flights.Add(1)
			s.outlived.Add(1)
			s.failures[abandoned].Add(1)
			<-ctx.Done()
			if n == 0 {
				runtime.Goexit()
			}
			return n, nil
		})
	case 1:
		key := fmt.Sprint("forgotten ", n)
		c.stay(key, func(context.Context) (int, error) {
			c.ran.Store(true)
			s.flights.Add(1)
			runtime.Gosched()
			return c.finish(false)
		}, open, true)
		s.g.Forget(key)
	default:
		panics := n == 0
		key := fmt.Sprint("key ", n)
		c.stay(key, func(ctx context.Context) (int, error) {
			c.ran.Store(true)
			s.flights.Add(1)
			switch random.IntN(4) {
			case 0: // others join, or wait for the next flight, and leave
				for range random.IntN(3) {
					s.try(random).leave(t, key, func(context.Context) (int, error) {
						t.Error("fn of a call that has left while another's was running")
						return 0, nil
					})
				}
			case 1:
				if ctx != nil {
					inner := s.try(random)
					do := s.g.DoContext
					if random.IntN(2) == 0 {
						do = s.g.DoFresh
					}
					_, err, _ := do(ctx, key, refusedFn)
					inner.end(err, false)
				}
			default:
				for range random.IntN(20) {
					runtime.Gosched()
				}
			}
			return c.finish(panics)
		}, open, !panics)
	}
}

func refusedFn(context.Context) (int, error) { return never() }

// At the end the figures are exactly the storm's own. Meanwhile they never decrease.
func TestStorm(t *testing.T) {
	t.Run("GroupOf", func(t *testing.T) { testStorm(t, new(GroupOf[string, int])) })
	t.Run("ShardedOf", func(t *testing.T) { testStorm(t, new(ShardedOf[string, int])) })
}

func testStorm(t *testing.T, g observed[string, int]) {
	const callers, calls = 16, 60
	open, cancel := context.WithCancel(t.Context())
	defer cancel()
	s := &storm{g: g}
	var wg sync.WaitGroup
	for i := range callers {
		random := rand.New(rand.NewPCG(1, uint64(i)))
		wg.Go(func() {
			for range calls {
				s.one(t, random, open)
			}
		})
	}
	over := make(chan struct{})
	var looks sync.WaitGroup
	seen := make([]uint64, 2)
	for i := range seen {
		looks.Go(func() {
			for {
				select {
				case <-over:
					return
				default:
				}
				joined := counted(g).Joined
				assert.GreaterOrEqual(t, joined, seen[i])
				seen[i] = joined
			}
		})
	}
	wg.Wait()
	require.NoError(t, g.Wait(t.Context()))
	close(over)
	looks.Wait()

	want := reading{
		Flights: s.flights.Load(), Joined: s.joined.Load(), Left: s.left.Load(),
		Outlived: s.outlived.Load(), Refused: s.refused.Load(),
	}
	for e := range want.Failures {
		want.Failures[e] = s.failures[e].Load()
	}
	got := counted(g)
	assert.Equal(t, want, got)
	assert.Equal(t, s.calls.Load(), got.Flights-got.Outlived+got.Joined+got.Left+got.Refused)
	for _, n := range append(want.Failures[:], want.Joined, want.Left, want.Outlived, want.Refused) {
		assert.NotZero(t, n, "the storm has tried everything: %+v", want)
	}
	report := g.report(0)
	count, _ := report.histogram()
	assert.Equal(t, want.Flights, count)
	for _, n := range seen {
		assert.LessOrEqual(t, n, want.Joined)
	}
}
