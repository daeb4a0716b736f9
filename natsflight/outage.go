package natsflight

import (
	"context"
	"errors"
)

// errDown is the cause of ErrUnavailable while a probe is running.
var errDown = errors.New("it has not answered for a while")

// runOffline is what a call does if the engine is out of reach because of cause. Calls of
// a key share one flight in this process; g.calls has only those that are not shut out.
func (c *call) runOffline(cause error) (outcome, error) {
	g := c.group
	g.trip()
	if g.config.OnOutage == Fail {
		return outcome{}, unavailable(cause)
	}
	c.shutOut() // another call may return the result before this one does
	v, err, shared := g.offline.DoContext(c.callers, c.key, func(ctx context.Context) ([]byte, error) {
		ctx, cancel := g.bound(ctx)
		defer cancel()
		f := &flight{call: c} // unknown to others
		defer f.landing.Store(true)
		return c.fn(c.nest(ctx, f), 0)
	})
	return outcome{v, shared}, err
}

// trip makes new calls run without the engine, until a probe has reached it.
func (g *Group) trip() {
	if g.down.CompareAndSwap(false, true) {
		g.tasks.Go(g.probe)
	}
}

// probe tries the engine until it works.
func (g *Group) probe() {
	for g.ctx.Err() == nil {
		if _, err := g.engine.open(g.ctx); err == nil {
			g.down.Store(false)
			return
		}
		pause(g.ctx, beat)
	}
}
