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

// A report is the outcome of a run.
type report struct {
	Machine string   `json:"machine"`
	Go      string   `json:"go"`
	Rounds  int      `json:"rounds"`
	Peers   []string `json:"peers"`
	Rows    []row    `json:"figures"`

	// The cost of asking an owner: a Do of this library in busy, a round trip between
	// two goroutines, and how many of these the Do takes.
	Busy      spread `json:"busy_ns,omitzero"`
	RoundTrip spread `json:"round_trip_ns,omitzero"`
	Trips     spread `json:"round_trips,omitzero"`
}

// A row is a figure with its entries by peer. A peer that does not fit the workload has
// none.
type row struct {
	workload.Figure
	Baseline string           `json:"baseline"`
	Entries  map[string]entry `json:"peers"`
}

// An entry is a peer's figure, and its ratio to the baseline's in the same rounds. The
// ratio is 0 if the baseline's figure is less than 1.
type entry struct {
	Figure spread `json:"figure"`
	Ratio  spread `json:"ratio,omitzero"`
}

// A spread is the median and the quartiles of a value over the rounds.
type spread struct {
	Median float64 `json:"median"`
	Low    float64 `json:"low"`
	High   float64 `json:"high"`
}

// isWide reports whether the quartiles are far apart.
func (s spread) isWide() bool { return s.High > 1.25*s.Low }

func spreadOf(rounds []round, value func(round) float64) spread {
	values := make([]float64, len(rounds))
	for i, r := range rounds {
		values[i] = value(r)
	}
	slices.Sort(values)
	last := len(values) - 1
	return spread{
		Median: (values[last/2] + values[(last+1)/2]) / 2,
		Low:    values[last/4],
		High:   values[last-last/4],
	}
}

func summarize(o options, rounds []round) report {
	r := report{
		Machine: fmt.Sprintf("%s, %d cores, %s/%s", cpuid.CPU.BrandName, runtime.GOMAXPROCS(0), runtime.GOOS, runtime.GOARCH),
		Go:      runtime.Version(),
		Rounds:  len(rounds),
	}
	for _, p := range o.peers {
		r.Peers = append(r.Peers, p.Name)
	}
	for _, w := range o.workloads {
		for _, f := range w.Figures {
			row := row{Figure: f, Baseline: w.Baseline, Entries: make(map[string]entry)}
			for _, p := range o.peers {
				if w.Fits(p) {
					row.Entries[p.Name] = newEntry(rounds, cell{f.Name, p.Name}, cell{f.Name, w.Baseline})
				}
			}
			r.Rows = append(r.Rows, row)
			if own, ok := row.Entries[peer.Own]; ok && f.Name == workload.Busy {
				r.Busy = own.Figure
				r.RoundTrip = spreadOf(rounds, func(r round) float64 { return r.roundTrip })
				r.Trips = spreadOf(rounds, func(r round) float64 { return r.figures[cell{f.Name, peer.Own}] / r.roundTrip })
			}
		}
	}
	return r
}

func newEntry(rounds []round, of, baseline cell) entry {
	e := entry{Figure: spreadOf(rounds, func(r round) float64 { return r.figures[of] })}
	if spreadOf(rounds, func(r round) float64 { return r.figures[baseline] }).Median >= 1 {
		e.Ratio = spreadOf(rounds, func(r round) float64 { return r.figures[of] / r.figures[baseline] })
	}
	return e
}

// print writes the ratios as tables that are also Markdown, one for each baseline.
func (r report) print(w io.Writer) {
	fmt.Fprintf(w, "Ratios to the first column in the same round, medians of %d rounds; lower is better.\n", r.Rounds)
	fmt.Fprintln(w, "In parentheses the quartiles, where they are more than a quarter apart.")
	fmt.Fprintf(w, "%s, %s.\n\n", r.Machine, r.Go)
	for _, baseline := range []string{peer.Baseline, peer.ContextBaseline, peer.Own} {
		if rows := r.rowsBeside(baseline); len(rows) > 0 {
			fmt.Fprintf(w, "%s\n\n", r.table(baseline, rows))
		}
	}
	if r.Busy != (spread{}) {
		fmt.Fprintf(w, "A Do of actorflight that asks an owner, as in busy, takes %s. A round trip between two goroutines takes %s; the Do takes %.1f of them.\n",
			duration(r.Busy.Median), duration(r.RoundTrip.Median), r.Trips.Median)
	}
}

// rowsBeside returns the rows whose ratios are to a baseline.
func (r report) rowsBeside(baseline string) []row {
	return slices.DeleteFunc(slices.Clone(r.Rows), func(row row) bool { return row.Baseline != baseline })
}

// others returns the peers that have an entry in one of the rows, but for their baseline.
func (r report) others(baseline string, rows []row) []string {
	return slices.DeleteFunc(slices.Clone(r.Peers), func(name string) bool {
		return name == baseline || !slices.ContainsFunc(rows, func(row row) bool {
			_, ok := row.Entries[name]
			return ok
		})
	})
}

// table returns a table with a column for each peer that has an entry in it.
func (r report) table(baseline string, rows []row) string {
	others := r.others(baseline, rows)
	header := table.Row{"workload", baseline}
	columns := make([]table.ColumnConfig, len(others)+2)
	for i := range columns {
		columns[i] = table.ColumnConfig{Number: i + 1, Align: text.AlignRight}
	}
	columns[0].Align = text.AlignLeft
	for _, name := range others {
		header = append(header, name)
	}
	header = append(header, "what is measured")
	t := table.NewWriter()
	t.AppendHeader(header)
	t.SetColumnConfigs(columns)
	for _, row := range rows {
		inUnit := func(figure float64) string { return amount(figure, row.Unit) }
		ratio := func(ratio float64) string { return fmt.Sprintf("%.2f", ratio) }
		cells := table.Row{row.Name, ""}
		if e, ok := row.Entries[baseline]; ok {
			cells[1] = e.Figure.text(inUnit)
		}
		for _, name := range others {
			e, ok := row.Entries[name]
			switch {
			case !ok:
				cells = append(cells, "")
			case e.Ratio == spread{}:
				cells = append(cells, e.Figure.text(inUnit))
			default:
				cells = append(cells, e.Ratio.text(ratio))
			}
		}
		t.AppendRow(append(cells, row.What))
	}
	return t.RenderMarkdown()
}

// text writes the median, and the quartiles if they are far apart, even when rounded.
func (s spread) text(value func(float64) string) string {
	low, high := value(s.Low), value(s.High)
	if !s.isWide() || low == high {
		return value(s.Median)
	}
	return fmt.Sprintf("%s (%s–%s)", value(s.Median), low, high)
}

// amount writes a figure with its unit.
func amount(figure float64, unit workload.Unit) string {
	if unit.IsTime() {
		return duration(figure)
	}
	if unit.IsMemory() {
		return humanize.IBytes(uint64(figure))
	}
	return humanize.Commaf(math.Round(10*figure) / 10)
}

// duration writes three digits of a number of ns.
func duration(ns float64) string {
	threeDigits := time.Duration(math.Pow(10, math.Floor(math.Log10(max(ns, 1)))-2))
	return time.Duration(ns).Round(threeDigits).String()
}

func (r report) writeJSON(file string) error {
	text, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(text, '\n'), 0o644)
}
