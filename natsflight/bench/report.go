package main

import (
	"fmt"
	"io"
	"math"
	"runtime"
	"slices"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/klauspost/cpuid/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"go.etcd.io/etcd/api/v3/version"
)

// A report has the values of all rounds.
type report struct {
	options
	values map[cell][]float64
}

type cell struct {
	nodes  int
	figure figure
	peer   string
}

// A figure is a row of a table.
type figure int

const (
	loneCall figure = iota
	joinedCall
	flightsPerSecond
	takeover
	longest
)

// figures describes them. A target is the largest ratio to etcd, or the longest time,
// that natsflight should have.
var figures = []struct {
	name, what string
	ratio      float64
	time       time.Duration
}{
	loneCall:         {name: "lone call", what: "a Do of a fresh key whose fn returns at once: p50", ratio: 0.2},
	joinedCall:       {name: "joined call", what: "from the return of fn to that of a Do of another group: p50", ratio: 0.6},
	flightsPerSecond: {name: "flights/s", what: "concurrent callers, fresh keys (-callers, -groups)"},
	takeover:         {name: "takeover", what: "from the SIGKILL of the leading process to the call of a waiter's fn: p50"},
	longest:          {name: "takeover, max", what: "the same: the longest of all rounds", time: 500 * time.Millisecond},
}

// print writes a table that is also Markdown for each number of nodes.
func (r *report) print(w io.Writer) {
	durability := "JetStream every 2 minutes"
	if r.sync {
		durability = "so does JetStream (-sync)"
	}
	fmt.Fprintf(w, "Medians over the rounds (-rounds %d); in parentheses the quartiles, where they are more than a quarter apart.\n", r.rounds)
	fmt.Fprintf(w, "Ratios are those of natsflight's figure to etcd's in the same round. etcd's leases have 2 s, its least;\n")
	fmt.Fprintf(w, "natsflight's have 10 s, its default. etcd syncs each write to the disk; %s.\n", durability)
	fmt.Fprintf(w, "A lone call waits for one answer of JetStream, and for two of etcd, which must have the result before\n")
	fmt.Fprintf(w, "a caller returns; a caller of natsflight returns first, because the leader answers for its flight.\n")
	fmt.Fprintf(w, "%s, %d cores, %s/%s, %s; nats-server %s, nats.go %s, etcd %s.\n", cpuid.CPU.BrandName, runtime.GOMAXPROCS(0),
		runtime.GOOS, runtime.GOARCH, runtime.Version(), server.VERSION, nats.Version, version.Version)
	for _, n := range r.nodes {
		fmt.Fprintf(w, "\n%s\n", r.table(n))
	}
}

func (r *report) table(nodes int) string {
	t := table.NewWriter()
	t.AppendHeader(table.Row{fmt.Sprintf("nodes: %d", nodes), nameOfEtcd, nameOfNats, "ratio", "target", nameOfLocal, "what is measured"})
	columns := []table.ColumnConfig{{Number: 1, Align: text.AlignLeft}}
	for i := 2; i <= 6; i++ {
		columns = append(columns, table.ColumnConfig{Number: i, Align: text.AlignRight})
	}
	t.SetColumnConfigs(columns)
	for i, f := range figures {
		of := figure(i)
		values := func(peer string) []float64 { return r.values[cell{nodes, of, peer}] }
		etcd, own := values(nameOfEtcd), values(nameOfNats)
		ratios := make([]float64, len(own))
		for i := range own {
			ratios[i] = own[i] / etcd[i]
		}
		target := ""
		switch {
		case f.ratio > 0:
			target = fmt.Sprintf("ratio ≤ %.2f: %s", f.ratio, met(spreadOf(ratios).median <= f.ratio))
		case f.time > 0:
			target = fmt.Sprintf("≤ %v: %s", f.time, met(slices.Max(own) <= float64(f.time)))
		}
		t.AppendRow(table.Row{
			f.name, of.text(etcd), of.text(own), spreadOf(ratios).text(ratio), target, of.text(values(nameOfLocal)), f.what,
		})
	}
	return t.RenderMarkdown()
}

func met(is bool) string {
	if is {
		return "met"
	}
	return "missed"
}

// text writes the values of a figure in the rounds.
func (f figure) text(values []float64) string {
	switch {
	case values == nil:
		return ""
	case f == longest:
		return duration(slices.Max(values))
	case f == flightsPerSecond:
		return spreadOf(values).text(func(v float64) string { return fmt.Sprintf("%.0f", v) })
	default:
		return spreadOf(values).text(duration)
	}
}

func ratio(r float64) string { return fmt.Sprintf("%.2f", r) }

// A spread is the median and the quartiles of a value over the rounds.
type spread struct{ median, low, high float64 }

func spreadOf(values []float64) spread {
	values = slices.Sorted(slices.Values(values))
	last := len(values) - 1
	return spread{(values[last/2] + values[(last+1)/2]) / 2, values[last/4], values[last-last/4]}
}

// text writes the median, and the quartiles if they are far apart.
func (s spread) text(value func(float64) string) string {
	if s.high <= 1.25*s.low {
		return value(s.median)
	}
	return fmt.Sprintf("%s (%s–%s)", value(s.median), value(s.low), value(s.high))
}

// duration writes three digits of a number of ns.
func duration(ns float64) string {
	threeDigits := time.Duration(math.Pow(10, math.Floor(math.Log10(max(ns, 1)))-2))
	return time.Duration(ns).Round(threeDigits).String()
}
