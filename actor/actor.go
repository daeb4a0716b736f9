// Package actor keeps a piece of state in the hands of one goroutine, its
// owner, which is there only while somebody has something to tell it.
//
// Everybody else talks to the owner in messages, so the state needs no lock.
// The owner comes and goes by itself, so the actor needs no closing: at rest an
// [Address] is one nil pointer, with no goroutine, no channel and no state
// behind it.
//
// # Claims
//
// An [Activation] is one life of an actor. It counts claims. A claim is a
// promise of one more message, and nobody sends without one:
//
//   - [Address.Claim] and [Address.ClaimOrBegin] make a claim.
//   - [Activation.Send] sends a message in it.
//   - The [Message], when the owner handles it, either releases the claim
//     ([Activation.Release]) or keeps it, for one more message from whoever
//     the claim is for.
//
// With the release of the last claim the activation is over. That is one atomic
// step, and from then on nobody can claim it: whoever comes next begins another.
// So no message is lost, for its claim keeps the activation alive, and no owner
// waits for nobody. It takes no timer and no second look.
//
// # The goroutine starts with the first message
//
// To begin an activation does not start the owner; the first Send does. Whoever
// begins one may prepare the state, and put a first message in place, for the
// owner to handle before all others. If nobody else comes, [Activation.TryEnd]
// ends the activation, and there never was an owner, nor a channel: only an
// allocation and a few atomic steps.
//
// Owner and mailbox live and die with their activation, and nothing is kept for
// the next. A channel that was made in a testing/synctest bubble, for one, is
// never met outside it.
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

// An Address is where the messages for an actor with state S go. The zero
// Address is at rest and ready for use. An Address must not be copied after
// first use.
type Address[S any] struct {
	current atomic.Pointer[Activation[S]] // nil at rest
}

// A Message asks something of the owner of an S.
type Message[S any] interface {
	// Handle does what is asked, in the owner goroutine: one message at a
	// time, in the order of sending. It may use a.State freely. It must not
	// block or panic, and it calls a.Release at most once, to release the
	// claim that the message was sent in.
	Handle(a *Activation[S])
}

// An Activation is one life of an actor: from the claim that finds its address
// at rest to the release of the last claim. Activations are made by
// [Address.ClaimOrBegin].
type Activation[S any] struct {
	// State belongs to the owner: only Handle may use it, except for what the
	// begin function of ClaimOrBegin set aside for its caller.
	State S

	// Immutable once the address points here:
	address *Address[S]

	// Shared, by atomic steps only:
	claims  atomic.Int64                    // claims made after the first, or over
	mailbox atomic.Pointer[chan Message[S]] // nil before the first Send

	// Owned by the owner, once the address points here:
	first    Message[S] // what to handle before the mailbox; nil if nothing
	released int64      // claims released, or over
}

// Claim claims the activation at d. It reports false if d is at rest: there is
// nothing to claim then, and Claim begins nothing.
func (d *Address[S]) Claim() (a *Activation[S], ok bool) {
	a = d.current.Load()
	if a == nil {
		return nil, false
	}
	if a.claims.Add(1) >= 0 {
		return a, true
	}
	// Whoever ended it is about to do this. To do it for them is better than
	// to wait until they have.
	d.current.CompareAndSwap(a, nil)
	return nil, false
}

// ClaimOrBegin claims the activation at d. If d is at rest, it begins one, with
// the caller's claim as the first, and reports true.
//
// If begin is not nil, it is called with the zero State of a new activation, to
// prepare it, and may return a first message: one that the owner, if there will
// be one, handles before all others. It is in the caller's claim, as if sent.
// Where two callers are at it, begin may be called in vain, and what it did to
// that State is dropped.
func (d *Address[S]) ClaimOrBegin(begin func(*S) Message[S]) (a *Activation[S], began bool) {
	var fresh *Activation[S]
	for {
		if a, ok := d.Claim(); ok {
			return a, false
		}
		if fresh == nil {
			fresh = &Activation[S]{address: d}
			if begin != nil {
				fresh.first = begin(&fresh.State)
			}
		}
		if d.current.CompareAndSwap(nil, fresh) {
			return fresh, true
		}
	}
}

// TryEnd ends an activation if nobody but the caller, who began it, has ever
// claimed it, and reports whether it did. It takes the place of a Send by which
// the owner would only learn that it may go. A first message that was put in
// place is dropped.
//
// If TryEnd reports false, the caller still has its claim.
func (a *Activation[S]) TryEnd() bool {
	return a.end(0)
}

// Send sends m to the owner, in a claim of the caller's. It waits only while
// the mailbox is full.
func (a *Activation[S]) Send(m Message[S]) {
	mailbox := a.mailbox.Load()
	if mailbox == nil {
		mailbox = a.start()
	}
	*mailbox <- m
}

// start makes the mailbox and starts the owner, unless another sender does.
// Whoever makes the mailbox starts the owner before sending: others may have
// filled it by then.
func (a *Activation[S]) start() *chan Message[S] {
	mailbox := make(chan Message[S], mailboxSize)
	if a.mailbox.CompareAndSwap(nil, &mailbox) {
		go a.own(mailbox)
	}
	return a.mailbox.Load()
}

// own is the owner goroutine.
func (a *Activation[S]) own(mailbox <-chan Message[S]) {
	if a.first != nil {
		a.first.Handle(a)
		a.first = nil
	}
	for a.released != over {
		(<-mailbox).Handle(a)
	}
}

// Release releases the claim of the message that is being handled. Only Handle
// may call it.
//
// If that was the last claim, the activation is over and its address at rest
// when Release returns. So a Handle should answer after Release, and not before:
// whoever has the last answer then finds the address at rest, and of the owner
// nothing but that it is about to return.
func (a *Activation[S]) Release() {
	// As claims leaves out the first, released leaves out this one.
	if a.claims.Load() == a.released && a.end(a.released) {
		a.released = over
	} else {
		a.released++
	}
}

// end ends the activation if claims is still what the caller has seen, and
// reports whether it did. That no claim is in force, and that there will be none,
// is one step: in between, somebody could claim what is about to end.
func (a *Activation[S]) end(claims int64) bool {
	if !a.claims.CompareAndSwap(claims, over) {
		return false
	}
	a.address.current.CompareAndSwap(a, nil) // keep nothing
	return true
}
