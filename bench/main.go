// Bench measures this library beside its peers.
//
//	go -C bench run .
//
// One workload after another is run in rounds. In a round the peers take turns, so that
// other activity on the machine affects them alike. A ratio is that of a peer's figure
// to x/sync's in the same round, or, for calls with a context, which x/sync does not
// have, to resenje's; the tables have the medians of the rounds. Package workload has
// the workloads, and package peer the peers. go test -bench runs the same benchmarks,
// and compare does that for two commits.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"testing"
)

func main() {
	testing.Init()
	if err := run(os.Args[1:], os.Stdout, os.Stderr); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(args []string, stdout, stderr io.Writer) error {
	o, err := parse(args, stderr)
	if err != nil {
		return err
	}
	rounds, err := measure(o, stderr)
	if err != nil {
		return err
	}
	r := summarize(o, rounds)
	r.print(stdout)
	if o.json != "" {
		if err := r.writeJSON(o.json); err != nil {
			return err
		}
	}
	if o.svg != "" {
		return r.draw(o.svg)
	}
	return nil
}
