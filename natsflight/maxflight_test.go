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
