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
// Each client waits for an answer before it asks again, so a slow round gets
// fewer requests. Expiries are counted as the queries that somebody had to make:
// those that began while there was neither a fresh entry of the product nor
// another query for it.
//
// The exit status is 1 if, in spite of coalescing, queries for the same product
// overlap or requests fail.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
)

// Exit statuses.
const (
	succeeded   = 0
	failed      = 1
	badUsage    = 2
	interrupted = 130
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	context.AfterFunc(ctx, stop) // a second Ctrl-C does not wait
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run is the program, with its exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, err := parse(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return succeeded
	case err != nil:
		fmt.Fprintln(stderr, "stampede:", err)
		return badUsage
	}
	return status(ctx, o.run(ctx, rounds(), stdout, stderr), stderr)
}

// status says on stderr what went wrong, if anything did.
func status(ctx context.Context, err error, stderr io.Writer) int {
	switch {
	case ctx.Err() != nil:
		fmt.Fprintln(stderr, "stampede: interrupted")
		return interrupted
	case err != nil:
		fmt.Fprintln(stderr, "stampede:", err)
		return failed
	}
	return succeeded
}

// run makes a shop in a temporary folder, and compares the rounds on it.
func (o options) run(ctx context.Context, rounds []round, stdout, stderr io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "stampede")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	bar := newBar(stderr, o.orders, "making the database")
	s, err := openShop(ctx, dir, o.products, o.orders, o.seed, func() { bar.Add(1) })
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()

	return o.compare(ctx, s.sales, rounds, stdout, stderr)
}

// compare does one round after another, and reports and checks the outcomes.
func (o options) compare(ctx context.Context, q query, rounds []round, stdout, stderr io.Writer) error {
	outcomes := make([]outcome, len(rounds))
	for i, r := range rounds {
		var err error
		during(stderr, o.duration, r.name, func() { outcomes[i], err = r.run(ctx, o, q) })
		if err != nil {
			return err
		}
	}
	write := writeTable
	if o.json {
		write = writeJSON
	}
	return errors.Join(write(stdout, outcomes), check(outcomes))
}
