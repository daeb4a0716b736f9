// Package actor keeps a piece of state in the hands of one goroutine, its
// owner, which is there only while more than one has something to do with it.
//
// Everybody else talks to the owner in messages, so the state needs no lock.
// The owner comes and goes by itself, so the actor needs no closing: at rest an
// [Address] is one nil pointer, with no goroutine, no channel and no state
// behind it.
//
// # Alone
//
// Whoever finds an Address at rest is alone there, and has nobody to ask. It
// leaves something in place for an owner to find, should one be needed, and does
// what it has to do. If nobody has come when it leaves, then there never was an
// owner, nor a channel: only an allocation and two atomic steps.
//
// # Claims
//
// The second to come begins an [Activation] and starts the owner. The
// activation counts claims. A claim is a promise of one more message, and
// nobody sends without one:
//
//   - [Address.Claim] and [Address.ClaimOrEnter] make a claim. Who was alone
//     has one from the beginning, and gets it from [Address.Leave].
//   - [Activation.Send] sends a message in it.
//   - The [Message], when the owner handles it, either releases the claim
//     ([Owner.Release]) or keeps it, for one more message from whoever the claim
//     is for.
//
// With the release of the last claim the activation is over. That is one atomic
// step, and from then on nobody can claim it: whoever comes next finds the
// address at rest. So no message is lost, for its claim keeps the activation
// alive, and no owner waits for nobody. It takes no timer and no second look.
//
// The owner and its mailbox live and die with their activation, and nothing is
// kept for the next. So an Address that is at rest may be used in a
// testing/synctest bubble, and later outside it or in another. One that is in use
// on one side of a bubble's border must not be used on the other: the mailbox
// belongs to the side on which the activation began.
package actor

import (
	"math"
	"sync/atomic"
)

// mailboxSize is how many messages may wait before Send does. Any size is
// correct; this one takes a burst without waking the senders one by one.
const mailboxSize = 64

// over, as a count of claims, says that the activation has ended. It is far
// enough below zero for claims made too late, which each add one.
const over = math.MinInt64

// An Address is where the messages for an actor with state S go, and where
// whoever is alone leaves an F. The zero Address is at rest and ready for use.
// An Address must not be copied after first use.
type Address[S, F any] struct {
	current atomic.Pointer[entry[S, F]] // nil at rest
}

// An entry is what an address shows: that somebody is alone, or an activation.
type entry[S, F any] struct {
	left       F                 // by whoever is alone
	activation *Activation[S, F] // nil if somebody is alone
}

// An Activation is one life of an owner: from the second who comes to the
// release of the last claim.
type Activation[S, F any] struct {
	// Immutable:
	entry   entry[S, F] // what the address shows
	address *Address[S, F]
	mailbox chan Message[S, F]

	// Set before the activation is visible, then owned by the caller that was alone:
	alone *F // what ClaimOrEnter returned to it; nil once it has left

	// Shared, by atomic steps only:
	claims atomic.Int64 // claims made, or over; 64 bits, because it only grows
}

// An Owner is the goroutine that owns an S. All of it belongs to that
// goroutine: only Handle may use it.
type Owner[S, F any] struct {
	*Activation[S, F]

	// State is the zero S at the beginning of each activation.
	State S

	// Left is what was left by whoever was alone before. A Handle that does
	// not need it any more may set it to nil.
	Left *F

	released int64 // claims released
	claimed  bool  // the claim of the message that is handled is not released
	ended    bool
}

// A Message asks something of the owner of an S.
type Message[S, F any] interface {
	// Handle does what is asked, in the owner goroutine: one message at a
	// time, in the order of sending. It must not block or panic, and it calls
	// o.Release at most once, to release the claim that the message was sent
	// in.
	Handle(o *Owner[S, F])
}

