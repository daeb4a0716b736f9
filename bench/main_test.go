package main

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"gonum.org/v1/plot/vg"

	"github.com/actorflight/singleflight/bench/peer"
	"github.com/actorflight/singleflight/bench/workload"
)

func TestParseRefuses(t *testing.T) {
	for _, args := range [][]string{
		{"-rounds", "0"},
		{"-peers", "("},
		{"-workloads", "("},
		{"-workloads", "no such workload"},
		{"-no-such-flag"},
		{"surplus"},
	} {
		_, err := parse(args, io.Discard)
		assert.Error(t, err, args)
	}
}

func TestParseSelects(t *testing.T) {
	o, err := parse([]string{"-peers", "^go-zero$", "-workloads", "^(alone|pair)$"}, io.Discard)
	require.NoError(t, err)
	var names []string
	for _, p := range o.peers {
		names = append(names, p.Name)
	}
	assert.Equal(t, []string{peer.Baseline, "go-zero"}, names)
	assert.Len(t, o.workloads, 2)
}

func TestParseSelectsBaselines(t *testing.T) {
	for workloads, want := range map[string][]string{
		"^leave$":         {peer.ContextBaseline},
		"^(alone|leave)$": {peer.Baseline, peer.ContextBaseline},
	} {
		o, err := parse([]string{"-peers", "^$", "-workloads", workloads}, io.Discard)
		require.NoError(t, err)
		var names []string
		for _, p := range o.peers {
			names = append(names, p.Name)
		}
		assert.Equal(t, want, names)
	}
}

func TestSummary(t *testing.T) {
	var o options
	for _, p := range peer.All {
		if p.Name == peer.Baseline || p.Name == peer.Own {
			o.peers = append(o.peers, p)
		}
	}
	for _, w := range workload.All {
		if w.Name == "busy" || w.Name == "waiter" {
			o.workloads = append(o.workloads, w)
		}
	}
	measured := func(own, baseline float64) round {
		return round{roundTrip: 200, figures: map[cell]float64{
			{"busy", peer.Own}: own, {"busy", peer.Baseline}: baseline,
			{"waiter", peer.Own}: 300, {"waiter", peer.Baseline}: 0,
		}}
	}
	// The ratios are 4, 5 and 2; that of the medians would be 2.5.
	r := summarize(o, []round{measured(400, 100), measured(500, 100), measured(600, 300)})

	busy := r.Rows[0].Entries
	assert.Equal(t, entry{Figure: spread{500, 400, 600}, Ratio: spread{4, 2, 5}}, busy[peer.Own])
	assert.Equal(t, entry{Figure: spread{100, 100, 300}, Ratio: spread{1, 1, 1}}, busy[peer.Baseline])
	assert.Equal(t, entry{Figure: spread{300, 300, 300}}, r.Rows[1].Entries[peer.Own], "there is no ratio to zero")
	assert.Equal(t, spread{2.5, 2, 3}, r.Trips)

	var text bytes.Buffer
	r.print(&text)
	assert.Contains(t, text.String(), "| busy | 100ns (100ns–300ns) | 4.00 (2.00–5.00) |")
	assert.Contains(t, text.String(), "| waiter | 0 B | 300 B |")
	assert.Contains(t, text.String(), "takes 500ns. A round trip between two goroutines takes 200ns; the Do takes 2.5 of them.")
}

// x/sync has no such calls, so there is no ratio to it.
func TestCallsWithAContextHaveTheirOwnTable(t *testing.T) {
	o, err := parse([]string{"-peers=^actorflight$", "-workloads=^(alone|leave)$"}, io.Discard)
	require.NoError(t, err)
	r := summarize(o, []round{{figures: map[cell]float64{
		{"alone", peer.Own}: 50, {"alone", peer.Baseline}: 100, {"alone", peer.ContextBaseline}: 900,
		{"leave", peer.Own}: 600, {"leave", peer.ContextBaseline}: 300,
	}}})
	var text bytes.Buffer
	r.print(&text)
	assert.Contains(t, text.String(), `
| workload | x-sync | actorflight | resenje | what is measured |
|:--- | ---:| ---:| ---:| --- |
| alone | 100ns | 0.50 | 9.00 | one Do after another |

| workload | resenje | actorflight | what is measured |
|:--- | ---:| ---:| --- |
| leave | 300ns | 2.00 | 10,000 callers wait`)
}

