package peer

import (
	"context"

	"github.com/actorflight/singleflight"
)

type actorflight struct{ g singleflight.Group }

func newActorflight() Group { return new(actorflight) }

func (p *actorflight) Do(key string, fn func() (any, error)) (any, error) {
	v, err, _ := p.g.Do(key, fn)
	return v, err
}

func (p *actorflight) DoChan(key string, fn func() (any, error)) (any, error) {
	r := <-p.g.DoChan(key, fn)
	return r.Val, r.Err
}

func (p *actorflight) DoContext(ctx context.Context, key string, fn func(context.Context) (any, error)) (any, error) {
	v, err, _ := p.g.DoContext(ctx, key, fn)
	return v, err
}

func (p *actorflight) DoFresh(ctx context.Context, key string, fn func(context.Context) (any, error)) (any, error) {
	v, err, _ := p.g.DoFresh(ctx, key, fn)
	return v, err
}

func (p *actorflight) Forget(key string) { p.g.Forget(key) }

func (p *actorflight) InFlight() int { return len(p.g.InFlight()) }

type actorflightSharded struct{ g singleflight.Sharded }

func newActorflightSharded() Group { return new(actorflightSharded) }

func (p *actorflightSharded) Do(key string, fn func() (any, error)) (any, error) {
	v, err, _ := p.g.Do(key, fn)
	return v, err
}

func (p *actorflightSharded) DoChan(key string, fn func() (any, error)) (any, error) {
	r := <-p.g.DoChan(key, fn)
	return r.Val, r.Err
}

func (p *actorflightSharded) DoContext(ctx context.Context, key string, fn func(context.Context) (any, error)) (any, error) {
	v, err, _ := p.g.DoContext(ctx, key, fn)
	return v, err
}

func (p *actorflightSharded) DoFresh(ctx context.Context, key string, fn func(context.Context) (any, error)) (any, error) {
	v, err, _ := p.g.DoFresh(ctx, key, fn)
	return v, err
}

func (p *actorflightSharded) Forget(key string) { p.g.Forget(key) }
