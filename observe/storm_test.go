package observe

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
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

var stormTime = flag.Duration("storm", 0, "how long TestStorm storms, with each type of group")

// When nothing is in flight, the figures are exactly the storm's own. Meanwhile no counter
// falls.
func TestStorm(t *testing.T) {
	t.Run("GroupOf", func(t *testing.T) { testStorm(t, &GroupOf[string, int]{Name: "storm"}) })
	t.Run("ShardedOf", func(t *testing.T) { testStorm(t, &ShardedOf[string, int]{Name: "storm"}) })
}

// testStorm storms in rounds, each of which ends at rest.
func testStorm(t *testing.T, g observed[string, int]) {
	s := &storm{g: g}
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(Collector(g))
	begun, rounds := time.Now(), uint64(0)
	for ; rounds == 0 || time.Since(begun) < *stormTime; rounds++ {
		s.round(t, rounds, registry)
		s.compare(t, registry)
		if t.Failed() {
			return
		}
	}
	for _, n := range []*atomic.Uint64{
		&s.joined, &s.left, &s.outlived, &s.refused,
		&s.failures[failed], &s.failures[panicked], &s.failures[exited], &s.failures[abandoned],
	} {
		assert.NotZero(t, n.Load(), "the storm has tried everything")
	}
	t.Logf("%d rounds: %+v", rounds, counted(g))
}

// round storms, and watches the counters, until nothing is in flight.
func (s *storm) round(t *testing.T, seed uint64, registry *prometheus.Registry) {
	const callers, calls = 16, 60
	open, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	for i := range callers {
		random := rand.New(rand.NewPCG(seed, uint64(i)))
		wg.Go(func() {
			for range calls {
				s.one(t, random, open)
			}
		})
	}
	over := make(chan struct{})
	var looks sync.WaitGroup
	for range 2 {
		looks.Go(func() {
			seen := make(map[string]float64)
			for {
				select {
				case <-over:
					return
				default:
				}
				stats := s.g.Stats()
				assert.GreaterOrEqual(t, int64(stats.Spared()), int64(0), "it is never negative")
				for name, value := range gathered(t, registry) {
					if gauges[name] {
						continue
					}
					assert.GreaterOrEqual(t, value, seen[name], name)
					seen[name] = value
				}
			}
		})
	}
	wg.Wait()
	require.NoError(t, s.g.Wait(t.Context()))
	close(over)
	looks.Wait()
}

var gauges = map[string]bool{
	"singleflight_in_flight": true, "singleflight_next": true, "singleflight_waiting": true, "singleflight_oldest_seconds": true,
}

// gathered returns the values of all metrics, by name and ending.
func gathered(t *testing.T, registry *prometheus.Registry) map[string]float64 {
	families, err := registry.Gather()
	assert.NoError(t, err)
	values := make(map[string]float64)
	for _, family := range families {
		for _, m := range family.GetMetric() {
			name := family.GetName()
			for _, label := range m.GetLabel() {
				if label.GetName() == "ending" {
					name += " " + label.GetValue()
				}
			}
			if h := m.GetHistogram(); h != nil {
				values[name+" count"], values[name+" sum"] = float64(h.GetSampleCount()), h.GetSampleSum()
				for _, bucket := range h.GetBucket() {
					values[fmt.Sprint(name, " ", bucket.GetUpperBound())] = float64(bucket.GetCumulativeCount())
				}
				continue
			}
			values[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return values
}

// compare compares all figures with the storm's own. Nothing is in flight.
func (s *storm) compare(t *testing.T, registry *prometheus.Registry) {
	want := counts{
		Calls: s.calls.Load(), Flights: s.flights.Load(), Left: s.left.Load(),
		Outlived: s.outlived.Load(), Refused: s.refused.Load(),
		Failures: Failures{
			Error: s.failures[failed].Load(), Panic: s.failures[panicked].Load(),
			Goexit: s.failures[exited].Load(), Abandoned: s.failures[abandoned].Load(),
		},
	}
	assert.Equal(t, want, counted(s.g))
	stats := now(s.g)
	assert.Equal(t, s.joined.Load(), stats.Spared())
	assert.Equal(t, want.Flights, stats.Durations.Count())
	assert.Equal(t, []int{0, 0, 0}, []int{stats.InFlight, stats.Next, stats.Callers})
	assert.Zero(t, stats.Oldest)

	got := gathered(t, registry)
	for name, value := range map[string]uint64{
		"singleflight_calls_total":                   want.Calls,
		"singleflight_flights_total":                 want.Flights,
		"singleflight_left_total":                    want.Left,
		"singleflight_outlived_total":                want.Outlived,
		"singleflight_refused_total":                 want.Refused,
		"singleflight_failures_total error":          want.Failures.Error,
		"singleflight_failures_total panic":          want.Failures.Panic,
		"singleflight_failures_total goexit":         want.Failures.Goexit,
		"singleflight_failures_total abandoned":      want.Failures.Abandoned,
		"singleflight_flight_duration_seconds count": want.Flights,
		"singleflight_in_flight":                     0,
		"singleflight_next":                          0,
		"singleflight_waiting":                       0,
		"singleflight_oldest_seconds":                0,
	} {
		assert.InDelta(t, float64(value), got[name], 0, name)
	}
	assert.Len(t, got, 14+1+len(bounds), "all others are of the histogram")
	assert.InDelta(t, stats.Durations.Sum.Seconds(), got["singleflight_flight_duration_seconds sum"], 0)
}
