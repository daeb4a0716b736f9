package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"time"
)

// options are what the command line says, and the size of the shop, which it
// does not say.
type options struct {
	load
	ttl    time.Duration
	json   bool
	orders int
}

// parse reads the command line. If it asks for help, parse prints that to
// stderr, and the error is flag.ErrHelp.
func parse(args []string, stderr io.Writer) (options, error) {
	// With so many orders a query takes about 25 ms.
	o := options{load: load{products: 20}, orders: 480_000}
	flags := flag.NewFlagSet("stampede", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.IntVar(&o.clients, "clients", 100, "`number` of clients")
	flags.DurationVar(&o.duration, "duration", 10*time.Second, "how long a round lasts")
	flags.DurationVar(&o.ttl, "ttl", time.Second, "how long a cache entry lives")
	flags.Uint64Var(&o.seed, "seed", 1, "what the orders and the clients are drawn from")
	flags.BoolVar(&o.json, "json", false, "print JSON instead of a table")
	err := flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprintln(stderr, "Usage: stampede [flags]")
		flags.SetOutput(stderr)
		flags.PrintDefaults()
	case err != nil:
	case flags.NArg() > 0:
		err = fmt.Errorf("unexpected argument %q", flags.Arg(0))
	case o.clients < 1:
		err = fmt.Errorf("-clients must be at least 1, not %d", o.clients)
	case o.duration <= 0:
		err = fmt.Errorf("-duration must be positive, not %v", o.duration)
	case o.ttl <= 0:
		err = fmt.Errorf("-ttl must be positive, not %v", o.ttl)
	}
	return o, err
}
