package main

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

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
	assert.Equal(t, entry{Figure: 500, Ratio: 4, Low: 2, High: 5}, busy[peer.Own])
	assert.Equal(t, entry{Figure: 100, Ratio: 1, Low: 1, High: 1}, busy[peer.Baseline])
	assert.Equal(t, entry{Figure: 300}, r.Rows[1].Entries[peer.Own], "there is no ratio to nothing")

	var text bytes.Buffer
	r.print(&text)
	assert.Contains(t, text.String(), "| busy | 100ns | 4.00 |")
	assert.Contains(t, text.String(), "| waiter | 0 B | 300 B |")
	assert.Contains(t, text.String(), "takes 2.50 of them")
}

func TestRun(t *testing.T) {
	dir := t.TempDir()
	figures, chart := filepath.Join(dir, "figures.json"), filepath.Join(dir, "chart.svg")
	var table bytes.Buffer
	err := run([]string{"-rounds=2", "-benchtime=1x", "-workloads=^(alone|dochan|recovery)$", "-json", figures, "-svg", chart}, &table, io.Discard)
	require.NoError(t, err)
	assert.Contains(t, table.String(), "| recovery |")

	var r report
	text, err := os.ReadFile(figures)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &r))
	require.Len(t, r.Rows, 3)
	assert.Len(t, r.Rows[0].Entries, len(peer.All))
	for name, e := range r.Rows[0].Entries {
		assert.Positive(t, e.Figure, name)
		assert.Positive(t, e.Ratio, name)
	}

	text, err = os.ReadFile(chart)
	require.NoError(t, err)
	require.NoError(t, xml.Unmarshal(text, new(struct{})))
	for _, p := range peer.All {
		assert.Contains(t, string(text), p.Name)
	}
}

// A peer whose calls do not meet would be measured doing something else.
func TestPeersSuppressDuplicates(t *testing.T) {
	for _, p := range peer.All {
		t.Run(p.Name, func(t *testing.T) {
			g := p.New()
			calls := []func(string, func() (any, error)) (any, error){g.Do}
			if g, ok := g.(peer.DoChanner); ok {
				calls = append(calls, g.DoChan)
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
