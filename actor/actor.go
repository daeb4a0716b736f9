// Package actor keeps a piece of state in the hands of one goroutine, its
// owner, which exists only while somebody has something to tell it.
//
// Everybody else talks to the owner in messages. So the state needs no lock;
// and because the owner comes and goes by itself, the actor needs no closing:
// at rest an [Address] is one nil pointer, with no goroutine, no channel and no
// state behind it.
//
// # Claims
//
// An [Activation] is one life of an actor. It counts claims. A claim is a
// promise of one more message, and nobody sends without one:
//
//   - [Address.Claim] and [Address.ClaimOrBegin] make a claim;
//   - [Activation.Send] sends a message in it;
//   - the [Message], when the owner handles it, either releases the claim
//     ([Activation.Release]) or leaves it in force, for one more message from
//     whoever the claim stands for.
//
// When the last claim is released the activation is over. That is one atomic
// step, after which nobody can claim it any more; the next to come begin a new
// one. So no message is ever lost, because its claim keeps the activation
// alive, and no owner waits for nobody: by construction, with no timer and no
// second look.
//
// # The goroutine starts with the first message
//
// To begin an activation starts nothing. Whoever begins it may prepare the
// state, and leave a first message in it that the owner will handle before any
// other. If nobody else comes, [Activation.TryEnd] ends it as it began, and
// the actor has cost two atomic steps and one allocation. The first Send makes
// the mailbox and starts the owner.
//
// Mailbox and owner live and die with their activation. Nothing is kept from
// one to the next: a channel that was made in a testing/synctest bubble, say,
// is never met outside it.
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

// An Address is where the messages for one actor go. S is the state of the
// actor. The zero Address is at rest and ready for use. An Address must not be
// copied after first use.
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
	// State belongs to the owner: only Handle may use it.
	State S

	// Immutable once the address points here:
	address *Address[S]

	// Shared, by atomic steps only:
	claims  atomic.Int64                    // claims made since it began with one, or over
	mailbox atomic.Pointer[chan Message[S]] // nil before the first Send

	// Owned by the owner:
	first    Message[S] // to be handled before those in the mailbox, or nil
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
// A begin function that is not nil gets the zero State to prepare, and may
// return a message, as good as sent: if an owner starts, it handles that
// message first. It is in the caller's claim, like any message. Two callers at
// once may both call begin, and the State that one of them prepared is dropped.
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
		// From here on others see it, so it is complete.
		if d.current.CompareAndSwap(nil, fresh) {
			return fresh, true
		}
	}
}

// TryEnd ends an activation that nobody has claimed but the one who began it,
// and reports whether it did. It is for that one to call, instead of Send: an
// owner that never started needs no telling, and a first message left for it
// is dropped.
//
// If TryEnd reports false, the caller's claim is in force as before.
func (a *Activation[S]) TryEnd() bool {
	if !a.claims.CompareAndSwap(0, over) {
		return false
	}
	a.address.current.CompareAndSwap(a, nil)
	return true
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
// If that was the last claim the activation is over, and its address is at
// rest, when Release returns. A Handle that answers after Release therefore
// answers somebody who finds nothing left of the actor, except an owner that
// is about to return.
func (a *Activation[S]) Release() {
	// Both counts leave out one claim: claims the first, released this one.
	if a.claims.Load() == a.released && a.claims.CompareAndSwap(a.released, over) {
		a.released = over
		a.address.current.CompareAndSwap(a, nil)
	} else {
		a.released++
	}
}
