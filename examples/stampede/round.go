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

// turns is the number of turns of a round whose stage takes turns. It is even, so that of
// any two rounds each goes first equally often.
const turns = 4

// A round is a load with one way to coalesce.
type round struct {
	name      string
	coalesces bool
	coalesce  coalescer
	impatient bool // the clients
	writes    bool // the clients do

	reread coalescer // as in server
	fresh  bool      // a read after a write must not be stale
}

// A stage is one or more rounds. They take turns, unless clients write.
type stage []round

// A group is one of this library, or one that is observed.
type group interface {
	Do(key string, fn func() (any, error)) (any, error, bool)
	DoContext(ctx context.Context, key string, fn func(context.Context) (any, error)) (any, error, bool)
	DoFresh(ctx context.Context, key string, fn func(context.Context) (any, error)) (any, error, bool)
}

// bare returns a group of this library.
func bare() group { return new(actorflight.Group) }

// stages returns the stages of patient clients.
func stages(g group) []stage {
	return []stage{{
		// It leaves long queues behind, so it does not take turns with the others.
		{name: "no coalescing", coalesce: func(ctx context.Context, _ string, fn func(context.Context) (any, error)) (any, error) {
			return fn(context.WithoutCancel(ctx))
		}},
	}, {
		{name: "x/sync", coalesces: true, coalesce: coalescing(new(singleflight.Group))},
		{name: "actorflight", coalesces: true, coalesce: coalescing(g)},
	}}
}

func coalescing(group interface {
	Do(key string, fn func() (any, error)) (any, error, bool)
}) coalescer {
	return func(ctx context.Context, key string, fn func(context.Context) (any, error)) (any, error) {
		// Other requests may still wait for this query when this client has gone.
		ctx = context.WithoutCancel(ctx)
		v, err, _ := group.Do(key, func() (any, error) { return fn(ctx) })
		return v, err
	}
}

// impatient returns the stage of impatient clients. A request whose client has given
// up leaves, whatever becomes of the query.
func impatient(g group) stage {
	return stage{
		{name: "no coalescing", impatient: true, coalesce: alone},
		{name: "x/sync DoChan", coalesces: true, impatient: true, coalesce: leaving(new(singleflight.Group))},
		{name: "actorflight DoContext", coalesces: true, impatient: true, coalesce: abandoning(g.DoContext)},
	}
}

// alone is the coalescer that does not coalesce. The query ends with its request.
func alone(ctx context.Context, _ string, fn func(context.Context) (any, error)) (any, error) {
	return fn(ctx)
}

// leaving returns a coalescer that leaves the query running.
func leaving(group *singleflight.Group) coalescer {
	return func(ctx context.Context, key string, fn func(context.Context) (any, error)) (any, error) {
		result := group.DoChan(key, func() (any, error) { return fn(context.WithoutCancel(ctx)) })
		select {
		case r := <-result:
			return r.Val, r.Err
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// abandoning returns a coalescer that cancels the query when all have left. do is
// DoContext or, for a read that joins no query that has begun before, DoFresh.
func abandoning(do func(ctx context.Context, key string, fn func(context.Context) (any, error)) (any, error, bool)) coalescer {
	return func(ctx context.Context, key string, fn func(context.Context) (any, error)) (any, error) {
		v, err, _ := do(ctx, key, fn)
		return v, err
	}
}

// writing returns the stage of clients that write. The rounds differ in what a request does
// to read what it has written.
func writing(g group) stage {
	forgets := new(singleflight.Group)
	return stage{
		{name: "x/sync Do", coalesces: true, writes: true, coalesce: coalescing(new(singleflight.Group))},
		{name: "x/sync Forget+Do", writes: true, coalesce: coalescing(forgets), reread: forgetting(forgets)},
		{name: "actorflight DoContext", coalesces: true, writes: true, coalesce: abandoning(g.DoContext)},
		{name: "actorflight DoFresh", coalesces: true, writes: true, coalesce: abandoning(g.DoContext), reread: abandoning(g.DoFresh), fresh: true},
	}
}

// forgetting returns a coalescer that joins no query that has begun before, but may begin
// one beside it.
func forgetting(group *singleflight.Group) coalescer {
	do := coalescing(group)
	return func(ctx context.Context, key string, fn func(context.Context) (any, error)) (any, error) {
		group.Forget(key)
		return do(ctx, key, fn)
	}
}

// lasts returns how long the stage lasts if a round lasts d. Where clients write, figures
// of time are not compared: the rounds take no turns, and share the time of one.
func (s stage) lasts(d time.Duration) time.Duration {
	if s[0].writes {
		return d
	}
	return d * time.Duration(len(s))
}

func (s stage) String() string {
	names := make([]string, len(s))
	for i, r := range s {
		names[i] = r.name
	}
	return strings.Join(names, ", ")
}

// A turn puts the load of o on a server that coalesces as r says, and adds the
// outcome to t. After an error the round has no outcome.
type turn func(r round, o options, t *tally) error

// run runs the turns of a stage. It returns the outcomes of the rounds that have
// had all their turns: all of them, if there is no error. The order of the
// rounds is reversed from one turn to the next.
func (s stage) run(o options, do turn) (outcomes []outcome, err error) {
	n := 1
	if len(s) > 1 && !s[0].writes {
		n = turns
	}
	o.duration = s.lasts(o.duration) / time.Duration(n*len(s))
	tallies := make([]*tally, len(s))
	for i := range s {
		tallies[i] = newTally()
	}
	for left := n - 1; left >= 0; left-- {
		for i := range s {
			if left%2 == 1 { // not in the last turns, so that the outcomes are in order
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

// on returns a turn on q and w. Each turn has a new cache, and a new server on loopback.
func on(ctx context.Context, q query, w write) turn {
	return func(r round, o options, t *tally) error {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		if r.impatient {
			o = o.inHaste()
		}
		o.writes = r.writes
		s := newServer(q, o.ttl, r.coalesce)
		s.write, s.reread = w, r.reread
		server := http.Server{Handler: s.handler()}
		defer server.Close()
		go server.Serve(listener)
		o.put(ctx, "http://"+listener.Addr().String(), t)

		// A query whose client has given up still counts in this turn.
		if err := errors.Join(server.Shutdown(ctx), ctx.Err()); err != nil {
			return err
		}
		t.counts.add(s.gauge.read())
		return nil
	}
}