// Claim makes a claim at d. If somebody is alone there, that begins an
// activation. Claim reports false if d is at rest: there is nothing to claim
// then, and Claim begins nothing.
func (d *Address[S, F]) Claim() (a *Activation[S, F], ok bool) {
	var fresh *Activation[S, F]
	for {
		e := d.current.Load()
		if e == nil {
			return nil, false
		}
		if a := e.activation; a != nil {
			if a.claims.Add(1) >= 0 {
				return a, true
			}
			// Whoever ended it is about to do this. To do it for them is
			// better than to wait until they have.
			d.current.CompareAndSwap(e, nil)
			continue
		}
		if fresh == nil {
			fresh = &Activation[S, F]{address: d, mailbox: make(chan Message[S, F], mailboxSize)}
			fresh.entry.activation = fresh
			fresh.claims.Store(2) // the caller's, and that of the caller that is alone
		}
		fresh.alone = &e.left
		if d.current.CompareAndSwap(e, &fresh.entry) {
			go fresh.own(&e.left) // before any Send: others may fill the mailbox
			return fresh, true
		}
	}
}

// ClaimOrEnter makes a claim at d. If d is at rest, the caller enters instead:
// it is alone at d, left is in place, and ClaimOrEnter returns where. Then the
// caller must call [Address.Leave] with that, once.
func (d *Address[S, F]) ClaimOrEnter(left F) (a *Activation[S, F], alone *F) {
	var e *entry[S, F]
	for {
		if d.current.Load() == nil {
			if e == nil {
				e = &entry[S, F]{left: left}
			}
			if d.current.CompareAndSwap(nil, e) {
				return nil, &e.left
			}
		}
		if a, ok := d.Claim(); ok {
			return a, nil
		}
	}
}

// Leave ends the stay of the caller that entered d; alone is what [Address.ClaimOrEnter]
// returned to it. If no other caller has come, d is at rest then, and Leave
// returns nil. Otherwise Leave returns the activation that the other caller
// began, in which the caller has a claim.
//
// Leave panics if alone is not from the last caller that entered d, or if that
// caller has left before.
func (d *Address[S, F]) Leave(alone *F) *Activation[S, F] {
	if e := d.current.Load(); e != nil && &e.left == alone && d.current.CompareAndSwap(e, nil) {
		return nil
	}
	e := d.current.Load()
	if e == nil || e.activation == nil || alone == nil || e.activation.alone != alone {
		panic("actor: Leave without a matching ClaimOrEnter, or called twice")
	}
	e.activation.alone = nil
	return e.activation
}

// Send sends m to the owner, in a claim of the caller's. It waits only while
// the mailbox is full.
//
// Send panics if m is nil, or if the activation is over: then more messages were
// sent than claims made. If such a message comes just before the end, the owner's
// goroutine panics, or the message is lost.
func (a *Activation[S, F]) Send(m Message[S, F]) {
	if m == nil {
		panic("actor: Send of a nil message")
	}
	if a.claims.Load() < 0 {
		panic("actor: Send without a claim, in an activation that is over")
	}
	a.mailbox <- m
}

// own is the owner goroutine.
func (a *Activation[S, F]) own(left *F) {
	o := Owner[S, F]{Activation: a, Left: left}
	for !o.ended {
		// No yield here, to collect more messages before each wait: it would
		// put the owner behind every runnable goroutine.
		m := <-a.mailbox
		o.claimed = true
		m.Handle(&o)
	}
	if len(a.mailbox) > 0 {
		panic("actor: Send without a claim, in an activation that has ended since")
	}
}

// Release releases the claim of the message that is being handled. It reports
// whether that was the last claim.
//
// If it was, the activation is over and its address at rest when Release returns.
// So a Handle should answer after Release, and not before:
// whoever has the last answer then finds the address at rest, and of the owner
// nothing but that it is about to return.
//
// Release panics if the claim has been released before.
func (o *Owner[S, F]) Release() (last bool) {
	if !o.claimed {
		panic("actor: claim released twice")
	}
	o.claimed = false
	o.released++
	// That all claims are released, and that no more can be made, is one step:
	// in between, somebody could claim what is about to end.
	if o.claims.CompareAndSwap(o.released, over) {
		o.address.current.CompareAndSwap(&o.entry, nil) // keep nothing
		o.ended = true
	}
	return o.ended
}
