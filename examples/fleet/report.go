package main

import (
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/actorflight/singleflight/examples/internal/program"
)

// An outcome is what is reported of a round.
type outcome struct {
	round            string
	requests, errors int
	counts
	takeover
	p50, p99, max time.Duration
}

// newOutcome returns the outcome of a round with these latencies, which are in ascending
// order.
func newOutcome(round string, latencies []time.Duration, errors int, db *database) outcome {
	o := outcome{round: round, requests: len(latencies), errors: errors}
	o.counts, o.takeover = db.seen()
	if last := len(latencies) - 1; last >= 0 {
		o.p50, o.p99, o.max = latencies[last/2], latencies[last*99/100], latencies[last]
	}
	return o
}

func (o outcome) queriesPerExpiry() float64 {
	return float64(o.queries) / float64(max(1, o.expiries))
}

// report writes a table of the outcomes, if there are any, and sentences that say what
// it shows.
func report(w io.Writer, outcomes []outcome) error {
	if len(outcomes) == 0 {
		return nil
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(table, "%-28s\trequests\terrors\texpiries\tdatabase queries\tqueries per expiry\tp50\tp99\tmax\t\n", "round")
	var queries, p99s []string
	for _, o := range outcomes {
		fmt.Fprintf(table, "%-28s\t%d\t%d\t%d\t%d\t%.2f\t%s\t%s\t%s\t\n", o.round, o.requests, o.errors, o.expiries,
			o.queries, o.queriesPerExpiry(), milliseconds(o.p50), milliseconds(o.p99), milliseconds(o.max))
		queries = append(queries, fmt.Sprintf("%.2f times with %s", o.queriesPerExpiry(), o.round))
		p99s = append(p99s, milliseconds(o.p99))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\nFor each expiry in the fleet, the database was asked on average %s; 99 of 100 answers came within %s.\n",
		program.List(queries), program.List(p99s))
	for _, o := range outcomes {
		if o.by != 0 {
			_, err = fmt.Fprintf(w, "Process %d was killed in the middle of a query that it led; process %d took over after %.0f ms.\n",
				o.killed, o.by, float64(o.after)/float64(time.Millisecond))
		}
	}
	return err
}

func milliseconds(d time.Duration) string {
	return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
}

// check returns an error if requests failed with natsflight, or if no process took over
// from one that was killed.
func check(outcomes []outcome) error {
	for _, o := range outcomes {
		switch {
		case o.round == fleetwide && o.errors > 0:
			return fmt.Errorf("%s: %d requests failed", o.round, o.errors)
		case o.killed != 0 && o.by == 0:
			return errors.New("no process took over from the one that was killed")
		}
	}
	return nil
}
