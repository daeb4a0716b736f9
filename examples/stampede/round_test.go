package main

import (
	"bytes"
	"context"
	"errors"
	"regexp"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorflight/singleflight/examples/internal/program"
)

// one is the program with a single round, whose only client never meets an
// expired entry.
func one(t *testing.T, q query, r round) (exit int, stdout, stderr string) {
	t.Helper()
	o := options{load: load{clients: 1, products: 1, duration: time.Second}, ttl: time.Hour}
	var out, diagnostics bytes.Buffer
	err := o.compare([]stage{{r}}, on(t.Context(), q, nil), &out, &diagnostics)
	exit = program.Status(t.Context(), "stampede", err, &diagnostics)
	return exit, out.String(), diagnostics.String()
}

// overlapping returns a query, and a coalescer that does not coalesce but makes
// that query twice. Neither of the two ends before the other has begun.
func overlapping() (query, coalescer) {
	var begun sync.WaitGroup
	begun.Add(2)
	meet := func(context.Context, int64) (*Sales, error) {
		begun.Done()
		begun.Wait()
		return new(Sales), nil
	}
	twice := func(ctx context.Context, _ string, fn func(context.Context) (any, error)) (any, error) {
		var other sync.WaitGroup
		other.Go(func() { fn(ctx) })
		defer other.Wait()
		return fn(ctx)
	}
	return meet, twice
}

func TestOverlapsFailWhereQueriesAreCoalesced(t *testing.T) {
	meet, twice := overlapping()
	exit, stdout, stderr := one(t, meet, round{name: "broken", coalesces: true, coalesce: twice})
	assert.Equal(t, program.Failed, exit)
	assert.Contains(t, stdout, "2.00 times with broken")
	assert.Equal(t, "broken\nstampede: broken: 1 overlapping queries, 0 failed requests\n", stderr)
}

func TestOverlapsAreAllowedElsewhere(t *testing.T) {
	meet, twice := overlapping()
	exit, stdout, _ := one(t, meet, round{name: "broken", coalesce: twice})
	assert.Equal(t, program.Succeeded, exit)
	assert.Contains(t, stdout, "2.00 times with broken")
}

func TestErrorsFailWhereQueriesAreCoalesced(t *testing.T) {
	broken := func(context.Context, int64) (*Sales, error) { return nil, errors.New("broken") }
	exit, _, stderr := one(t, broken, stages(bare())[1][1])
	assert.Equal(t, program.Failed, exit)
	assert.Regexp(t, `stampede: actorflight: 0 overlapping queries, [1-9]\d* failed requests\n`, stderr)
}

// pair is a stage of two rounds.
func pair() stage { return stage{{name: "one", coalesces: true}, {name: "other", coalesces: true}} }

func TestRoundsTakeTurns(t *testing.T) {
	o := options{load: load{duration: 4 * time.Second, seed: 7}}
	var order []string
	seeds := make(map[string][]uint64)
	_, err := pair().run(o, func(r round, o options, _ *tally) error {
		order = append(order, r.name)
		seeds[r.name] = append(seeds[r.name], o.seed)
		assert.Equal(t, time.Second, o.duration, "the turns of a round last as long as the round")
		return nil
	})
	require.NoError(t, err)
	assert.Equal(t, []string{"other", "one", "one", "other", "other", "one", "one", "other"}, order)
	assert.Equal(t, []uint64{7, 8, 9, 10}, seeds["one"])
	assert.Equal(t, seeds["one"], seeds["other"], "the load is the same")
}

// The whole stage lasts as long as a round of another.
func TestRoundsOfClientsThatWriteTakeNoTurns(t *testing.T) {
	o := options{load: load{duration: 4 * time.Second}}
	var order []string
	outcomes, err := writing(bare()).run(o, func(r round, o options, _ *tally) error {
		order = append(order, r.name)
		assert.Equal(t, time.Second, o.duration)
		return nil
	})
	require.NoError(t, err)
	assert.Equal(t, []string{"x/sync Do", "x/sync Forget+Do", "actorflight DoContext", "actorflight DoFresh"}, order)
	assert.Len(t, outcomes, 4)
	assert.Equal(t, 4*time.Second, writing(bare()).lasts(o.duration))
	assert.Equal(t, 12*time.Second, impatient(bare()).lasts(o.duration))
}

// Here no read sees a write.
func TestStaleReadsFailWhereTheyMustBeFresh(t *testing.T) {
	for _, i := range []int{0, 3} {
		r := writing(bare())[i]
		stale := func(context.Context, int64) (*Sales, error) { return new(Sales), nil }
		o := options{load: load{clients: 1, products: 1, duration: time.Second}, ttl: time.Hour}
		var out, diagnostics bytes.Buffer
		err := o.compare([]stage{{r}}, on(t.Context(), stale, func(context.Context, int64) (int64, error) { return 1, nil }), &out, &diagnostics)
		assert.Regexp(t, `([1-9]\d*) of ([1-9]\d*) times with `+regexp.QuoteMeta(r.name), out.String())
		if !r.fresh {
			assert.NoError(t, err)
			continue
		}
		assert.Regexp(t, `^actorflight DoFresh: [1-9]\d* stale reads$`, err.Error())
	}
}

func TestARoundAloneHasOneTurn(t *testing.T) {
	o := options{load: load{duration: 4 * time.Second}}
	turns := 0
	outcomes, err := stages(bare())[0].run(o, func(_ round, o options, _ *tally) error {
		turns++
		assert.Equal(t, 4*time.Second, o.duration)
		return nil
	})
	require.NoError(t, err)
	assert.Len(t, outcomes, 1)
	assert.Equal(t, 1, turns)
}

// In each of its turns, round other has ten times the figures of round one.
func TestTurnsAreAddedUp(t *testing.T) {
	turns := make(map[string]int)
	outcomes, err := pair().run(options{}, func(r round, _ options, t *tally) error {
		turns[r.name]++
		latency, factor := time.Duration(turns[r.name])*time.Millisecond, 1
		if r.name == "other" {
			latency, factor = 10*latency, 10
		}
		t.add(answer{latency: latency})
		for range factor {
			t.add(answer{latency: latency, err: errors.New("failed"), written: true})
			t.add(answer{latency: latency, written: true})
			t.add(answer{latency: latency, written: true, stale: true})
		}
		t.counts.add(counts{Queries: 3 * factor, Expiries: 2 * factor, Overlaps: factor, Cancelled: 2 * factor, Wasted: factor})
		return nil
	})
	require.NoError(t, err)
	require.Len(t, outcomes, 2)
	for i, want := range []outcome{
		{Round: "one", Requests: 16, Errors: 4, Writes: 8, Stale: 4, counts: counts{Queries: 12, Expiries: 8, Overlaps: 4, Cancelled: 8, Wasted: 4}, Max: 4_000},
		{Round: "other", Requests: 124, Errors: 40, Writes: 80, Stale: 40, counts: counts{Queries: 120, Expiries: 80, Overlaps: 40, Cancelled: 80, Wasted: 40}, Max: 40_000},
	} {
		got := outcomes[i]
		assert.InDelta(t, 1.5, got.QueriesPerExpiry, 0)
		assert.InEpsilon(t, want.Max/2, got.P50, 0.001, "the second of four turns")
		assert.InEpsilon(t, want.Max, got.P99, 0.001)
		assert.InEpsilon(t, want.Max, got.Max, 0.001)
		want.coalesces, want.QueriesPerExpiry = true, got.QueriesPerExpiry
		want.P50, want.P99, want.Max = got.P50, got.P99, got.Max
		assert.Equal(t, want, got)
	}
}
