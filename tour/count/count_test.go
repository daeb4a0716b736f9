// Package count tries the message count, which README.md adds to a copy of the library.
package count

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/actorflight/singleflight"
	"github.com/stretchr/testify/assert"
)

// A group is a Group or a Sharded with the message.
type group interface {
	DoChan(key string, fn func() (any, error)) <-chan singleflight.Result
	DoChanContext(ctx context.Context, key string, fn func(context.Context) (any, error)) <-chan singleflight.Result
	Forget(key string)
	InFlight() []singleflight.Flight
	Count() int
}

func TestCount(t *testing.T) {
	for _, g := range []any{new(singleflight.Group), new(singleflight.Sharded)} {
		g, ok := g.(group)
		if !ok {
			t.Skip("TestCountExample runs this, with a copy of the library")
		}
		synctest.Test(t, func(t *testing.T) {
			assert.Zero(t, g.Count(), "at rest")
			gate := make(chan struct{})
			fn := func() (any, error) { <-gate; return nil, nil }
			lone := g.DoChan("a", fn)
			assert.Equal(t, 1, g.Count(), "alone")
			g.Forget("a")
			second, third := g.DoChan("a", fn), g.DoChan("b", fn)
			assert.Equal(t, 3, g.Count(), "one of them forgotten")
			assert.Len(t, g.InFlight(), 3)
			close(gate)
			<-lone
			<-second
			<-third
			synctest.Wait()
			assert.Zero(t, g.Count(), "at rest again")

			gate = make(chan struct{})
			ctx, cancel := context.WithCancel(t.Context())
			left := g.DoChanContext(ctx, "a", func(context.Context) (any, error) { return fn() })
			synctest.Wait() // fn has begun, and waits for gate
			cancel()
			assert.ErrorIs(t, (<-left).Err, context.Canceled)
			next := g.DoChan("a", fn)
			assert.Equal(t, 1, g.Count(), "an abandoned flight; the next has not begun")
			assert.Len(t, g.InFlight(), 2)
			close(gate)
			<-next
			synctest.Wait()
			assert.Zero(t, g.Count(), "at rest in the end")
		})
	}
}
