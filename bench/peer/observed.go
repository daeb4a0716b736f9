package peer

import (
	"context"

	"github.com/actorflight/singleflight/observe"
)

type observed struct{ g observe.Group }

func newObserved() Group { return new(observed) }

func (p *observed) Do(key string, fn func() (any, error)) (any, error) {
	v, err, _ := p.g.Do(key, fn)
	return v, err
}

func (p *observed) DoContext(ctx context.Context, key string, fn func(context.Context) (any, error)) (any, error) {
	v, err, _ := p.g.DoContext(ctx, key, fn)
	return v, err
}

func (p *observed) InFlight() int { return len(p.g.InFlight()) }
