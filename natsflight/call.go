package natsflight

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// A call is made to the fleet on behalf of callers of one key in this process. It leads
// a flight of the fleet, or waits for one.
type call struct {
	group *Group
	key   string
	hash  string // of key, in subjects
	fn    func(ctx context.Context, token uint64) ([]byte, error)

	callers context.Context // ends when they have left
	shut    sync.Once       // for shutOut
}

// run returns what the callers get. Each turn of its loop begins with the last record of
// the key, as far as this process knows it.
func (c *call) run(ctx context.Context) (outcome, error) {
	g := c.group
	if g.ctx.Err() != nil {
		return outcome{}, ErrClosed
	}
	if down := g.down.Load(); down != nil {
		return c.runOffline(*down)
	}
	last := record{seq: g.landings.last(ctx, c.hash)}
	for {
		if last.kind == kindDo {
			end, joined, err := c.wait(ctx, last)
			switch {
			case ctx.Err() != nil:
				return outcome{}, context.Cause(ctx)
			case err != nil:
				return c.runOffline(err)
			case joined && end.lands(last.id):
				return end.outcome()
			case end.kind == kindDo && end.id != last.id:
				last = end
				continue
			}
			last = end // the flight has ended, or its leader is dead or has given it up
		}

		f := c.register(ctx)
		sent := time.Now()
		seq, other, err := g.engine.begin(ctx, c.hash, f.do, last.seq)
		switch {
		case err == nil:
			out, err, held := f.lead(ctx, seq, sent)
			if held {
				return out, err
			}
			last = record{}
			continue
		case errors.Is(err, errRefused):
			g.flights.Delete(f.do.id)
			last = other
			continue
		case errors.Is(err, errFull):
			g.flights.Delete(f.do.id)
			return c.runOffline(err)
		}
		f.withdraw(last.seq)
		if ctx.Err() != nil {
			return outcome{}, context.Cause(ctx)
		}
		return c.runOffline(err)
	}
}

// A nested is the key under which fn's context has the flight that fn runs for.
type nested struct {
	group *Group
	key   string
}

// nest returns the context that fn gets, from ctx.
func (c *call) nest(ctx context.Context, f *flight) context.Context {
	return context.WithValue(ctx, nested{c.group, c.key}, f)
}

// refuses reports whether a Do that is called with ctx would wait for the fn that it is
// called in.
func (n nested) refuses(ctx context.Context) bool {
	f, ok := ctx.Value(n).(*flight)
	return ok && !f.forgotten.Load() && !f.landing.Load()
}

// shutOut makes callers of this process that come from now on begin another call. They
// must not share a flight that may have landed before they came.
func (c *call) shutOut() {
	c.shut.Do(func() { c.group.calls.Forget(c.key) })
}

// wait waits until the flight of r has ended, and returns the record that ended it, or
// the one that the key has now. It returns r, or a renewal of it, if the key is free to be
// taken from it: its leader is dead, or has given it up. joined reports whether the leader
// has let this call join the flight. If not, the result is not for this call.
func (c *call) wait(ctx context.Context, r record) (end record, joined bool, err error) {
	g := c.group
	c.shutOut()
	state, _ := g.engine.ask(ctx, r, askState)
	switch state {
	case forgotten, unknown, dead:
		return r, false, nil
	}
	joined = state == flying
	end, err, _ = g.watches.DoContext(ctx, r.id, func(ctx context.Context) (record, error) {
		return g.watch(ctx, c.hash, r)
	})
	return end, joined, err
}

// watch waits for the end of r's flight, on behalf of all calls of this process that wait
// for it.
func (g *Group) watch(ctx context.Context, hash string, r record) (record, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	messages := make(chan *nats.Msg, 64) // renewals and the end; more would be dropped, and then asked for
	sub, err := g.engine.js.Conn().ChanSubscribe(g.engine.results(hash), messages)
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
			end, ok := endOf(r, m)
			if g.engine.saw(end.seq); ok {
				return end, nil
			}
		case state := <-states:
			switch state {
			case flying, tooLate, forgotten:
				continue
			}
			for len(messages) > 0 { // the end may have come before the answer
				if end, ok := endOf(r, <-messages); ok {
					return end, nil
				}
			}
			last, err := g.engine.last(ctx, hash)
			if err != nil {
				return record{}, err
			}
			if state == noAnswer && last.kind == kindDo && last.id == r.id {
				continue // until the lease has run out
			}
			return last, nil
		}
	}
}

// endOf returns the record of m, and reports whether it ends the flight of r.
func endOf(r record, m *nats.Msg) (end record, ok bool) {
	end = republished(m)
	return end, end.id == r.id && end.kind != kindDo
}
