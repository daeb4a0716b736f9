// Fleet shows what natsflight is for, with real processes. A shop's database is asked
// by four processes, which serve
//
//	GET /products/{id}/sales
//
// and clients ask them for products. The clients are their own load balancer: each
// request goes to a random process, and to the next one if that process is dead.
//
//	go -C examples run ./fleet
//
// Each process has a cache of its own, and all share a second one, a NATS key-value
// bucket, as programs often have one in Redis. The database says until when an answer is
// valid, and both caches keep it for that long. So an entry expires at one moment in the
// whole fleet, and all processes miss it within milliseconds. A process that misses its
// own cache looks into the shared one, then queries the database. The shared cache is
// needed in spite of natsflight, which is no cache: a process that asks after the flight
// has landed begins another flight, whose function must find the answer.
//
// There are three rounds, with the same clients and the same two caches:
//
//	no coalescing                each request that misses its cache goes on alone
//	singleflight in each process one request of each process goes on
//	natsflight                   one request of the fleet goes on
//
// Each round begins with new processes and empty caches. An expiry is a query that had
// to be made: one that began while the last answer for its product was not valid any more
// and no other query for the product was running. The first query for a product is one.
// So the ideal is one query per expiry. With singleflight in each process there are up to
// four, one for each process that is asked for the product while the first of them queries;
// a process that is asked later finds the answer in the shared cache.
//
// In the middle of the last round, the parent kills a process as kill -9 does: one that
// leads a query for the most popular product, in the middle of that query. The report
// says which process took over: the one from which the database got its next query for
// the product. Requests that were waiting for the killed query also wait for the takeover, which
// shows in the p99 and max of this round. Requests in the dead process go to the next one,
// and are not errors; their latency counts from the beginning. With -kill=false, no process
// is killed.
//
// The parent has the database, the clients, and an embedded NATS server, unless
// -nats names a real one. On that one the program makes a stream and a bucket for each
// round, with random names, and deletes both when the round ends.
//
// Ctrl-C or SIGTERM ends the program early: it stops its processes, removes what it has
// made, and reports the rounds that have ended. A second signal ends it at once; its
// processes end with it.
//
// The exit status is
//
//	0    if all went well;
//	1    if requests failed with natsflight, if no process took over, or if the
//	     program cannot do its work;
//	2    if the command line is wrong;
//	130  after Ctrl-C;
//	143  after SIGTERM.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/actorflight/singleflight/examples/internal/program"
)

func main() {
	if s, ok := os.LookupEnv(variable); ok {
		os.Exit(beProcess(s))
	}
	os.Exit(run(program.Interruptible(), os.Args[1:], os.Stdout, os.Stderr))
}

// run is the program, with its exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, err := parse(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return program.Succeeded
	case err != nil:
		fmt.Fprintln(stderr, "fleet:", err)
		return program.BadUsage
	}
	outcomes, err := o.run(ctx, stderr)
	err = errors.Join(err, report(stdout, outcomes), check(outcomes))
	return program.Status(ctx, "fleet", err, stderr)
}

// options are those of the command line, and how long an answer of the database is valid.
type options struct {
	load
	ttl  time.Duration
	kill bool
	nats string // the URL of a server, or ""
}

// Limits of what the command line may ask for.
const (
	maxClients = 1000

	// In half of a shorter round, the most popular product might not expire.
	minDuration = 3 * time.Second
	maxDuration = 24 * time.Hour
)

// parse reads the command line. If it asks for help, parse prints that to stderr, and
// the error is flag.ErrHelp.
func parse(args []string, stderr io.Writer) (options, error) {
	o := options{ttl: time.Second}
	flags := flag.NewFlagSet("fleet", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.IntVar(&o.clients, "clients", 80, fmt.Sprintf("`number` of clients, at most %d", maxClients))
	flags.DurationVar(&o.duration, "duration", 8*time.Second, fmt.Sprintf("how long a round lasts, at least %v", minDuration))
	flags.BoolVar(&o.kill, "kill", true, "kill a leading process in the middle of the last round")
	flags.StringVar(&o.nats, "nats", "", "use the NATS server at this `URL`, which must have JetStream")
	err := flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprintln(stderr, "Usage: fleet [flags]")
		flags.SetOutput(stderr)
		flags.PrintDefaults()
	case err != nil:
	case flags.NArg() > 0:
		err = fmt.Errorf("unexpected argument %q", flags.Arg(0))
	case o.clients < 1 || o.clients > maxClients:
		err = fmt.Errorf("-clients must be from 1 to %d, not %d", maxClients, o.clients)
	case o.duration < minDuration || o.duration > maxDuration:
		err = fmt.Errorf("-duration must be from %v to %v, not %v", minDuration, maxDuration, o.duration)
	}
	return o, err
}
