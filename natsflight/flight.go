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

// A flight is led by this process, or is about to be. Those of its callers that are in this
// process, in one call or several, are the callers of a flight of g.flights under its ID.
type flight struct {
	*call             // whose fn it runs
	do         record // its record while fn runs
	reconnects uint64 // of the connection, before the flight began

	ctx  context.Context         // for fn
	stop context.CancelCauseFunc // ends ctx

	joined    atomic.Bool // by a call of another process
	forgotten atomic.Bool
	over      atomic.Bool // it is landing, or has been given up

	silence *time.Timer // makes the stand-in leave; owned by the goroutine of serve
}

// newFlight returns a new flight for c. fn's context gets the values of ctx.
func (c *call) newFlight(ctx context.Context) *flight {
	g := c.group
	f := &flight{
		call:       c,
		do:         record{kind: kindDo, id: nuid.Next(), leader: g.inbox, process: g.config.Process},
		reconnects: g.engine.reconnects(),
	}
	ctx, f.stop = context.WithCancelCause(context.WithoutCancel(ctx))
	f.ctx = c.nest(ctx, f)
	return f
}

// serve answers a question about flights that this process leads.
func (g *Group) serve(m *nats.Msg) {
	q, ids, _ := strings.Cut(string(m.Data), " ")
	var states []string
	for id := range strings.SplitSeq(ids, ",") {
		state := unknown
		if f, ok := g.leading.Load(id); ok {
			state = f.(*flight).answer(question(q))
		}
		states = append(states, string(state))
	}
	_ = m.Respond([]byte(strings.Join(states, ","))) // if it fails, the asker gets no answer
}

// answer answers q, which a process asks on behalf of a call.
func (f *flight) answer(q question) answer {
	if q == askForget {
		f.forget()
	}
	state := f.state()
	if state == flying {
		f.joined.Store(true)
		f.standIn()
	}
	return state
}

// standIn puts a caller on f that stands for the calls of other processes, which ask again and
// again while they wait: without it, fn would be told to stop when the callers in this process
// have left. It leaves when no process has asked for the time of an attempt, as after MaxFlight:
// then f is not known any more. If fn panics, the calls that it stands for get a RemoteError.
func (f *flight) standIn() {
	g := f.group
	if f.silence != nil && f.silence.Stop() {
		f.silence.Reset(attempt)
		return
	}
	ctx, leave := context.WithCancel(g.ctx)
	silence := time.AfterFunc(attempt, leave)
	f.silence = silence
	g.tasks.Go(func() {
		defer silence.Stop()
		defer leave()
		defer func() { _ = recover() }()
		f.board(ctx, f.do.id, landed)
	})
}

// state returns the state of f. Calls may join it until it begins to land: no caller has its
// result yet.
func (f *flight) state() answer {
	switch {
	case f.forgotten.Load():
		return forgotten
	case f.over.Load() || f.ctx.Err() != nil:
		return tooLate
	}
	return flying
}

// forget makes no more calls join f. Its fn goes on for those that have joined it, and needs
// no lease.
func (f *flight) forget() {
	f.forgotten.Store(true)
	f.shutOut()
}

// fly is what f does in its process. It begins if the last record of the key has the sequence
// expected. ctx ends when the callers in this process have left.
func (f *flight) fly(ctx context.Context, expected uint64) ending {
	g := f.group
	g.leading.Store(f.do.id, f)
	defer f.stop(nil)
	defer context.AfterFunc(ctx, func() { f.stop(g.why(ctx)) })()
	sent := time.Now()
	seq, last, err := g.engine.begin(context.Background(), f.hash, f.do, expected)
	switch {
	case err == nil:
		return f.lead(seq, sent)
	case errors.Is(err, errRefused):
		g.leading.Delete(f.do.id)
		return look(last)
	case errors.As(err, new(notStored)):
		g.leading.Delete(f.do.id)
		return ending{outage: err}
	}
	f.withdraw(expected)
	return ending{outage: err}
}

// lead runs fn for f, whose do record was sent at the time sent and has the sequence seq.
func (f *flight) lead(seq uint64, sent time.Time) ending {
	l := f.hold(seq, sent)
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
	var v []byte
	err := f.ctx.Err()
	if err == nil { // a caller is left
		v, err = f.fn(f.ctx, seq)
	}
	returned = true
	r, err := f.end(v, err)
	if err != nil {
		v = nil
	}
	switch {
	case l.land(r):
		return ending{outcome: outcome{v, f.joined.Load()}, err: err}
	case errors.Is(context.Cause(f.ctx), ErrMaxFlight):
		return ending{err: ErrMaxFlight}
	}
	return look(record{})
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

// giveUp ends fn's context, and makes calls of all processes that are not on f look for
// another flight: f has lost its lease, or lasted too long.
func (f *flight) giveUp(cause error) {
	f.over.Store(true)
	f.shutOut()
	f.group.leading.Delete(f.do.id)
	f.group.flights.Forget(f.do.id) // for calls that are about to board it
	f.stop(cause)
}

// withdraw frees the key if f's do record was stored after all: its outcome is unknown.
func (f *flight) withdraw(expected uint64) {
	g, r := f.group, f.do
	r.kind = kindGone
	g.leading.Delete(r.id)
	g.tasks.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), attempt)
		defer cancel()
		l := &lease{flight: f, seq: expected}
		_, _ = l.publish(ctx, r, g.config.ResultLife) // else the record stays for a lease
	})
}
