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

// A flight is one that this process leads, or is about to.
type flight struct {
	record                    // its do record, but for the sequence
	*call                     // whose fn it runs
	ctx       context.Context // ends when its callers have left, or are about to get its result
	joined    atomic.Bool     // by a call that asked
	forgotten atomic.Bool
}

// register returns a new flight for c, about which this process can be asked. It must be
// deleted from g.flights.
func (c *call) register(ctx context.Context) *flight {
	g := c.group
	f := &flight{
		record: record{kind: kindDo, flight: nuid.Next(), leader: g.inbox, process: g.config.Process},
		call:   c,
		ctx:    ctx,
	}
	g.flights.Store(f.flight, f)
	return f
}

// serve answers a question about a flight that this process leads.
func (g *Group) serve(m *nats.Msg) {
	q, id, _ := strings.Cut(string(m.Data), " ")
	state := unknown
	if f, ok := g.flights.Load(id); ok {
		state = f.(*flight).answer(question(q))
	}
	_ = m.Respond([]byte(state)) // the asker takes no answer for silence
}

// answer answers q. A call may join until ctx has ended: no caller has the result yet.
func (f *flight) answer(q question) answer {
	if q == askForget {
		f.forgotten.Store(true)
		f.shutOut()
	}
	switch {
	case f.forgotten.Load():
		return forgotten
	case f.ctx.Err() != nil:
		return closed
	}
	f.joined.Store(true)
	return flying
}

// lead runs fn for f, whose do record was sent at the time sent and has the sequence seq.
// If the flight has lost its lease, held is false, and the result is not to be used.
func (c *call) lead(ctx context.Context, f *flight, seq uint64, sent time.Time) (out outcome, err error, held bool) {
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
		l.land(f.landing(nil, errors.New(text)))
		if p != nil {
			panic(p)
		}
	}()
	v, err := c.fn(ctx, seq)
	returned = true
	if limit := c.group.config.MaxResult; err == nil && len(v) > limit {
		v, err = nil, &TooLargeError{len(v), limit}
	}
	held = l.land(f.landing(v, err))
	return outcome{v, f.joined.Load()}, err, held
}

// landing returns the record that f ends with if its fn returns v and err.
func (f *flight) landing(v []byte, err error) record {
	r, limit := f.record, f.group.config.MaxResult
	var large *TooLargeError
	switch {
	case err == nil:
		r.kind, r.data = kindValue, v
	case f.ctx.Err() != nil:
		r.kind = kindGone
	case errors.As(err, &large):
		r.kind, r.data = kindLarge, fmt.Append(nil, large.Size)
	default:
		text := err.Error()
		r.kind, r.data = kindError, []byte(text[:min(len(text), limit)])
	}
	return r
}
