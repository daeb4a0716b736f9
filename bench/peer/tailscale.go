package peer

import "tailscale.com/util/singleflight"

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
