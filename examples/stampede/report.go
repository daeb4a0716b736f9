package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// An outcome is what is reported of a round.
type outcome struct {
	Round    string `json:"round"`
	Requests int64  `json:"requests"`
	Errors   int64  `json:"errors"`
	counts
	QueriesPerExpiry float64 `json:"queries_per_expiry"`
	P50              int64   `json:"p50_us"`
	P99              int64   `json:"p99_us"`
	Max              int64   `json:"max_us"`
}

func newOutcome(round string, t *tally, c counts) outcome {
	return outcome{
		Round:            round,
		Requests:         t.latencies.TotalCount(),
		Errors:           t.errors,
		counts:           c,
		QueriesPerExpiry: float64(c.Queries) / float64(max(1, c.Expiries)),
		P50:              t.latencies.ValueAtPercentile(50),
		P99:              t.latencies.ValueAtPercentile(99),
		Max:              t.latencies.Max(),
	}
}

func writeJSON(w io.Writer, outcomes []outcome) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(map[string]any{"rounds": outcomes})
}

func writeTable(w io.Writer, outcomes []outcome) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(table, "%-14s\trequests\terrors\tdatabase queries\tqueries per expiry\tp50\tp99\tmax\t\n", "round")
	for _, o := range outcomes {
		fmt.Fprintf(table, "%-14s\t%d\t%d\t%d\t%.2f\t%s\t%s\t%s\t\n", o.Round, o.Requests, o.Errors,
			o.Queries, o.QueriesPerExpiry, milliseconds(o.P50), milliseconds(o.P99), milliseconds(o.Max))
	}
	return table.Flush()
}

func milliseconds(microseconds int64) string {
	return fmt.Sprintf("%.1f ms", float64(microseconds)/1000)
}

// writeSentence says what the table shows.
func writeSentence(w io.Writer, outcomes []outcome) error {
	var queries, p99s []string
	for _, o := range outcomes {
		queries = append(queries, fmt.Sprintf("%.2f times with %s", o.QueriesPerExpiry, o.Round))
		p99s = append(p99s, milliseconds(o.P99))
	}
	_, err := fmt.Fprintf(w, "\nWhen an entry expired, the database was asked %s; 99 of 100 answers came within %s.\n",
		list(queries), list(p99s))
	return err
}

func list(items []string) string {
	last := len(items) - 1
	return strings.Join(items[:last], ", ") + " and " + items[last]
}