// Only this library has fresh calls, so there is no ratio.
func TestFiguresWithoutABaseline(t *testing.T) {
	o, err := parse([]string{"-peers=^actorflight$", "-workloads=^(join|fresh)$"}, io.Discard)
	require.NoError(t, err)
	r := summarize(o, []round{{figures: map[cell]float64{
		{"join", peer.Own}: 22e6, {"join", peer.ContextBaseline}: 20e6,
		{"join runs", peer.Own}: 1, {"join runs", peer.ContextBaseline}: 1,
		{"fresh", peer.Own}: 40e6, {"fresh runs", peer.Own}: 2.04,
	}}})
	var text bytes.Buffer
	r.print(&text)
	assert.Contains(t, text.String(), "| join | 20ms | 1.10 |")
	assert.Contains(t, text.String(), "| join runs | 1 | 1.00 |")
	assert.Contains(t, text.String(), "| fresh |  | 40ms |")
	assert.Contains(t, text.String(), "| fresh runs |  | 2 |")
}

func TestSpreadIsTheMiddleHalfOfTheRounds(t *testing.T) {
	value := func(r round) float64 { return r.roundTrip }
	rounds := make([]round, 7)
	for i := range rounds {
		rounds[i].roundTrip = float64(10 * (7 - i))
	}
	assert.Equal(t, spread{40, 20, 60}, spreadOf(rounds, value))
	assert.Equal(t, spread{70, 70, 70}, spreadOf(rounds[:1], value))
	assert.Equal(t, spread{65, 60, 70}, spreadOf(rounds[:2], value))
}

func TestPeersTakeTurns(t *testing.T) {
	peers := []peer.Peer{{Name: "a"}, {Name: "b"}, {Name: "c"}}
	var orders []string
	for round := range 4 {
		order := ""
		for _, p := range inTurn(peers, round) {
			order += p.Name
		}
		orders = append(orders, order)
	}
	assert.Equal(t, []string{"abc", "bac", "cab", "acb"}, orders)
}

// drawn returns the peers that are in the chart.
func drawn() []peer.Peer {
	return slices.DeleteFunc(slices.Clone(peer.All), func(p peer.Peer) bool { return !workload.All[0].Fits(p) })
}

// The marks of a column stand side by side. Each peer's share of the column must be at
// least as wide as the largest mark.
func TestMarksDoNotCoverEachOther(t *testing.T) {
	figures := 0
	for _, w := range workload.All {
		for _, f := range w.Figures {
			if w.Baseline == peer.Baseline && f.Unit.IsTime() {
				figures++
			}
		}
	}
	const axis = 2 * vg.Centimeter // at most, for the labels of the other axis
	column := (width - legendWidth - axis) / vg.Length((figures+1)/2)
	peers := len(drawn()) - 1 // x/sync is a line
	assert.GreaterOrEqual(t, spaced*column/vg.Length(peers), 2*glyph(0, true).Radius)
}

func TestRun(t *testing.T) {
	dir := t.TempDir()
	figures, chart := filepath.Join(dir, "figures.json"), filepath.Join(dir, "chart.svg")
	var table bytes.Buffer
	err := run([]string{"-rounds=2", "-benchtime=1x", "-workloads=^(alone|dochan|recovery|context|background|leave|onlooker)$", "-json", figures, "-svg", chart}, &table, io.Discard)
	require.NoError(t, err)
	assert.Contains(t, table.String(), "| recovery |")

	var r report
	text, err := os.ReadFile(figures)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &r))
	require.Len(t, r.Rows, 7)
	assert.Len(t, r.Rows[0].Entries, len(drawn()))
	for _, row := range r.Rows {
		for name, e := range row.Entries {
			assert.Positive(t, e.Figure.Median, "%s on %s", row.Name, name)
			assert.Positive(t, e.Ratio.Median, "%s on %s", row.Name, name)
		}
	}

	text, err = os.ReadFile(chart)
	require.NoError(t, err)
	require.NoError(t, xml.Unmarshal(text, new(struct{})))
	for _, p := range drawn() {
		assert.Contains(t, string(text), p.Name)
	}
	assert.NotContains(t, string(text), "onlooker", "there is no ratio to x/sync")
}

