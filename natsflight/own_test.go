package natsflight

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
)

// A call that leads a flight although later calls of its process do not join the call: it
// has waited for another flight before.
type shutOut struct {
	fleet
	led     chan struct{} // closed when its fn runs
	unblock chan struct{} // its fn returns when it is closed
}

// newShutOut makes such a call of f.a with begin, which gets its fn. The fn ends with end.
func newShutOut(t *testing.T, f fleet, key string, end func() error, begin func(fn function)) *shutOut {
	t.Helper()
	s := &shutOut{f, make(chan struct{}), make(chan struct{})}
	abandoned := abandon(t, f.b, key, nil, context.Canceled)
	conn := f.a.engine.js.Conn()
	awaitPings(t, conn, func() <-chan result {
		begin(func(ctx context.Context, _ uint64) ([]byte, error) {
			close(s.led)
			select {
			case <-s.unblock:
				return []byte("value"), end()
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		})
		return nil
	})
	abandoned()
	receive(t, s.led)
	return s
}

// awaitCallers waits until the one flight that g leads has n callers in g's process.
func awaitCallers(t *testing.T, g *Group, n int) {
	t.Helper()
	eventually(t, "the flight has its callers", func() bool {
		in := g.flights.InFlight()
		return len(in) == 1 && in[0].Callers == n
	})
}

// howEnds makes a call, and tells how it has ended.
func howEnds(call func() error) <-chan string {
	ended := make(chan string, 1)
	go func() {
		how := "goexit"
		defer func() {
			if p := recover(); p != nil {
				how, _, _ = strings.Cut(p.(error).Error(), "\n")
				how = "panic: " + how
			}
			ended <- how
		}()
		if err := call(); err != nil {
			how = "error: " + err.Error()
		} else {
			how = "value"
		}
	}()
	return ended
}

// Callers in the leader's process get fn's failure itself, however they come to its flight.
func TestFailuresReachTheOwnProcess(t *testing.T) {
	f := startFleet(t)
	failure := errors.New("failure")
	for want, end := range map[string]func() error{
		"value":          func() error { return nil },
		"error: failure": func() error { return failure },
		"panic: failure": func() error { panic(failure) },
		"goexit":         func() error { runtime.Goexit(); return nil },
	} {
		t.Run(want, func(t *testing.T) {
			call := func(fn function) func() error {
				return func() error {
					_, err, _ := f.a.Do(t.Context(), want, fn)
					return err
				}
			}
			var first <-chan string
			s := newShutOut(t, f, want, end, func(fn function) { first = howEnds(call(fn)) })
			second := howEnds(call(returning("not called")))
			awaitCallers(t, f.a, 2)
			close(s.unblock)
			assert.Equal(t, want, receive(t, first))
			assert.Equal(t, want, receive(t, second))
		})
	}
}

// A caller that comes later in the leader's process keeps fn's context from ending.
func TestLaterCallerKeepsTheFlight(t *testing.T) {
	f := startFleet(t)
	ctx, leave := context.WithCancel(t.Context())
	var first <-chan result
	s := newShutOut(t, f, "key", func() error { return nil }, func(fn function) { first = do(ctx, f.a, "key", fn) })
	second := do(t.Context(), f.a, "key", returning("not called"))
	awaitCallers(t, f.a, 2)
	leave()
	assert.Equal(t, context.Canceled, receive(t, first).err)
	awaitCallers(t, f.a, 1)
	close(s.unblock)
	assert.Equal(t, result{"value", nil, false}, receive(t, second))
}

// A storing is an engine that tells when it is about to store a do record, and does so when
// it may, even if the call does not wait for that.
type storing struct {
	jetstream.JetStream
	begins, may chan struct{}
}

func (s storing) PublishMsg(ctx context.Context, m *nats.Msg, opts ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	if m.Header.Get(headerKind) != string(kindDo) {
		return s.JetStream.PublishMsg(ctx, m, opts...)
	}
	s.begins <- struct{}{}
	<-s.may
	ack, err := s.JetStream.PublishMsg(context.WithoutCancel(ctx), m, opts...)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return ack, err
}

// A Group that is closed while it stores a do record does not block the key for a lease.
func TestCloseDuringAPublish(t *testing.T) {
	f := startFleet(t)
	s := storing{f.a.engine.js, make(chan struct{}), make(chan struct{})}
	f.a.engine.js = s
	returned := do(t.Context(), f.a, "key", returning("value"))
	receive(t, s.begins)
	closed := make(chan error, 1)
	go func() { closed <- f.a.Close(context.Background()) }()
	receive(t, f.a.ctx.Done())
	close(s.may)
	assert.NoError(t, receive(t, closed))
	assert.Equal(t, result{"", ErrClosed, false}, receive(t, returned))
	last, err := f.b.engine.last(t.Context(), hashOf("key"))
	assert.NoError(t, err)
	assert.NotEqual(t, kindDo, last.kind)
}

// All calls of a Group that is closed return ErrClosed, whether they lead or wait, with the
// engine or without.
func TestCallsReturnErrClosed(t *testing.T) {
	e := startServer(t)
	for _, offline := range []bool{false, true} {
		g := newFleet(t, e, Config{}).a
		if offline {
			g.down.Store(&context.DeadlineExceeded)
		}
		began, cause := make(chan struct{}), make(chan error, 1)
		returned := do(t.Context(), g, "key", func(ctx context.Context, _ uint64) ([]byte, error) {
			close(began)
			<-ctx.Done()
			cause <- context.Cause(ctx)
			return nil, ctx.Err()
		})
		receive(t, began)
		assert.NoError(t, g.Close(t.Context()))
		assert.Equal(t, ErrClosed, receive(t, cause))
		assert.Equal(t, result{"", ErrClosed, false}, receive(t, returned))
	}
}

// When its flight has lost the lease, fn may call for its own key: it does not wait for
// itself.
func TestNestedCallAfterTheLease(t *testing.T) {
	f := newFleet(t, startServer(t), Config{Lease: time.Second})
	led, nested := make(chan struct{}), make(chan result, 1)
	runs := 0
	first := do(t.Context(), f.a, "key", func(ctx context.Context, _ uint64) ([]byte, error) {
		if runs++; runs > 1 {
			return []byte("again"), nil
		}
		close(led)
		<-ctx.Done()
		nested <- receive(t, do(context.WithoutCancel(ctx), f.a, "key", returning("nested")))
		return nil, nil
	})
	receive(t, led)
	f.takeKey(t, "key")
	assert.Equal(t, result{"nested", nil, false}, receive(t, nested))
	assert.Equal(t, result{"again", nil, false}, receive(t, first))
}
