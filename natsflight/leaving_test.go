package natsflight

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"

	"github.com/actorflight/singleflight"
	"github.com/stretchr/testify/assert"
)

// abandon makes a call of g lead, and leave. The fn has learned of that when abandon returns,
// and returns v and err when end is called.
func abandon(t *testing.T, g *Group, key string, v []byte, err error) (end func()) {
	t.Helper()
	ctx, leave := context.WithCancel(t.Context())
	began, told, ended := make(chan struct{}), make(chan error, 1), make(chan struct{})
	returned := do(ctx, g, key, func(ctx context.Context, _ uint64) ([]byte, error) {
		close(began)
		<-ctx.Done()
		told <- context.Cause(ctx)
		<-ended
		return v, err
	})
	receive(t, began)
	leave()
	assert.Equal(t, context.Canceled, receive(t, returned).err)
	assert.Equal(t, singleflight.ErrAbandoned, receive(t, told))
	end = sync.OnceFunc(func() { close(ended) })
	t.Cleanup(end)
	return end
}

// While calls of other processes wait, fn goes on, although all callers in its own process
// have left. The others get what it ends with, even its panic.
func TestLeadersCallersLeave(t *testing.T) {
	f := startFleet(t)
	for name, test := range map[string]struct {
		end  func() ([]byte, error)
		want result
	}{
		"value":  {func() ([]byte, error) { return []byte("value"), nil }, result{"value", nil, true}},
		"error":  {func() ([]byte, error) { return nil, errors.New("failure") }, result{"", &RemoteError{"A", "failure"}, true}},
		"panic":  {func() ([]byte, error) { panic("raised") }, result{"", &RemoteError{"A", "panic: raised"}, true}},
		"goexit": {func() ([]byte, error) { runtime.Goexit(); return nil, nil }, result{"", &RemoteError{"A", "runtime.Goexit was called"}, true}},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, leave := context.WithCancel(t.Context())
			began, unblock := make(chan struct{}), make(chan struct{})
			first := do(ctx, f.a, name, func(ctx context.Context, _ uint64) ([]byte, error) {
				close(began)
				select {
				case <-unblock:
					return test.end()
				case <-ctx.Done():
					return nil, ctx.Err()
				}
			})
			receive(t, began)
			second := f.join(t, name, returning("not called"))
			leave()
			assert.Equal(t, context.Canceled, receive(t, first).err)
			awaitCallers(t, f.a, 1)
			close(unblock)
			assert.Equal(t, test.want, receive(t, second))
		})
	}
}

// When all calls have left, those of other processes last, fn is told.
func TestAllCallersLeave(t *testing.T) {
	f := startFleet(t)
	ctx, leave := context.WithCancel(t.Context())
	g := newGate(t, "leader")
	first := do(ctx, f.a, "key", g.fn)
	receive(t, g.led)
	second := awaitPings(t, f.nc, func() <-chan result { return do(ctx, f.b, "key", g.fn) })
	leave()
	assert.Equal(t, context.Canceled, receive(t, first).err)
	assert.Equal(t, context.Canceled, receive(t, second).err)
	assert.Equal(t, singleflight.ErrAbandoned, receive(t, g.ended))
	g.open()
}

// A call that comes when all others have left does not get the result. It begins anew when
// fn has returned.
func TestCallComesAfterTheLastHasLeft(t *testing.T) {
	f := startFleet(t)
	for name, failure := range map[string]error{"value": nil, "error": context.Canceled} {
		end := abandon(t, f.a, name, []byte("old"), failure)
		late := f.join(t, name, returning("new"))
		end()
		assert.Equal(t, result{"new", nil, false}, receive(t, late))
	}
}
