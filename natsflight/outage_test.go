package natsflight

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// Calls that wait for a flight of another process are not in one flight of their own
// process. When the engine dies, they are.
func TestOutageRunsOneInEachProcess(t *testing.T) {
	e := startServer(t)
	f := newFleet(t, e, Config{})
	led, local := newGate(t, "leader"), newGate(t, "local")
	first := do(t.Context(), f.a, "key", led.fn)
	receive(t, led.led)
	var waiters []<-chan result
	for range 3 {
		waiters = append(waiters, f.join(t, "key", local.fn))
	}
	e.kill(0)
	assert.Zero(t, receive(t, local.led), "the token")
	eventually(t, "all share one flight", func() bool {
		in := f.b.offline.InFlight()
		return len(in) == 1 && in[0].Callers == len(waiters)
	})
	local.open()
	for _, waiter := range waiters {
		assert.Equal(t, result{local.value(1), nil, true}, receive(t, waiter))
	}
	led.open()
	assert.Equal(t, led.value(1), receive(t, first).v)

	// Forget works in the process, and says that it works only there.
	old := newGate(t, "old")
	third := do(t.Context(), f.b, "key", old.fn)
	receive(t, old.led)
	assert.ErrorIs(t, f.b.Forget(t.Context(), "key"), ErrUnavailable)
	assert.Equal(t, result{"new", nil, false}, receive(t, do(t.Context(), f.b, "key", returning("new"))))
	old.open()
	assert.Equal(t, old.value(1), receive(t, third).v)
}