func TestOnlyTimesAreDrawn(t *testing.T) {
	chart := filepath.Join(t.TempDir(), "chart.svg")
	err := run([]string{"-rounds=1", "-benchtime=1x", "-workloads=^waiter$", "-peers=^$", "-svg", chart}, io.Discard, io.Discard)
	assert.ErrorContains(t, err, "-svg")
}

// If a peer did not suppress duplicates, the benchmarks would measure something else.
func TestPeersSuppressDuplicates(t *testing.T) {
	for _, p := range peer.All {
		t.Run(p.Name, func(t *testing.T) {
			g := p.New()
			calls := []func(string, func() (any, error)) (any, error){g.Do}
			if g, ok := g.(peer.DoChanner); ok {
				calls = append(calls, g.DoChan)
			}
			if g, ok := g.(peer.ContextDoer); ok {
				for _, ctx := range []context.Context{t.Context(), context.Background()} {
					calls = append(calls, func(key string, fn func() (any, error)) (any, error) {
						return g.DoContext(ctx, key, func(context.Context) (any, error) { return fn() })
					})
				}
			}
			for _, call := range calls {
				flying, gate := make(chan struct{}), make(chan struct{})
				runs := 0
				fn := func() (any, error) {
					runs++
					close(flying)
					<-gate
					return runs, nil
				}
				var wg sync.WaitGroup
				join := func() {
					v, err := call("key", fn)
					assert.Equal(t, 1, v)
					assert.NoError(t, err)
				}
				wg.Go(join)
				<-flying
				for range 10 {
					wg.Go(join)
				}
				workload.AwaitRest()
				close(gate)
				wg.Wait()
				assert.Equal(t, 1, runs)
			}
		})
	}
}

func TestPeersLetCallersLeave(t *testing.T) {
	for _, p := range peer.All {
		g, ok := p.New().(peer.ContextDoer)
		if !ok {
			continue
		}
		t.Run(p.Name, func(t *testing.T) {
			flying := make(chan context.Context)
			call := func(ctx context.Context) <-chan error {
				result := make(chan error, 1)
				go func() {
					_, err := g.DoContext(ctx, "key", func(ctx context.Context) (any, error) {
						flying <- ctx
						<-ctx.Done()
						return nil, ctx.Err()
					})
					result <- err
				}()
				return result
			}
			first, cancelFirst := context.WithCancel(t.Context())
			leader := call(first)
			ctx := <-flying
			second, cancelSecond := context.WithCancel(t.Context())
			waiter := call(second)
			workload.AwaitRest()
			cancelSecond()
			assert.ErrorIs(t, <-waiter, context.Canceled)
			assert.NoError(t, ctx.Err(), "the leader is still there")
			cancelFirst()
			assert.ErrorIs(t, <-leader, context.Canceled)
			<-ctx.Done()
		})
	}
}

// A fresh call joins no flight in progress, but calls share the next one.
func TestFreshPeersShareTheNextFlight(t *testing.T) {
	for _, p := range peer.All {
		g, ok := p.New().(peer.Fresher)
		if !ok {
			continue
		}
		t.Run(p.Name, func(t *testing.T) {
			var runs atomic.Int64
			landing := make(chan struct{})
			fn := func(context.Context) (any, error) {
				defer func() { <-landing }()
				return runs.Add(1), nil
			}
			var ended sync.WaitGroup
			begin := func(call func(context.Context, string, func(context.Context) (any, error)) (any, error), want int64) {
				ended.Go(func() {
					v, err := call(t.Context(), "key", fn)
					assert.Equal(t, want, v)
					assert.NoError(t, err)
				})
				workload.AwaitRest()
			}
			begin(g.DoContext, 1)
			for range 3 {
				begin(g.DoFresh, 2)
			}
			close(landing)
			ended.Wait()
			assert.EqualValues(t, 2, runs.Load())
		})
	}
}

func TestPeersRecover(t *testing.T) {
	for _, p := range peer.All {
		if !p.Recovers {
			continue
		}
		t.Run(p.Name, func(t *testing.T) {
			g := p.New()
			for range 3 {
				assert.Panics(t, func() { g.Do("key", func() (any, error) { panic("fn failed") }) })
			}
		})
	}
}
