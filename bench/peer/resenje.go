package peer

import (
	"context"

	"resenje.org/singleflight"
)

type resenje struct {
	g singleflight.Group[string, any]
}

func newResenje() Group { return new(resenje) }

func (p *resenje) Do(key string, fn func() (any, error)) (any, error) {
	v, _, err := p.g.Do(context.Background(), key, func(context.Context) (any, error) { return fn() })
	return v, err
}

func (p *resenje) DoContext(ctx context.Context, key string, fn func(context.Context) (any, error)) (any, error) {
	v, _, err := p.g.Do(ctx, key, fn)
	return v, err
}

func (p *resenje) Forget(key string) { p.g.Forget(key) }
