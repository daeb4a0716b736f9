// Stampede shows what the library is for, with real parts. It makes a SQLite
// database with a shop's orders, and serves
//
//	GET /products/{id}/sales
//
// from it, behind a cache whose entries live for a short time. Then clients ask
// for products. Some products are in great demand: when the cache entry of one
// expires, many clients ask for it at once.
//
//	go -C examples run ./stampede
//
// There are three rounds. In the first, every request that misses the cache
// queries the database. In the other two, golang.org/x/sync/singleflight or this
// library coalesces the queries. These two take turns: each round is cut into
// four, and each library goes first twice, so that other activity on the machine
// affects both. Every turn begins with an empty cache, new connections and no
// query running. The clients are the same for both libraries.
//
// Then there is a round with impatient clients, which ask rarely and give up soon,
// most of them before the query can end. It has three sides, which take turns. With no
// coalescing, the query ends with its request. With x/sync the request leaves by
// a select on a DoChan channel, and the query runs on. With this library it leaves by
// DoContext; when the last request for a product has left, the query's context ends,
// and SQLite stops the query. A query is wasted if it ran to its end though no request
// for the product was waiting any more. In this round a cache entry lives for a
// millisecond, as if few clients asked for each product: if it lived until the next
// request, the query that ran on would have been of use.
//
// Last come short rounds in which some of the clients are writers: they order the product
// in greatest demand. When an order is committed, the server deletes the cache entry, reads
// the product, and answers with that; so the answer should include the order. A query that
// began before the order may not see it. A read that joins such a query is stale, and the
// query leaves a stale entry in the cache, for other requests. That happens with Do of
// x/sync, and with DoContext. DoFresh joins no query that has begun: its own begins when
// that one has ended, and sets the entry again. With Forget before a Do, the next query
// begins at once, beside the other: the database has more to do, and if the older query
// ends last, its stale entry stays. A read is stale if the last order that it includes is
// older than the order before the read, by their ids.
//
// With -http :8080, a page at http://localhost:8080 shows what is in flight while the
// rounds of this library run, and /metrics has the figures for Prometheus. The groups
// are observed then, which costs less than a microsecond a call.
//
// Each client waits for an answer before it asks again, so a slow round gets
// fewer requests. Expiries are counted as the queries that had to be made: those
// that began while there was neither a fresh entry of the product nor another
// query for it. The first query for a product in a turn is one of them.
//
// Ctrl-C or SIGTERM ends the program early. It removes the database then, and
// reports the rounds that have had all their turns. A second signal ends it at
// once. (go run passes Ctrl-C on, but not SIGTERM.)
//
// The exit status is
//
//	0    if all went well;
//	1    if, in spite of coalescing, queries for the same product overlap or
//	     requests fail, if a read with DoFresh is stale, or if the program cannot
//	     do its work;
//	2    if the command line is wrong, or asks for more than is sensible;
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

	"github.com/actorflight/singleflight/examples/internal/program"
)

func main() {
	os.Exit(run(program.Interruptible(), os.Args[1:], os.Stdout, os.Stderr))
}

// run is the program, with its exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, err := parse(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return program.Succeeded
	case err != nil:
		fmt.Fprintln(stderr, "stampede:", err)
		return program.BadUsage
	}
	return program.Status(ctx, "stampede", o.all(ctx, stdout, stderr), stderr)
}

// all runs all stages, with a window if o asks for one.
func (o options) all(ctx context.Context, stdout, stderr io.Writer) error {
	patient, hasty, writers := bare(), bare(), bare()
	if o.http != "" {
		w, address, err := openWindow(o.http)
		if err != nil {
			return fmt.Errorf("-http: %w", err)
		}
		defer w.Close()
		patient, hasty, writers = &w.patient, &w.impatient, &w.writing
		fmt.Fprintf(stderr, "in flight: http://%s/?refresh=1, metrics: http://%s/metrics\n", address, address)
	}
	return o.run(ctx, append(stages(patient), impatient(hasty), writing(writers)), stdout, stderr)
}

// run makes a shop in a temporary folder, and runs the stages on it.
func (o options) run(ctx context.Context, stages []stage, stdout, stderr io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "stampede")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	bar := program.NewBar(stderr, o.orders, "making the database")
	s, err := openShop(ctx, dir, o.products, o.orders, o.seed, func() { bar.Add(1) })
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()

	return o.compare(stages, on(ctx, s.sales, s.order), stdout, stderr)
}

// compare runs one stage after another, and reports and checks the outcomes. An
// error ends the stages, but not the report of the rounds that have outcomes.
func (o options) compare(stages []stage, do turn, stdout, stderr io.Writer) error {
	var outcomes []outcome
	var err error
	for _, s := range stages {
		var more []outcome
		program.During(stderr, s.lasts(o.duration), s.String(), func() { more, err = s.run(o, do) })
		outcomes = append(outcomes, more...)
		if err != nil {
			break
		}
	}
	if len(outcomes) == 0 {
		return err
	}
	write := writeTables
	if o.json {
		write = writeJSON
	}
	return errors.Join(err, write(stdout, outcomes), check(outcomes))
}
