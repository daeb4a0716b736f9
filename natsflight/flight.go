package natsflight

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"
)

// A flight is led by this process, or is about to be.
type flight struct {
	*call                      // whose fn it runs
	do         record          // its record while fn runs
	ctx        context.Context // ends when its callers have left
	reconnects uint64          // of the connection, before the flight began

	joined    atomic.Bool // by a call that asked
	forgotten atomic.Bool
	landing   atomic.Bool
}

// register returns a new flight for c, and makes it known to serve. The caller must
// delete it from g.flights.
func (c *call) register(ctx context.Context) *flight {
	g := c.group
	f := &flight{
		call:       c,
		do:         record{kind: kindDo, id: nuid.Next(), leader: g.inbox, process: g.config.Process},
		ctx:        ctx,
		reconnects: g.engine.reconnects(),
	}
	g.flights.Store(f.do.id, f)
	return f
}

// serve answers a question about a flight that this process leads.
func (g *Group) serve(m *nats.Msg) {
	q, id, _ := strings.Cut(string(m.Data), " ")
	state := unknown
	if f, ok := g.flights.Load(id); ok {
		state = f.(*flight).answer(question(q))
	}
	_ = m.Respond([]byte(state)) // if it fails, the asker gets no answer
}

// answer answers q. The flight may be joined until it begins to land: no caller has its
// result yet.
func (f *flight) answer(q question) answer {
	if q == askForget {
		f.forget()
	}
	switch {
	case f.forgotten.Load():
		return forgotten
	case f.landing.Load() || f.ctx.Err() != nil:
		return tooLate
	}
	f.joined.Store(true)
	return flying
}

// forget makes no more calls join f. Its fn goes on for those that have joined it, and needs
// no lease.
func (f *flight) forget() {
	f.forgotten.Store(true)
	f.shutOut()
}

// lead runs fn for f, whose do record was sent at the time sent and has the sequence seq.
// If the flight has lost its lease, held is false, and the result must not be used.
func (f *flight) lead(ctx context.Context, seq uint64, sent time.Time) (out outcome, err error, held bool) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	l := f.hold(seq, sent, func() { cancel(ErrLeaseLost) })
	returned := false
	defer func() {
		if returned {
			return
		}
		text := "runtime.Goexit was called"
		p := recover()
		if p != nil {
			text = fmt.Sprint("panic: ", p)
		}
		r, _ := f.end(nil, errors.New(text))
		l.land(r)
		if p != nil {
			panic(p)
		}
	}()
	v, err := f.fn(f.nest(ctx, f), seq)
	returned = true
	r, err := f.end(v, err)
	if err != nil {
		v = nil
	}
	held = l.land(r)
	return outcome{v, f.joined.Load()}, err, held
}

// end returns the record with which f ends, and the error for its callers, if fn returns
// v and err.
func (f *flight) end(v []byte, err error) (record, error) {
	r, limit := f.do, f.group.engine.maxResult()
	switch {
	case err == nil && len(v) > limit:
		r.kind, r.data = kindLarge, fmt.Append(nil, len(v), " ", limit)
		return r, &TooLargeError{len(v), limit}
	case err == nil:
		r.kind, r.data = kindValue, v
	case f.ctx.Err() != nil:
		r.kind = kindGone
	default:
		text := err.Error()
		r.kind, r.data = kindError, []byte(strings.ToValidUTF8(text[:min(len(text), limit)], ""))
	}
	return r, err
}

// giveUp makes calls of all processes look for another flight: f has lost its lease.
func (f *flight) giveUp() {
	f.shutOut()
	f.group.flights.Delete(f.do.id)
}

// withdraw frees the key if f's do record was stored after all: its call has given up
// before it knew.
func (f *flight) withdraw(expected uint64) {
	g, r := f.group, f.do
	r.kind = kindGone
	g.flights.Delete(r.id)
	g.tasks.Go(func() {
		ctx, cancel := context.WithTimeout(g.ctx, attempt)
		defer cancel()
		l := &lease{flight: f, seq: expected}
		_, _ = l.publish(ctx, r, g.config.ResultLife) // else the record stays for a lease
	})
}
