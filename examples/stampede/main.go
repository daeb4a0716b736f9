// Stampede shows what the library is for, on real parts. It makes a SQLite
// database with a shop's orders, and serves
//
//	GET /products/{id}/sales
//
// from it, behind a cache whose entries live for a short time. Then clients ask
// for products, some of which are in great demand, and whenever such an entry
// expires, many ask for it at once. They do so in three rounds: everybody who
// misses queries the database; golang.org/x/sync/singleflight keeps them from
// it; and this library does.
//
//	go -C examples run ./stampede
//
// An expiry is a query that began while none for the same product was running.
// If queries for the same product overlap in spite of coalescing, the exit
// status is 1.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"time"

	"golang.org/x/sync/singleflight"

	actorflight "github.com/actorflight/singleflight"
)

// Exit statuses.
const (
	ok          = 0
	failed      = 1
	badUsage    = 2
	interrupted = 130
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	context.AfterFunc(ctx, stop) // a second Ctrl-C does not wait
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// A round is a load with one way to coalesce.
type round struct {
	name      string
	coalesces bool
	coalesce  coalescer
}

func rounds() []round {
	return []round{
		{"no coalescing", false, func(_ string, fn func() (any, error)) (any, error) { return fn() }},
		{"x/sync", true, coalescing(new(singleflight.Group))},
		{"actorflight", true, coalescing(new(actorflight.Group))},
	}
}

func coalescing(group interface {
	Do(key string, fn func() (any, error)) (any, error, bool)
}) coalescer {
	return func(key string, fn func() (any, error)) (any, error) {
		v, err, _ := group.Do(key, fn)
		return v, err
	}
}

// options are what the command line says.
type options struct {
	load
	ttl  time.Duration
	json bool
	// Not on the command line:
	orders int
}

func parse(args []string, stderr io.Writer) (options, error) {
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

// run is the program, with its exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, err := parse(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return ok
	case err != nil:
		fmt.Fprintln(stderr, "stampede:", err)
		return badUsage
	}
	return o.run(ctx, rounds(), stdout, stderr)
}

func (o options) run(ctx context.Context, rounds []round, stdout, stderr io.Writer) int {
	outcomes, err := o.measure(ctx, rounds, stderr)
	if err == nil {
		err = o.report(stdout, outcomes)
	}
	if err == nil {
		err = check(rounds, outcomes)
	}
	switch {
	case ctx.Err() != nil:
		fmt.Fprintln(stderr, "stampede: interrupted")
		return interrupted
	case err != nil:
		fmt.Fprintln(stderr, "stampede:", err)
		return failed
	}
	return ok
}

// measure makes the shop, and then does one round after another.
func (o options) measure(ctx context.Context, rounds []round, stderr io.Writer) (outcomes []outcome, err error) {
	dir, err := os.MkdirTemp("", "stampede")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	bar := newBar(stderr, o.orders, "making the database")
	s, err := openShop(ctx, dir, o.products, o.orders, o.seed, func() { bar.Add(1) })
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()

	for _, r := range rounds {
		server := newServer(s, o.ttl, r.coalesce)
		var t *tally
		during(stderr, o.duration, r.name, func() { t, err = server.under(ctx, o.load) })
		if err = errors.Join(err, ctx.Err()); err != nil {
			return nil, err
		}
		outcomes = append(outcomes, newOutcome(r.name, t, server.gauge.read()))
	}
	return outcomes, nil
}

// under serves on loopback, under a load.
func (s *server) under(ctx context.Context, l load) (*tally, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	server := http.Server{Handler: s.handler()}
	defer server.Close()
	go server.Serve(listener)
	return l.put(ctx, "http://"+listener.Addr().String()), nil
}

func (o options) report(stdout io.Writer, outcomes []outcome) error {
	if o.json {
		return writeJSON(stdout, outcomes)
	}
	return errors.Join(writeTable(stdout, outcomes), writeSentence(stdout, outcomes))
}

// check reports an error if queries overlapped that were to be coalesced.
func check(rounds []round, outcomes []outcome) (err error) {
	for i, o := range outcomes {
		if rounds[i].coalesces && o.Overlaps > 0 {
			err = errors.Join(err, fmt.Errorf("%s: %d queries began while another for the same product was running", o.Round, o.Overlaps))
		}
	}
	return err
}
