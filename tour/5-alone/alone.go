// Package alone is step 5 of the tour: a call that meets no other asks no owner.
//
// Such a call enters the Group: by one atomic step it puts its flight there as a note. It
// runs fn, and then exits: by another atomic step it takes the note away. A second caller
// that finds the note puts an activation in its place, with two claims from the start: one
// for its own do, and one for the land of the caller that was alone, which finds the
// activation when it exits. A Forget that finds the Group at rest returns at once, because
// there is no flight.
//
// # What it cannot do
//
// The leader wakes all waiters itself, which takes milliseconds if there are thousands. A
// caller cannot leave its flight, and fn does not learn whether a caller still waits. A
// panic is raised again without the stack of the leader. No caller learns whether its result
// was shared, and no method tells what is in flight. A Do inside fn, with the key of fn,
// hangs.
//
// # The library
//
// The library has each idea of this package in a place of its own:
//
//   - actor/actor.go has entry, activation, claim, exit, release and the loop of own, for
//     any state and any message.
//   - messages.go has do, land and forget; the cases of own are their Handle methods.
//   - state.go has flights, the map, and puts calls on flights.
//   - flight.go has flight, says which goroutine owns which of its fields, and has lead and
//     the ways in which a call ends.
//   - group.go has Do and Forget.
//
// It adds rows (party.go): up to 64 waiters share a channel. The leader closes the channel
// of one row, and starts a goroutine for each of the others. It adds DoChan (group.go),
// PanicError (flight.go), and InFlight and Wait (inspect.go). And it adds calls with a
// context (context.go): such a call may leave its flight, and fn runs in a goroutine of its
// own, the host. A flight that all callers have left is abandoned. Calls that come before
// its fn has returned share the next flight (state.go), as do fresh calls (fresh.go), which
// join no flight that has begun.
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
	mailbox  chan any     // to the owner: do, land or forget
	claims   atomic.Int64 // made, or over
	released int64        // claims; the owner's
}

const over = math.MinInt64 // see step 4

// claim makes a claim. If a caller is alone, claim begins an activation. If g is at rest,
// claim returns nil, and the caller enters if f is not nil: claim puts f there, for an owner
// to find.
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

// exit takes away the flight of the caller that is alone, and returns nil. If another call
// has come, exit returns the activation instead, in which the caller has a claim.
func (g *Group) exit() *activation {
	if e := g.current.Load(); e.activation == nil && g.current.CompareAndSwap(e, nil) {
		return nil
	}
	return g.current.Load().activation
}

// release is as in step 4.
func (a *activation) release() {
	a.released++
	if a.claims.CompareAndSwap(a.released, over) {
		a.group.current.CompareAndSwap(a.entry, nil)
	}
}

// Do returns the results of fn or, if a flight of key is in progress, those of that.
func (g *Group) Do(key string, fn func() (any, error)) (any, error) {
	f := newFlight(key)
	f.on = f
	a := g.claim(f)
	if a != nil {
		a.mailbox <- do{f}
		<-f.answers
	}
	if f.on == f {
		g.lead(a, f, fn)
	} else {
		<-f.on.landed
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
			a = g.exit()
		}
		if a != nil {
			a.mailbox <- land{f}
			<-f.answers
		}
		close(f.landed)
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
