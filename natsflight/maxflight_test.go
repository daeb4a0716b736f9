package natsflight

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// A function that hangs does not block its key: when its flight has lasted for MaxFlight,
// it is told, and another process leads. No lease runs out.
func TestMaxFlight(t *testing.T) {
	f := startFleet(t)
	f.a.config.MaxFlight = 500 * time.Millisecond // and no limit for the other process
	hangs, next := newGate(t, "hangs"), newGate(t, "next")
	began := time.Now()
	first := do(t.Context(), f.a, "key", hangs.fn)
	receive(t, hangs.led)
	second := do(t.Context(), f.b, "key", next.fn)
	assert.Equal(t, ErrMaxFlight, receive(t, hangs.ended))
	assert.GreaterOrEqual(t, time.Since(began), 500*time.Millisecond)
	receive(t, next.led)
	third := do(t.Context(), f.a, "key", returning("not called")) // in the process in which fn hangs
	eventually(t, "the call waits for the next flight", func() bool {
		waits := false
		f.b.leading.Range(func(_, f any) bool { waits = f.(*flight).joined.Load(); return true })
		return waits
	})
	next.open()
	assert.Equal(t, next.value(1), receive(t, second).v)
	assert.Equal(t, next.value(1), receive(t, third).v)
	hangs.open()
	assert.Equal(t, ErrMaxFlight, receive(t, first).err, "it is not called again, to hang again")
}

// MaxFlight holds for a forgotten flight, too, whose lease is not renewed.
func TestMaxFlightOfAForgottenFlight(t *testing.T) {
	f := newFleet(t, startServer(t), Config{MaxFlight: 500 * time.Millisecond})
	returned := do(t.Context(), f.a, "key", func(ctx context.Context, _ uint64) ([]byte, error) {
		if err := f.a.Forget(ctx, "key"); err != nil {
			return nil, err
		}
		<-ctx.Done()
		return nil, context.Cause(ctx)
	})
	assert.Equal(t, ErrMaxFlight, receive(t, returned).err)
}

// Nor does a function that hangs without the engine block its key in its process.
func TestMaxFlightWithoutTheEngine(t *testing.T) {
	e := startServer(t)
	f := newFleet(t, e, Config{MaxFlight: 500 * time.Millisecond})
	e.kill(0)
	hangs := newGate(t, "hangs")
	first := do(t.Context(), f.a, "key", hangs.fn)
	assert.Zero(t, receive(t, hangs.led))
	assert.Equal(t, ErrMaxFlight, receive(t, hangs.ended))
	assert.Equal(t, result{"next", nil, false}, receive(t, do(t.Context(), f.a, "key", returning("next"))))
	hangs.open()
	assert.Equal(t, ErrMaxFlight, receive(t, first).err)
}

// A call that is about to board a flight, as that is given up, looks for another one.
func TestBoardAFlightThatIsGivenUp(t *testing.T) {
	g := startFleet(t).a
	hangs, first := lead(t, g, "key", "hangs")
	var f *flight
	g.leading.Range(func(_, leading any) bool { f = leading.(*flight); return true })
	f.giveUp(ErrMaxFlight)
	boarded := make(chan ending, 1)
	go func() { boarded <- f.board(t.Context(), f.do.id, landed) }()
	assert.Equal(t, look(record{}), receive(t, boarded))
	hangs.open()
	receive(t, first)
}
