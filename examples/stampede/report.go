package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/actorflight/singleflight/examples/internal/program"
)

// An outcome is what is reported of a round.
type outcome struct {
	coalesces bool
	fresh     bool

	Round     string `json:"round"`
	Impatient bool   `json:"impatient"`
	Writing   bool   `json:"writing"`
	Requests  int64  `json:"requests"`
	Errors    int64  `json:"errors"`
	GaveUp    int64  `json:"gave_up"`
	Writes    int64  `json:"writes"`
	Stale     int64  `json:"stale_reads"`
	counts
	QueriesPerExpiry float64 `json:"queries_per_expiry"`
	P50              int64   `json:"p50_us"`
	P99              int64   `json:"p99_us"`
	Max              int64   `json:"max_us"`
}

func newOutcome(r round, t *tally) outcome {
	return outcome{
		coalesces:        r.coalesces,
		fresh:            r.fresh,
		Impatient:        r.impatient,
		Writing:          r.writes,
		Round:            r.name,
		Requests:         t.latencies.TotalCount(),
		Errors:           t.errors,
		GaveUp:           t.gaveUp,
		Writes:           t.writes,
		Stale:            t.stale,
		counts:           t.counts,
		QueriesPerExpiry: float64(t.Queries) / float64(max(1, t.Expiries)),
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

// kind returns the clients of the round, as an index of tables.
func (o outcome) kind() int {
	switch {
	case o.Writing:
		return 2
	case o.Impatient:
		return 1
	default:
		return 0
	}
}

// tables write the rounds of one kind of clients each.
var tables = [...]func(io.Writer, []outcome) error{writeTable, writeImpatient, writeWriting}

// writeTables writes a table of the rounds of each kind of clients. Those of a kind come
// together.
func writeTables(w io.Writer, outcomes []outcome) error {
	for len(outcomes) > 0 {
		kind := outcomes[0].kind()
		n := slices.IndexFunc(outcomes, func(o outcome) bool { return o.kind() != kind })
		if n < 0 {
			n = len(outcomes)
		}
		if err := tables[kind](w, outcomes[:n]); err != nil {
			return err
		}
		if outcomes = outcomes[n:]; len(outcomes) > 0 {
			fmt.Fprintln(w)
		}
	}
	return nil
}

// writeImpatient is writeTable for rounds with impatient clients.
func writeImpatient(w io.Writer, outcomes []outcome) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(table, "%-21s\trequests\tgave up\terrors\tdatabase queries\tcancelled\twasted\t\n", "impatient clients")
	var cancelled, wasted []string
	for _, o := range outcomes {
		fmt.Fprintf(table, "%-21s\t%d\t%d\t%d\t%d\t%d\t%d\t\n", o.Round, o.Requests, o.GaveUp, o.Errors,
			o.Queries, o.Cancelled, o.Wasted)
		cancelled = append(cancelled, fmt.Sprintf("%s with %s", o.share(o.Cancelled), o.Round))
		wasted = append(wasted, o.share(o.Wasted))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\nOf the queries, the database cancelled %s; %s ran to the end though all clients had left.\n",
		program.List(cancelled), program.List(wasted))
	return err
}

// writeWriting is writeTable for rounds with clients that write.
func writeWriting(w io.Writer, outcomes []outcome) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(table, "%-21s\trequests\terrors\twrites\tstale reads\tdatabase queries\toverlapping\t\n", "clients that write")
	var stale []string
	for _, o := range outcomes {
		fmt.Fprintf(table, "%-21s\t%d\t%d\t%d\t%d\t%d\t%d\t\n", o.Round, o.Requests, o.Errors, o.Writes, o.Stale,
			o.Queries, o.Overlaps)
		stale = append(stale, fmt.Sprintf("%d of %d times with %s", o.Stale, o.Writes, o.Round))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\nEach write was followed by a read of the same product. The read missed the write, because it got "+
		"the result of a query that had begun before, %s.\n", program.List(stale))
	return err
}

// share returns n as a percentage of the queries.
func (o outcome) share(n int) string {
	return fmt.Sprintf("%.0f%%", 100*float64(n)/float64(max(1, o.Queries)))
}

// writeTable writes a table of one or more outcomes, and a sentence that says what it shows.
func writeTable(w io.Writer, outcomes []outcome) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(table, "%-14s\trequests\terrors\tdatabase queries\tqueries per expiry\tp50\tp99\tmax\t\n", "round")
	var queries, p99s []string
	for _, o := range outcomes {
		fmt.Fprintf(table, "%-14s\t%d\t%d\t%d\t%.2f\t%s\t%s\t%s\t\n", o.Round, o.Requests, o.Errors,
			o.Queries, o.QueriesPerExpiry, milliseconds(o.P50), milliseconds(o.P99), milliseconds(o.Max))
		queries = append(queries, fmt.Sprintf("%.2f times with %s", o.QueriesPerExpiry, o.Round))
		p99s = append(p99s, milliseconds(o.P99))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\nFor each expiry, the database was asked on average %s; 99 of 100 answers came within %s.\n",
		program.List(queries), program.List(p99s))
	return err
}

func milliseconds(microseconds int64) string {
	return fmt.Sprintf("%.1f ms", float64(microseconds)/1000)
}

// check returns an error if a round that coalesces had overlapping queries or
// failing requests, or one whose reads must be fresh had stale ones.
func check(outcomes []outcome) error {
	var faults []string
	for _, o := range outcomes {
		if o.coalesces && (o.Overlaps > 0 || o.Errors > 0) {
			faults = append(faults, fmt.Sprintf("%s: %d overlapping queries, %d failed requests", o.Round, o.Overlaps, o.Errors))
		}
		if o.fresh && o.Stale > 0 {
			faults = append(faults, fmt.Sprintf("%s: %d stale reads", o.Round, o.Stale))
		}
	}
	if faults == nil {
		return nil
	}
	return errors.New(strings.Join(faults, "; "))
}
