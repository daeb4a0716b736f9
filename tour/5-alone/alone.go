// Package alone is step 5 of the tour: a call that meets no other asks no owner.
//
// It leaves its flight in the Group as a note, by one atomic step, runs fn, and takes the
// note away by another. A second caller that finds the note puts an activation in its
// place, with two claims from the start: one for its own do, and one for the done of the
// caller that was alone, which finds the activation when it wants to take its note away.
// A Forget that finds the Group at rest returns at once, because there is no flight.
//
// # What it cannot do
//
// The leader wakes every waiter itself, which takes milliseconds if there are thousands. A
// caller cannot give up, and fn does not learn that no caller is left. A panic is raised
// again without the stack of the leader. No caller learns whether its result was shared,
// and no method tells what is in flight. A Do inside fn, with the key of fn, hangs.
//
// # The library
//
// The library has each idea of this package in a place of its own:
//
//   - actor/actor.go has entry, activation, claim, leave, release and the loop of own, for
//     any state and any message.
//   - messages.go has do, done and forget; the cases of own are their Handle methods.
//   - state.go has flight, and says which goroutine owns which of its fields.
//   - flight.go has lead, and the ways in which a call ends.
//   - group.go has Do and Forget.
//
// It adds rows (flight.go): the leader wakes every 64th waiter, which wakes the 63 behind
// it. It adds DoChan (group.go), PanicError (flight.go), and InFlight and Wait
// (inspect.go). And it adds calls with a context (context.go): such a call may leave, fn
// runs in a goroutine of its own, and a flight that all calls have left is abandoned, with
// the next flight of its key waiting for its end (state.go).
package alone

import (
	"math"
	"runtime"
	"sync/atomic"
)

// A Group runs one function at a time for each key. The zero Group is ready for use.
type Group struct {
	current atomic.Pointer[entry] // nil at rest
}

// An entry is what a Group shows: that a caller is alone, or an activation.
type entry struct {
	note       *flight     // of the caller that is alone, or was
	activation *activation // nil if a caller is alone
}

// An activation is one life of an owner.
type activation struct {
	group    *Group
	entry    *entry       // what the Group shows
	mailbox  chan any     // to the owner: do, done or forget
	claims   atomic.Int64 // made, or over
	released int64        // claims; the owner's
}

const over = math.MinInt64 // see step 4

// claim makes a claim. If a caller is alone, claim begins an activation. If g is at rest,
// claim leaves f there, if it is not nil, for an owner to find, and returns nil.
func (g *Group) claim(f *flight) *activation {
	for {
		e := g.current.Load()
		switch {
		case e == nil:
			if f == nil || g.current.CompareAndSwap(nil, &entry{note: f}) {
				return nil
			}
		case e.activation == nil:
			a := &activation{group: g, mailbox: make(chan any, 64)}
			a.entry = &entry{e.note, a}
			a.claims.Store(2) // the caller's, and that of the caller that is alone
			if g.current.CompareAndSwap(e, a.entry) {
				go a.own()
				return a
			}
		case e.activation.claims.Add(1) > 0:
			return e.activation
		default:
			g.current.CompareAndSwap(e, nil) // its owner is about to do the same
		}
	}
}

// leave takes the flight of the caller that is alone away, and returns nil; or, if another
// has come, the activation, in which the caller has a claim.
func (g *Group) leave() *activation {
	if e := g.current.Load(); e.activation == nil && g.current.CompareAndSwap(e, nil) {
		return nil
	}
	return g.current.Load().activation
}

// release is what it is in step 4.
func (a *activation) release() {
	a.released++
	if a.claims.CompareAndSwap(a.released, over) {
		a.group.current.CompareAndSwap(a.entry, nil)
	}
}

// Do returns the results of fn or, if a flight of key is in progress, those of that.
func (g *Group) Do(key string, fn func() (any, error)) (any, error) {
	f := &flight{key: key, turn: make(chan struct{}, 2)}
	f.on = f
	a := g.claim(f)
	if a != nil {
		a.mailbox <- do{f}
		<-f.turn
	}
	if f.on == f {
		g.lead(a, f, fn)
	} else {
		<-f.turn // the landing
	}
	return f.on.end()
}

// lead runs fn, and lands f however fn ends. a is nil if the caller is alone.
func (g *Group) lead(a *activation, f *flight, fn func() (any, error)) {
	f.end = func() (any, error) { runtime.Goexit(); return nil, nil }
	defer func() { // while the goroutine returns, panics or exits
		if v := recover(); v != nil {
			f.end = func() (any, error) { panic(v) }
		}
		if a == nil {
			a = g.leave()
		}
		if a != nil {
			a.mailbox <- done{f}
			<-f.turn
		}
		for _, turn := range f.waiters {
			turn <- struct{}{}
		}
	}()
	val, err := fn()
	f.end = func() (any, error) { return val, err }
}

// Forget frees key: the next call runs its own function.
func (g *Group) Forget(key string) {
	if a := g.claim(nil); a != nil {
		m := forget{key, make(chan struct{}, 1)}
		a.mailbox <- m
		<-m.answer
	}
}
