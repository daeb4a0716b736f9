package natsflight

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// A call is one flight of a process, seen from the fleet: it leads a flight of the fleet,
// or waits for one. The callers of the process share it.
type call struct {
	group *Group
	key   string
	token string // of key, in subjects
	fn    func(ctx context.Context, token uint64) ([]byte, error)

	callers context.Context // ends when they have left
	shut    sync.Once       // for shutOut
}

// run returns what the callers get. Each turn of its loop begins with what it knows to be
// the last record of the key.
func (c *call) run(ctx context.Context) (outcome, error) {
	g := c.group
	if g.ctx.Err() != nil {
		return outcome{}, ErrClosed
	}
	if g.down.Load() {
		return c.goAlone(errDown)
	}
	last := record{seq: g.landings.last(ctx, c.token)}
	for {
		if last.kind == kindDo {
			end, joined, err := c.wait(ctx, last)
			switch {
			case ctx.Err() != nil:
				return outcome{}, context.Cause(ctx)
			case err != nil:
				return c.goAlone(err)
			case joined && end.lands(last.flight):
				return end.outcome(g.config.MaxResult)
			case end.kind == kindDo && end.flight != last.flight:
				last = end
				continue
			}
			last = end // the flight has ended, or its leader is dead or gives it up
		}

		f := c.register(ctx)
		sent := time.Now()
		seq, err := g.engine.publish(ctx, c.token, f.record, last.seq, g.config.Lease)
		if err == nil {
			out, err, held := c.lead(ctx, f, seq, sent)
			if held {
				return out, err
			}
			last = record{}
			continue
		}
		g.flights.Delete(f.flight)
		if errors.Is(err, errRefused) {
			last, err = g.engine.last(ctx, c.token)
		}
		switch {
		case ctx.Err() != nil:
			return outcome{}, context.Cause(ctx)
		case err != nil:
			return c.goAlone(err)
		}
	}
}

// shutOut makes the callers of this process that come from now on begin another call. A
// caller must not share a flight that may have landed before the caller came.
func (c *call) shutOut() {
	c.shut.Do(func() { c.group.local.Forget(c.key) })
}

// wait waits until the flight of r has ended, and returns the record that ended it. It
// returns r, or a renewal of it, if its leader is dead or no longer minds it. joined
// reports whether the leader has let this call join the flight: if not, its result is
// not for this call.
func (c *call) wait(ctx context.Context, r record) (end record, joined bool, err error) {
	g := c.group
	c.shutOut()
	state, _ := g.engine.ask(ctx, r, askState)
	switch state {
	case forgotten, unknown, dead:
		return r, false, nil
	}
	joined = state == flying
	end, err, _ = g.watches.DoContext(ctx, r.flight, func(ctx context.Context) (record, error) {
		return g.watch(ctx, c.token, r)
	})
	return end, joined, err
}

// watch is wait's for all calls of a process that wait for the flight of r.
func (g *Group) watch(ctx context.Context, token string, r record) (record, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	messages := make(chan *nats.Msg, 64) // renewals and the end; more would be dropped, and then asked for
	sub, err := g.engine.js.Conn().ChanSubscribe(g.engine.results(token), messages)
	if err != nil {
		return record{}, err
	}
	defer func() { _ = sub.Unsubscribe() }() // fails only if the connection is closed

	states := make(chan answer)
	g.tasks.Go(func() {
		for ctx.Err() == nil {
			state, _ := g.engine.ask(ctx, r, askState)
			select {
			case states <- state:
				pause(ctx, beat)
			case <-ctx.Done():
			}
		}
	})
	for {
		select {
		case <-ctx.Done():
			return record{}, ctx.Err()
		case m := <-messages:
			if end, ok := endOf(r, m); ok {
				return end, nil
			}
		case state := <-states:
			switch state {
			case flying, closed, forgotten:
				continue
			}
			for len(messages) > 0 { // the end may have come before the answer
				if end, ok := endOf(r, <-messages); ok {
					return end, nil
				}
			}
			last, err := g.engine.last(ctx, token)
			if err != nil {
				return record{}, err
			}
			if state == noAnswer && last.kind == kindDo && last.flight == r.flight {
				continue // until the lease has run out
			}
			return last, nil
		}
	}
}

// endOf returns the record of m, and reports whether it ends the flight of r.
func endOf(r record, m *nats.Msg) (end record, ok bool) {
	end = republished(m)
	return end, end.flight == r.flight && end.kind != kindDo
}
