package natsflight

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"
)

// runOffline is what a call does if the engine is out of reach because of cause. Calls of
// a key share one flight in this process; g.calls has only those that are not shut out.
func (c *call) runOffline(ctx context.Context, cause error) (outcome, error) {
	g := c.group
	if errors.Is(cause, errFull) {
		g.sayFull(cause)
	} else {
		g.trip()
	}
	if g.config.OnOutage == Fail {
		return outcome{}, unavailable(cause)
	}
	c.shutOut() // another call may return the result before this one does
	v, err, shared := g.offline.DoContext(ctx, c.key, func(ctx context.Context) ([]byte, error) {
		ctx, cancel := g.bound(ctx)
		defer cancel()
		ctx, stop := context.WithCancelCause(ctx)
		defer stop(nil)
		f := &flight{call: c} // unknown to others
		defer f.over.Store(true)
		limit := time.AfterFunc(g.config.MaxFlight, func() {
			f.over.Store(true)
			g.offline.Forget(c.key)
			stop(ErrMaxFlight)
		})
		defer limit.Stop()
		v, err := c.fn(c.nest(ctx, f), 0)
		if !limit.Stop() {
			return nil, ErrMaxFlight
		}
		return v, err
	})
	if why := g.why(ctx); why != nil {
		return outcome{}, why
	}
	return outcome{v, shared}, err
}

// trip makes a probe find out whether the engine is out of reach.
func (g *Group) trip() {
	if g.probing.CompareAndSwap(false, true) {
		g.tasks.Go(g.probe)
	}
}

// probe tries the engine until it works. From the first failure on, calls run without it.
func (g *Group) probe() {
	defer g.probing.Store(false)
	for wait := beat; ; wait = min(2*wait, attempt) {
		err := g.engine.reach(g.ctx)
		if g.ctx.Err() != nil {
			return
		}
		was := g.down.Load()
		if err == nil {
			if g.down.Store(nil); was != nil {
				g.config.Log.Info("natsflight: works with the engine again", "stream", g.config.Stream)
			}
			return
		}
		if was == nil || (*was).Error() != err.Error() {
			g.config.Log.Warn("natsflight: works without the engine", "stream", g.config.Stream, "cause", err)
		}
		g.down.Store(&err)
		pause(g.ctx, wait/2+rand.N(wait/2)) // processes that were cut off together do not ask together
	}
}

// sayFull says, at most once a minute, that the stream is full.
func (g *Group) sayFull(cause error) {
	now := time.Now().Unix()
	if last := g.fullSaid.Load(); now-last >= 60 && g.fullSaid.CompareAndSwap(last, now) {
		g.config.Log.Warn("natsflight: calls run without the engine", "stream", g.config.Stream, "cause", cause)
	}
}
