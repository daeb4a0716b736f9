package natsflight

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// awaitEmpty waits until the stream holds no message.
func awaitEmpty(t *testing.T, e *servers, stream string) {
	t.Helper()
	_, js := connect(t, e.urls()...)
	eventually(t, "the stream is empty", func() bool {
		s, err := js.Stream(t.Context(), stream)
		return err == nil && s.CachedInfo().State.Msgs == 0
	})
}

// However flights end, nothing is left of them in the stream, on the connection and in
// the process, although the connection stays open.
func TestNothingIsLeft(t *testing.T) {
	e := startServer(t)
	nc, js := connect(t, e.urls()...)
	_, err := js.AccountInfo(t.Context()) // the connection subscribes to its inbox
	require.NoError(t, err)
	subscriptions := nc.NumSubscriptions()
	c := Config{Stream: streamOf(t), MaxResult: 20}
	g, err := open(js, c)
	require.NoError(t, err)
	defer closeGroup(t, g)

	broken := errors.New("broken")
	assert.Equal(t, result{"value", nil, false}, receive(t, do(t.Context(), g, "value", returning("value"))))
	assert.Equal(t, result{"", nil, false}, receive(t, do(t.Context(), g, "nothing", returning(""))))
	assert.Equal(t, broken, receive(t, do(t.Context(), g, "error", func(context.Context, uint64) ([]byte, error) {
		return nil, broken
	})).err)
	assert.Equal(t, &TooLargeError{21, 20}, receive(t, do(t.Context(), g, "too large", returning(strings.Repeat("x", 21)))).err)

	for key, fn := range map[string]function{
		"panic":  func(context.Context, uint64) ([]byte, error) { panic("raised") },
		"goexit": func(context.Context, uint64) ([]byte, error) { runtime.Goexit(); return nil, nil },
	} {
		ended := make(chan any, 1)
		go func() {
			defer func() { ended <- recover() }()
			g.Do(t.Context(), key, fn)
			assert.Fail(t, "Do must not return", key)
		}()
		assert.Equal(t, key == "panic", receive(t, ended) != nil)
	}

	_, others := connect(t, e.urls()...)
	leading, returned1 := lead(t, newGroup(t, others, c), "waiting", "led")
	returned2 := awaitPings(t, nc, func() <-chan result { return do(t.Context(), g, "waiting", returning("waited")) })
	leading.open()
	assert.Equal(t, receive(t, returned1), receive(t, returned2))

	forgotten := newGate(t, "forgotten")
	returned := do(t.Context(), g, "forgotten", forgotten.fn)
	receive(t, forgotten.led)
	require.NoError(t, g.Forget(t.Context(), "forgotten"))
	assert.Equal(t, result{"second", nil, false}, receive(t, do(t.Context(), g, "forgotten", returning("second"))))
	forgotten.open()
	assert.Equal(t, result{forgotten.value(1), nil, false}, receive(t, returned))

	// One abandoned flight lands with an error, the other with a value.
	for _, key := range []string{"abandoned", "abandoned in vain"} {
		ctx, leave := context.WithCancel(t.Context())
		began, ended := make(chan struct{}), make(chan struct{})
		returned := do(ctx, g, key, func(ctx context.Context, _ uint64) ([]byte, error) {
			defer close(ended)
			close(began)
			<-ctx.Done()
			if key == "abandoned" {
				return nil, ctx.Err()
			}
			return []byte("in vain"), nil
		})
		receive(t, began)
		leave()
		assert.ErrorIs(t, receive(t, returned).err, context.Canceled)
		receive(t, ended)
	}

	closed := newGate(t, "closed")
	returned = do(t.Context(), g, "closed", closed.fn)
	receive(t, closed.led)
	closing := make(chan struct{})
	go func() { defer close(closing); closeGroup(t, g) }()
	assert.Equal(t, ErrClosed, receive(t, closed.ended))
	select {
	case <-closing:
		assert.Fail(t, "Close must wait for fn")
	default:
	}
	closed.open()
	receive(t, closing)
	receive(t, returned)
	assert.ErrorIs(t, receive(t, do(t.Context(), g, "key", returning("value"))).err, ErrClosed)
	assert.ErrorIs(t, g.Forget(t.Context(), "key"), ErrClosed)

	assert.Equal(t, subscriptions, nc.NumSubscriptions())
	awaitEmpty(t, e, c.Stream)
}
