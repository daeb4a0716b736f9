package main

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io"
	"time"
)

// Limits of what the command line may ask for.
const (
	// A client takes two file descriptors, one for each end of its connection.
	// With no coalescing, each may leave a query behind, and all of them must end
	// before the next round.
	maxClients = 1000

	// In a shorter round most clients would do nothing but think.
	minDuration = 2 * thinking

	// An entry with a shorter life would expire before it answers a request.
	minTTL = time.Millisecond

	maxTime = 24 * time.Hour // for a round, and for an entry
)

// options are those of the command line, and the size of the shop, which is fixed.
type options struct {
	load
	ttl    time.Duration
	json   bool
	http   string // address of the window, or ""
	orders int
}

// inHaste returns o for impatient clients. Entries expire so soon that what a query
// leaves in the cache is of little use.
func (o options) inHaste() options {
	o.impatient = true
	o.ttl = min(o.ttl, minTTL)
	return o
}

// parse reads the command line. If it asks for help, parse prints that to
// stderr, and the error is flag.ErrHelp.
func parse(args []string, stderr io.Writer) (options, error) {
	// With so many orders a query takes about 25 ms.
	o := options{load: load{products: 20}, orders: 480_000}
	flags := flag.NewFlagSet("stampede", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.IntVar(&o.clients, "clients", 100, fmt.Sprintf("`number` of clients, at most %d", maxClients))
	flags.DurationVar(&o.duration, "duration", 10*time.Second, "how long a round lasts")
	flags.DurationVar(&o.ttl, "ttl", time.Second, "how long a cache entry lives")
	flags.Uint64Var(&o.seed, "seed", 1, "seed of the random orders and clients")
	flags.BoolVar(&o.json, "json", false, "print JSON instead of a table")
	flags.StringVar(&o.http, "http", "", "serve a page of what is in flight in this library, and metrics, at this `address`, such as :8080")
	err := flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprintln(stderr, "Usage: stampede [flags]")
		flags.SetOutput(stderr)
		flags.PrintDefaults()
	case err != nil:
	case flags.NArg() > 0:
		err = fmt.Errorf("unexpected argument %q", flags.Arg(0))
	default:
		err = cmp.Or(
			within("-clients", o.clients, 1, maxClients),
			within("-duration", o.duration, minDuration, maxTime),
			within("-ttl", o.ttl, minTTL, maxTime),
		)
	}
	return o, err
}

func within[T cmp.Ordered](flag string, value, least, most T) error {
	if value < least || value > most {
		return fmt.Errorf("%s must be from %v to %v, not %v", flag, least, most, value)
	}
	return nil
}
