package peer

import (
	"context"

	"tailscale.com/util/singleflight"
)

type tailscale struct {
	g singleflight.Group[string, any]
}

func newTailscale() Group { return new(tailscale) }

func (p *tailscale) Do(key string, fn func() (any, error)) (any, error) {
	v, err, _ := p.g.Do(key, fn)
	return v, err
}

func (p *tailscale) DoChan(key string, fn func() (any, error)) (any, error) {
	r := <-p.g.DoChan(key, fn)
	return r.Val, r.Err
}

func (p *tailscale) DoContext(ctx context.Context, key string, fn func(context.Context) (any, error)) (any, error) {
	r := <-p.g.DoChanContext(ctx, key, fn)
	return r.Val, r.Err
}

func (p *tailscale) Forget(key string) { p.g.Forget(key) }
