package natsflight

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"

	"github.com/nats-io/nats.go"
)

// A call is made to the fleet on behalf of callers of one key in this process. It leads
// a flight of the fleet, joins one that this process leads, or waits for another process's.
type call struct {
	group *Group
	key   string
	hash  string // of key, in subjects
	fn    func(ctx context.Context, token uint64) ([]byte, error)

	shut sync.Once // for shutOut
}

// An ending is what a call gets from a flight.
type ending struct {
	outcome
	err    error
	next   *record // of the key: the call must look for another flight; nil if it need not
	outage error   // why the engine could not be asked, or nil
}

// look makes a call look for another flight, from the last record of the key on.
func look(last record) ending { return ending{next: &last} }

// run returns what the callers get, until ctx ends. Each turn of its loop begins with the
// last record of the key, as far as this process knows it.
func (c *call) run(ctx context.Context) (outcome, error) {
	g := c.group
	if g.ctx.Err() != nil {
		return outcome{}, ErrClosed
	}
	if down := g.down.Load(); down != nil {
		return c.runOffline(ctx, *down)
	}
	last := record{seq: g.landings.last(ctx, c.hash)}
	for {
		var end ending
		if last.kind == kindDo {
			end = c.join(ctx, last)
		} else {
			end = c.lead(ctx, last.seq)
		}
		switch why := g.why(ctx); {
		case why != nil:
			return outcome{}, why
		case end.outage != nil:
			return c.runOffline(ctx, end.outage)
		case end.next == nil:
			return end.outcome, end.err
		}
		last = *end.next
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
	return ok && !f.forgotten.Load() && !f.over.Load()
}

// shutOut makes callers of this process that come from now on begin another call. They
// must not share a flight that may have landed before they came.
func (c *call) shutOut() {
	c.shut.Do(func() { c.group.calls.Forget(c.key) })
}

// lead makes the call lead a flight, if the last record of the key has the sequence expected.
func (c *call) lead(ctx context.Context, expected uint64) ending {
	f := c.newFlight(ctx)
	return c.board(ctx, f.do.id, func(ctx context.Context) ending { return f.fly(ctx, expected) })
}

// join makes the call share r's flight, or wait until it has ended.
func (c *call) join(ctx context.Context, r record) ending {
	c.shutOut()
	if f, ok := c.group.leading.Load(r.id); ok && f.(*flight).state() == flying {
		return c.board(ctx, r.id, landed)
	}
	return c.wait(ctx, r)
}

// landed is what a call gets from a flight that lands before the call is on it.
func landed(context.Context) ending { return look(record{}) }

// board puts the call on the flight with this ID, which this process leads. It leaves when ctx
// ends. If the flight is not in progress, the call begins it with fly.
func (c *call) board(ctx context.Context, id string, fly func(context.Context) ending) ending {
	end, _, shared := c.group.flights.DoContext(ctx, id, func(ctx context.Context) (ending, error) {
		return fly(ctx), nil
	})
	end.shared = end.shared || shared
	return end
}

// wait waits until r's flight, which another process leads, has ended. If the key is free to
// be taken from the flight, because its leader is dead or has given it up, the call need not
// wait. The result is for the call only if the leader has let it join the flight.
func (c *call) wait(ctx context.Context, r record) ending {
	g := c.group
	state, _ := g.engine.ask(ctx, r, askState)
	switch state {
	case forgotten, unknown, dead:
		return look(record{seq: r.seq})
	}
	end, err, _ := g.watches.DoContext(ctx, r.id, func(ctx context.Context) (record, error) {
		return g.watch(ctx, c.hash, r)
	})
	switch {
	case err != nil:
		return ending{outage: err}
	case state == flying && end.lands(r.id):
		out, err := end.outcome()
		return ending{outcome: out, err: err}
	case end.kind == kindDo && end.id != r.id:
		return look(end)
	}
	return look(record{seq: end.seq}) // the flight has ended, or its leader is dead or has given it up
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

	w := &waiting{r.leader, r.id, make(chan answer, 1)}
	g.waits.Store(w, nil)
	defer g.waits.Delete(w)
	g.questions.DoChanContext(ctx, r.leader, func(ctx context.Context) (struct{}, error) {
		g.question(ctx, r.leader)
		return struct{}{}, nil
	})
	// The end may have come before the subscription.
	last, err := g.engine.last(ctx, hash)
	if err != nil || last.kind != kindDo || last.id != r.id {
		return last, err
	}
	for {
		select {
		case <-ctx.Done():
			return record{}, ctx.Err()
		case m := <-messages:
			end, ok := endOf(r, m)
			if g.engine.saw(end.seq); ok {
				return end, nil
			}
		case state := <-w.states:
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
			if err == nil && state == noAnswer && last.kind == kindDo && last.id == r.id {
				continue // until the lease has run out
			}
			return last, err
		}
	}
}

// A waiting is a flight of another process that calls of this one wait for.
type waiting struct {
	leader, id string
	states     chan answer // from question to watch; has room for one, and more are dropped
}

// question asks a leading process again and again, until ctx ends, whether the flights go on
// that this process waits for: about all in one question, or the questions would be as many
// as the keys.
func (g *Group) question(ctx context.Context, leader string) {
	for ctx.Err() == nil {
		var all []*waiting
		g.waits.Range(func(w, _ any) bool {
			if w := w.(*waiting); w.leader == leader {
				all = append(all, w)
			}
			return true
		})
		for some := range slices.Chunk(all, 1000) { // more might not fit into a message
			ids := make([]string, len(some))
			for i, w := range some {
				ids[i] = w.id
			}
			states, _ := g.engine.askAll(ctx, leader, askState, ids)
			for i, w := range some {
				select {
				case w.states <- states[i]:
				default:
				}
			}
		}
		pause(ctx, beat/2+rand.N(beat/2)) // processes that began to wait together do not ask together
	}
}

// endOf returns the record of m, and reports whether it ends the flight of r.
func endOf(r record, m *nats.Msg) (end record, ok bool) {
	end = republished(m)
	return end, end.id == r.id && end.kind != kindDo
}
