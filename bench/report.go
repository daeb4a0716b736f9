package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"slices"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/klauspost/cpuid/v2"

	"github.com/actorflight/singleflight/bench/peer"
	"github.com/actorflight/singleflight/bench/workload"
)

// A report is what a run found.
type report struct {
	Machine   string   `json:"machine"`
	Go        string   `json:"go"`
	Rounds    int      `json:"rounds"`
	RoundTrip float64  `json:"round_trip_ns"` // median
	Peers     []string `json:"peers"`
	Rows      []row    `json:"workloads"`
}

// A row is a workload with its entries by peer. A peer that it does not fit has
// none.
type row struct {
	Workload string           `json:"workload"`
	What     string           `json:"what"`
	Unit     workload.Unit    `json:"unit"`
	Entries  map[string]entry `json:"peers"`
}

// An entry is what a workload found of a peer.
type entry struct {
	// Figure is the median of the rounds.
	Figure float64 `json:"figure"`

	// Ratio is the median of the rounds' ratios to x/sync; Low and High are
	// their bounds. All are 0 where x/sync's figure is next to nothing.
	Ratio float64 `json:"ratio,omitzero"`
	Low   float64 `json:"low,omitzero"`
	High  float64 `json:"high,omitzero"`
}

func summarize(o options, rounds []round) report {
	r := report{
		Machine: fmt.Sprintf("%s, %d cores, %s/%s", cpuid.CPU.BrandName, runtime.GOMAXPROCS(0), runtime.GOOS, runtime.GOARCH),
		Go:      runtime.Version(),
		Rounds:  len(rounds),
	}
	r.RoundTrip = median(rounds, func(r round) float64 { return r.roundTrip })
	for _, p := range o.peers {
		r.Peers = append(r.Peers, p.Name)
	}
	for _, w := range o.workloads {
		row := row{Workload: w.Name, What: w.What, Unit: w.Unit, Entries: make(map[string]entry)}
		for _, p := range o.peers {
			if w.Fits(p) {
				row.Entries[p.Name] = newEntry(rounds, cell{w.Name, p.Name}, cell{w.Name, peer.Baseline})
			}
		}
		r.Rows = append(r.Rows, row)
	}
	return r
}

func newEntry(rounds []round, of, baseline cell) entry {
	e := entry{Figure: median(rounds, func(r round) float64 { return r.figures[of] })}
	if median(rounds, func(r round) float64 { return r.figures[baseline] }) < 1 {
		return e
	}
	ratios := sorted(rounds, func(r round) float64 { return r.figures[of] / r.figures[baseline] })
	e.Ratio, e.Low, e.High = middle(ratios), ratios[0], ratios[len(ratios)-1]
	return e
}

func median(rounds []round, of func(round) float64) float64 { return middle(sorted(rounds, of)) }

func sorted(rounds []round, of func(round) float64) []float64 {
	values := make([]float64, len(rounds))
	for i, r := range rounds {
		values[i] = of(r)
	}
	slices.Sort(values)
	return values
}

func middle(sorted []float64) float64 {
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// print writes the ratios as a table that is also Markdown.
func (r report) print(w io.Writer) {
	fmt.Fprintf(w, "Ratios to x/sync in the same round, medians of %d rounds; lower is better.\n", r.Rounds)
	fmt.Fprintf(w, "%s, %s.\n\n", r.Machine, r.Go)
	others := slices.DeleteFunc(slices.Clone(r.Peers), func(name string) bool { return name == peer.Baseline })
	header := table.Row{"workload", peer.Baseline}
	columns := make([]table.ColumnConfig, len(r.Peers)+1)
	for i := range columns {
		columns[i] = table.ColumnConfig{Number: i + 1, Align: text.AlignRight}
	}
	columns[0].Align = text.AlignLeft
	for _, name := range others {
		header = append(header, name)
	}
	t := table.NewWriter()
	t.AppendHeader(header)
	t.SetColumnConfigs(columns)
	for _, row := range r.Rows {
		cells := table.Row{row.Workload, amount(row.Entries[peer.Baseline].Figure, row.Unit)}
		for _, name := range others {
			e, ok := row.Entries[name]
			switch {
			case !ok:
				cells = append(cells, "")
			case e.Ratio == 0:
				cells = append(cells, amount(e.Figure, row.Unit))
			default:
				cells = append(cells, fmt.Sprintf("%.2f", e.Ratio))
			}
		}
		t.AppendRow(cells)
	}
	fmt.Fprintf(w, "%s\n\n", t.RenderMarkdown())
	for _, row := range r.Rows {
		fmt.Fprintf(w, "- %s: %s\n", row.Workload, row.What)
	}
	r.printRoundTrips(w)
}

// printRoundTrips says what it costs to ask an owner, beside what it costs at
// least to ask anybody.
func (r report) printRoundTrips(w io.Writer) {
	for _, row := range r.Rows {
		if e, ok := row.Entries[peer.Own]; ok && row.Workload == "busy" {
			fmt.Fprintf(w, "\nA round trip between two goroutines takes %.0f ns; a Do of actorflight that asks an owner, as in busy, takes %.2f of them.\n",
				r.RoundTrip, e.Figure/r.RoundTrip)
		}
	}
}

// amount writes a figure with its unit.
func amount(figure float64, unit workload.Unit) string {
	if !unit.IsTime() {
		return humanize.IBytes(uint64(figure))
	}
	threeDigits := time.Duration(math.Pow(10, math.Floor(math.Log10(figure))-2))
	return time.Duration(figure).Round(threeDigits).String()
}

func (r report) writeJSON(file string) error {
	text, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(text, '\n'), 0o644)
}
