// Bench measures this library beside its peers.
//
//	go -C bench run .
//
// One workload after another is run in rounds. In a round the peers take turns, so that
// whatever else the machine does meets them alike. A ratio
// is that of a peer's figure to x/sync's in the same round, or in calls with a
// context, which x/sync does not have, to resenje's; the tables have the median of
// the rounds. What is measured is in package workload, and on what, in package peer.
// The same benchmarks can be run by go test -bench, and compare does that for two
// commits.
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
