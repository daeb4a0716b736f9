package natsflight

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// A lease is the right to lead a flight: the flight's do record is the last of its key.
// The goroutine of keep owns seq, until and lost. When it has ended, land owns them,
// and after that handOver.
type lease struct {
	flight *flight
	seq    uint64    // of the last do record known to be stored
	until  time.Time // when the stream may drop it
	lost   bool

	limit   *time.Timer        // gives the flight up at MaxFlight
	release context.CancelFunc // ends keep
	kept    chan struct{}      // closed when keep has ended
}

// hold begins to renew the lease of f, whose do record was sent at the time sent and has
// the sequence seq. If the lease is lost, f is given up.
func (f *flight) hold(seq uint64, sent time.Time) *lease {
	ctx, release := context.WithCancel(context.Background())
	l := &lease{flight: f, seq: seq, until: sent.Add(f.group.config.Lease), release: release, kept: make(chan struct{})}
	l.limit = time.AfterFunc(f.group.config.MaxFlight, func() {
		f.giveUp(ErrMaxFlight)
		release()
	})
	go func() {
		defer close(l.kept)
		if l.keep(ctx); l.lost {
			f.giveUp(ErrLeaseLost)
		}
	}()
	return l
}

// keep renews the lease at every third of it, until it is lost or ctx ends.
func (l *lease) keep(ctx context.Context) {
	f, life := l.flight, l.flight.group.config.Lease
	wait := life / 3
	for {
		pause(ctx, min(wait, time.Until(l.until)))
		if ctx.Err() != nil || f.forgotten.Load() {
			return
		}
		sent := time.Now()
		limited, cancel := context.WithTimeout(ctx, min(attempt, time.Until(l.until)))
		_, err := l.publish(limited, f.do, life)
		cancel()
		switch {
		case err == nil:
			l.until, wait = sent.Add(life), life/3
		case errors.Is(err, errRefused), !time.Now().Before(l.until):
			l.lost = !f.forgotten.Load()
			return
		default:
			wait = beat
		}
	}
}

// publish replaces the do record by r. It returns errRefused if the do record is no
// longer the last of its key. If the flight has been forgotten, it learns that then.
func (l *lease) publish(ctx context.Context, r record, life time.Duration) (uint64, error) {
	f := l.flight
	for {
		seq, last, err := f.group.engine.publish(ctx, f.hash, r, l.seq, life)
		switch {
		case err == nil:
			l.seq = seq
			return seq, nil
		case !errors.Is(err, errRefused):
			return 0, err
		case last.id == f.do.id && last.kind == kindDo:
			l.seq = last.seq // a renewal whose answer did not arrive
			continue
		case last.id == f.do.id && last.kind == r.kind:
			return last.seq, nil // r itself, whose answer did not arrive
		case last.forgets(f.do.id):
			f.forget()
		}
		return 0, err
	}
}

// land ends the flight with r. It reports whether its callers may have the result: the
// lease has not been lost, and MaxFlight has not passed. A task of the Group then hands r to
// the waiters, and frees the key; land waits for it only if the lease may have been lost
// unnoticed.
func (l *lease) land(r record) bool {
	f, g := l.flight, l.flight.group
	f.over.Store(true)
	f.shutOut() // a caller that comes from now on may come after a waiter elsewhere has returned
	l.release()
	<-l.kept
	if !l.limit.Stop() {
		f.giveUp(ErrMaxFlight) // if the timer has not come to it
		return false
	}
	l.lost = l.lost || !f.forgotten.Load() && !time.Now().Before(l.until)
	if l.lost {
		f.giveUp(ErrLeaseLost)
		return false
	}
	sure := g.engine.steadySince(f.reconnects) || f.forgotten.Load()
	landing := g.landings.add(f.hash)
	g.tasks.Go(func() {
		defer g.leading.Delete(f.do.id)
		l.handOver(r, sure, landing)
	})
	if sure {
		return true
	}
	<-landing.done
	return !landing.refused
}

// handOver gives r to the waiters, and frees the key, unless the lease runs out before
// it can. If it is sure that the lease is held, the waiters get r at once, and again,
// in case that one has missed it, when the stream has stored it; else only then. The first
// attempt to store it settles landing.
func (l *lease) handOver(r record, sure bool, landing *landing) {
	f, life := l.flight, l.flight.group.config.ResultLife
	hand := func() {
		if f.joined.Load() {
			_ = f.group.engine.hand(f.hash, r) // fails only if the connection is closed
		}
	}
	if sure {
		hand()
	}
	for first := true; ; first = false {
		sent := time.Now()
		ctx, cancel := context.WithTimeout(context.Background(), attempt)
		seq, err := l.publish(ctx, r, life)
		cancel()
		refused := errors.Is(err, errRefused)
		if refused && !sure && f.forgotten.Load() { // by a process that could not reach this one
			hand()
		}
		if first {
			landing.set(seq, sent.Add(life), refused && !f.forgotten.Load())
		}
		final := errors.As(err, new(*jetstream.APIError)) && !passing(err) || errors.Is(err, nats.ErrMaxPayload)
		if err == nil || refused || final {
			return
		}
		f.group.trip()
		pause(f.group.ctx, beat)
		if f.group.ctx.Err() != nil || !time.Now().Before(l.until) {
			return
		}
	}
}
