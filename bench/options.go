package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"regexp"
	"slices"

	"github.com/actorflight/singleflight/bench/peer"
	"github.com/actorflight/singleflight/bench/workload"
)

// options are those of the command line.
type options struct {
	rounds    int
	benchtime string
	json, svg string
	peers     []peer.Peer
	workloads []workload.Workload
}

// parse reads the command line. If it asks for help, parse prints that to
// stderr, and the error is flag.ErrHelp.
func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.IntVar(&o.rounds, "rounds", 7, "`number` of rounds")
	flags.StringVar(&o.benchtime, "benchtime", "100ms", "how long one measurement runs, or, with an x, how often")
	flags.StringVar(&o.json, "json", "", "write the figures to this `file`, as JSON")
	flags.StringVar(&o.svg, "svg", "", "draw the ratios to this `file`, as SVG")
	peers := flags.String("peers", "", "only peers whose names match this `regexp`, and those that they are compared with")
	workloads := flags.String("workloads", "", "only workloads whose names match this `regexp`")
	err := flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprintln(stderr, "Usage: bench [flags]")
		flags.SetOutput(stderr)
		flags.PrintDefaults()
		return o, err
	case err != nil:
		return o, err
	case flags.NArg() > 0:
		return o, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	case o.rounds < 1:
		return o, fmt.Errorf("-rounds must be at least 1, not %d", o.rounds)
	}
	names, err := regexp.Compile(*workloads)
	if err != nil {
		return o, fmt.Errorf("-workloads: %w", err)
	}
	for _, w := range workload.All {
		if names.MatchString(w.Name) {
			o.workloads = append(o.workloads, w)
		}
	}
	if len(o.workloads) == 0 {
		return o, fmt.Errorf("-workloads: no workload matches %q", *workloads)
	}
	names, err = regexp.Compile(*peers)
	if err != nil {
		return o, fmt.Errorf("-peers: %w", err)
	}
	for _, p := range peer.All {
		isBaseline := slices.ContainsFunc(o.workloads, func(w workload.Workload) bool { return w.Baseline == p.Name })
		if isBaseline || names.MatchString(p.Name) {
			o.peers = append(o.peers, p)
		}
	}
	return o, nil
}
