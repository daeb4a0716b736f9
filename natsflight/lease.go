package natsflight

import (
	"context"
	"errors"
	"time"
)

// A lease is the right to lead a flight: the flight's do record is the last of its key.
// The goroutine of keep owns seq, until and lost; when it has ended, land does.
type lease struct {
	flight *flight
	seq    uint64    // of the last do record known to be stored
	until  time.Time // when the engine may drop it
	lost   bool

	release context.CancelFunc // ends keep
	kept    chan struct{}      // closed when keep has ended
}

// hold begins to renew the lease of f. If the lease is lost, lost is called.
func (f *flight) hold(seq uint64, sent time.Time, lost func()) *lease {
	ctx, release := context.WithCancel(context.Background())
	l := &lease{flight: f, seq: seq, until: sent.Add(f.group.config.Lease), release: release, kept: make(chan struct{})}
	go func() {
		defer close(l.kept)
		if l.keep(ctx); l.lost {
			lost()
		}
	}()
	return l
}

// keep renews the lease until it is lost or ctx ends.
func (l *lease) keep(ctx context.Context) {
	f, life := l.flight, l.flight.group.config.Lease
	ticker := time.NewTicker(life / 3)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		limited, cancel := context.WithTimeout(ctx, life/3)
		sent := time.Now()
		_, err := l.publish(limited, f.record, life)
		cancel()
		switch {
		case err == nil:
			l.until = sent.Add(life)
		case errors.Is(err, errRefused), time.Now().After(l.until):
			l.lost = !f.forgotten.Load() // a forgotten flight needs no lease
			return
		}
	}
}

// publish replaces the do record by r, and returns errRefused if it is no longer the last
// of its key.
func (l *lease) publish(ctx context.Context, r record, life time.Duration) (uint64, error) {
	f := l.flight
	for {
		seq, err := f.group.engine.publish(ctx, f.token, r, l.seq, life)
		if err == nil {
			l.seq = seq
		}
		if !errors.Is(err, errRefused) {
			return seq, err
		}
		// Perhaps a publish was stored whose answer did not arrive.
		last, err := f.group.engine.last(ctx, f.token)
		switch {
		case err != nil:
			return 0, err
		case last.flight != f.flight:
			return 0, errRefused
		case last.kind != kindDo: // it was r
			return last.seq, nil
		}
		l.seq = last.seq
	}
}

// land ends the flight with r, and reports whether its callers may have the result: the
// lease has not been lost. It returns at once. What follows goes on without the callers:
// the waiters get r, and the key is free.
func (l *lease) land(r record) bool {
	f := l.flight
	g := f.group
	l.release()
	<-l.kept
	l.lost = l.lost || !f.forgotten.Load() && time.Now().After(l.until)
	if l.lost {
		g.flights.Delete(f.flight)
		return false
	}
	f.shutOut() // another caller may come after a waiter elsewhere has returned
	landing := g.landings.add(f.token)
	g.tasks.Go(func() {
		defer g.flights.Delete(f.flight)
		l.handOver(r, landing)
	})
	return true
}

// handOver gives r to the waiters, and frees the key, unless the lease runs out before
// it can. The first attempt settles landing: the next call of this process need not
// wait for more.
func (l *lease) handOver(r record, landing *landing) {
	f, life := l.flight, l.flight.group.config.ResultLife
	for first := true; ; first = false {
		sent := time.Now()
		seq, err := l.publish(context.Background(), r, life)
		if first {
			landing.set(seq, sent.Add(life))
		}
		refused := errors.Is(err, errRefused)
		if err == nil || refused && !f.forgotten.Load() {
			return
		}
		// The key is another flight's, or the engine is out of reach. The waiters need
		// not suffer for it: those that joined may have r.
		_ = f.group.engine.hand(f.token, r) // a waiter that does not get r begins anew
		if refused {
			return
		}
		f.group.trip()
		pause(f.group.ctx, beat)
		if f.group.ctx.Err() != nil || time.Now().After(l.until) {
			return
		}
	}
}
