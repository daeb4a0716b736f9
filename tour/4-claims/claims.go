// Package claims is step 4 of the tour: the owner starts with the first call and ends with
// the last, so there is no New and no Close.
//
// One life of the owner is an activation. It has a mailbox, and it counts claims. A claim is
// the right, and the duty, to send one message. A caller makes a claim before it sends. The
// owner releases the claim when it has handled the message, or keeps it for one message
// more: if the call leads a flight, the claim of its do stays for land. The release of the
// last claim ends the activation. One atomic step finds that all claims are released and
// prevents new ones, so a call either gets its claim in time, or finds that it must begin an
// activation.
//
// # What it cannot do
//
// A call that meets no other still pays for an owner: a goroutine, a mailbox, a map and two
// round trips. Most calls meet no other. Step 5 is about these.
package claims

import (
	"math"
	"runtime"
	"sync/atomic"
)

// A Group runs one function at a time for each key. The zero Group is ready for use.
type Group struct {
	current atomic.Pointer[activation] // nil at rest
}

// An activation is one life of an owner.
type activation struct {
	group    *Group
	mailbox  chan any     // to the owner: do, land or forget
	claims   atomic.Int64 // made, or over
	released int64        // claims; the owner's
}

// over says that an activation has ended. It is so far below zero that it stays there
// though each claim that comes too late adds one.
const over = math.MinInt64

// claim makes a claim, and begins an activation if there is none.
func (g *Group) claim() *activation {
	for {
		a := g.current.Load()
		if a == nil {
			a = &activation{group: g, mailbox: make(chan any, 64)}
			a.claims.Store(1)
			if g.current.CompareAndSwap(nil, a) {
				go a.own()
				return a
			}
		} else if a.claims.Add(1) > 0 {
			return a
		} else {
			g.current.CompareAndSwap(a, nil) // its owner is about to do the same
		}
	}
}

// release releases the claim of the message that the owner has handled. The owner answers
// only after that, so that the Group is at rest when the last call returns.
func (a *activation) release() {
	a.released++
	if a.claims.CompareAndSwap(a.released, over) {
		a.group.current.CompareAndSwap(a, nil)
	}
}

// Do returns the results of fn or, if a flight of key is in progress, those of that.
func (g *Group) Do(key string, fn func() (any, error)) (any, error) {
	f := newFlight(key)
	a := g.claim()
	a.mailbox <- do{f}
	<-f.answers
	if f.on == f {
		a.lead(f, fn)
	} else {
		<-f.on.landed
	}
	return f.on.end()
}

// lead runs fn, and lands f however fn ends.
func (a *activation) lead(f *flight, fn func() (any, error)) {
	f.end = func() (any, error) { runtime.Goexit(); return nil, nil }
	defer func() { // while the goroutine returns, panics or exits
		if v := recover(); v != nil {
			f.end = func() (any, error) { panic(v) }
		}
		a.mailbox <- land{f}
		<-f.answers
		close(f.landed)
	}()
	val, err := fn()
	f.end = func() (any, error) { return val, err }
}

// Forget frees key: the next call runs its own function. The mailbox keeps the order of
// forget and the do after it. Forget waits until its claim is released.
func (g *Group) Forget(key string) {
	m := forget{key, make(chan struct{}, 1)}
	g.claim().mailbox <- m
	<-m.answer
}
