// Bench measures natsflight beside a peer that keeps the same guarantees by etcd's
// leases and watches, and, where that can be compared, beside singleflight in each
// process alone.
//
//	go -C natsflight/bench run .
//
// The engines, on one node and on three, are processes on loopback that store in
// temporary directories, with their default settings. By default etcd syncs each write
// to the disk before it answers, and JetStream syncs every two minutes; with -sync,
// JetStream syncs each write, too. Groups with connections of their own stand for the processes of a
// fleet; the process that is killed is a real one.
//
// Each measurement is made in rounds, in which the peers take turns, so that other
// activity on the machine affects them alike.
//
// Ctrl-C or SIGTERM ends the program early, with the exit status 1.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
)

func main() {
	if playRole() {
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer context.AfterFunc(ctx, stop)() // a second signal ends the program at once
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, err := parse(args, stderr)
	if err != nil {
		return err
	}
	r := report{options: o, values: make(map[cell][]float64)}
	for _, n := range o.nodes {
		if err := r.measure(ctx, n, stderr); err != nil {
			if ctx.Err() != nil {
				err = errors.New("interrupted") // what else has failed follows from that
			}
			return err
		}
	}
	r.print(stdout)
	return nil
}

// options are those of the command line.
type options struct {
	rounds, calls, callers, groups, tries int
	nodes                                 []int
	sync                                  bool
}

// parse reads the command line. If it asks for help, parse prints that to stderr, and
// the error is flag.ErrHelp.
func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.IntVar(&o.rounds, "rounds", 5, "`number` of rounds")
	flags.IntVar(&o.calls, "calls", 200, "`number` of lone calls in a round; there are a fifth as many joined calls, and ten times as many flights of concurrent callers")
	flags.IntVar(&o.callers, "callers", 64, "`number` of concurrent callers")
	flags.IntVar(&o.groups, "groups", 3, "`number` of groups of each peer, at least 2")
	flags.IntVar(&o.tries, "tries", 3, "`number` of leading processes that are killed in a round")
	nodes := flags.String("nodes", "1,3", "`numbers` of nodes of the engines, 1, 3 or 5")
	flags.BoolVar(&o.sync, "sync", false, "let JetStream sync each write to the disk, as etcd does")
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
	case min(o.rounds, o.calls, o.callers, o.tries) < 1:
		return o, errors.New("-rounds, -calls, -callers and -tries must be at least 1")
	case o.groups < 2:
		return o, fmt.Errorf("-groups must be at least 2, not %d", o.groups)
	}
	for _, text := range strings.Split(*nodes, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n != 1 && n != 3 && n != 5 {
			return o, fmt.Errorf("-nodes: %q is not 1, 3 or 5", text)
		}
		o.nodes = append(o.nodes, n)
	}
	return o, nil
}
