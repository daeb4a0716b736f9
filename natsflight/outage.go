package natsflight

import (
	"context"
	"errors"
)

// errDown is the cause of ErrUnavailable while a probe is running.
var errDown = errors.New("it has not answered for a while")

// goAlone is what a call does if the engine is out of reach because of cause. The calls
// of a key in this process share one flight: some may have been shut out of g.local.
func (c *call) goAlone(cause error) (outcome, error) {
	g := c.group
	g.trip()
	if g.config.OnOutage == Fail {
		return outcome{}, unavailable(cause)
	}
	c.shutOut() // another call may return the result before this one does
	v, err, shared := g.alone.DoContext(c.callers, c.key, func(ctx context.Context) ([]byte, error) {
		ctx, cancel := g.bound(ctx)
		defer cancel()
		return c.fn(ctx, 0)
	})
	return outcome{v, shared}, err
}

// trip makes the calls that come do without the engine, until a probe has reached it.
func (g *Group) trip() {
	if g.down.CompareAndSwap(false, true) {
		g.tasks.Go(g.probe)
	}
}

// probe asks the engine until it answers, and creates the stream if it is gone.
func (g *Group) probe() {
	for g.ctx.Err() == nil {
		if _, err := g.engine.open(g.ctx); err == nil {
			g.down.Store(false)
			return
		}
		pause(g.ctx, beat)
	}
}
