package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"time"

	"golang.org/x/sync/singleflight"

	actorflight "github.com/actorflight/singleflight"
)

// turns is how many turns a round has that shares its stage. It is even, so that
// each of two rounds goes first as often as second.
const turns = 4

// A round is a load with one way to coalesce.
type round struct {
	name      string
	coalesces bool
	coalesce  coalescer
}

// A stage is one or more rounds that take turns.
type stage []round

func stages() []stage {
	return []stage{{
		// It leaves long queues behind, so it takes no turns with the others.
		{"no coalescing", false, func(_ string, fn func() (any, error)) (any, error) { return fn() }},
	}, {
		{"x/sync", true, coalescing(new(singleflight.Group))},
		{"actorflight", true, coalescing(new(actorflight.Group))},
	}}
}

func coalescing(group interface {
	Do(key string, fn func() (any, error)) (any, error, bool)
}) coalescer {
	return func(key string, fn func() (any, error)) (any, error) {
		v, err, _ := group.Do(key, fn)
		return v, err
	}
}

func (s stage) String() string {
	names := make([]string, len(s))
	for i, r := range s {
		names[i] = r.name
	}
	return strings.Join(names, ", ")
}

// A turn puts the load of o on a server that coalesces as r says, and adds what
// it has seen to t. After an error the round has no outcome.
type turn func(r round, o options, t *tally) error

// run does the turns of a stage. It returns the outcomes of the rounds that have
// had all their turns: all of them, if there is no error. The order of the
// rounds is reversed from one turn to the next.
func (s stage) run(o options, do turn) (outcomes []outcome, err error) {
	n := 1
	if len(s) > 1 {
		n = turns
	}
	o.duration /= time.Duration(n)
	tallies := make([]*tally, len(s))
	for i := range s {
		tallies[i] = newTally()
	}
	for left := n - 1; left >= 0; left-- {
		for i := range s {
			if left%2 == 1 { // not in the last turns: the outcomes are in order
				i = len(s) - 1 - i
			}
			if err := do(s[i], o, tallies[i]); err != nil {
				return outcomes, err
			}
			if left == 0 {
				outcomes = append(outcomes, newOutcome(s[i], tallies[i]))
			}
		}
		o.seed++ // other clients, but the same for all rounds
	}
	return outcomes, nil
}

// on returns a turn on q. Each time it is done, the cache and the server, which
// is on loopback, are new.
func on(ctx context.Context, q query) turn {
	return func(r round, o options, t *tally) error {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		s := newServer(q, o.ttl, r.coalesce)
		server := http.Server{Handler: s.handler()}
		defer server.Close()
		go server.Serve(listener)
		o.put(ctx, "http://"+listener.Addr().String(), t)

		// A query whose client has given up is still this turn's.
		err = errors.Join(server.Shutdown(ctx), ctx.Err())
		t.counts.add(s.gauge.read())
		return err
	}
}
