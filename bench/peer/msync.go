package peer

import (
	"context"

	"github.com/creachadair/msync/throttle"
)

// msync is a Throttle for each key. Its callers have a context, and the function that runs
// gets that of its own caller.
type msync struct {
	throttles throttle.Set[string, any]
}

func newMsync() Group { return new(msync) }

func (p *msync) Do(key string, fn func() (any, error)) (any, error) {
	return p.throttles.Call(context.Background(), key, func(context.Context) (any, error) { return fn() })
}

func (p *msync) DoContext(ctx context.Context, key string, fn func(context.Context) (any, error)) (any, error) {
	return p.throttles.Call(ctx, key, fn)
}
