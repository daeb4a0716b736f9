// Package actor keeps a piece of state in the hands of one goroutine, its
// owner. The owner starts when a second caller comes, and ends when no caller has
// a message left to send.
//
// Other goroutines talk to the owner in messages, so the state needs no lock.
// The owner starts and ends by itself, so an actor needs no closing: at rest an
// [Address] is one nil pointer, with no goroutine, no channel and no state
// behind it.
//
// # Alone
//
// A caller that finds an Address at rest enters it, and is alone there. It puts
// a note in the Address, for an owner to find if one is started, and does its
// work. If no other caller has come by the time it exits, no owner was started
// and no channel made: the visit took one allocation and two atomic writes.
//
// # Claims
//
// The second caller begins an [Activation] and starts the owner. The
// activation counts claims. A claim is the right, and the duty, to send one
// message:
//
//   - [Address.Claim] and [Address.ClaimOrEnter] make a claim. The caller that
//     was alone holds one from the start, and gets it from [Address.Exit].
//   - [Activation.Send] sends a message in a claim.
//   - The [Message], when the owner handles it, either releases the claim
//     ([Owner.Release]) or keeps it, for one more message.
//
// The release of the last claim ends the activation, in one atomic step: no caller
// can claim it after that, and the next one finds the address at rest. A message
// is never lost, because its claim keeps the activation alive. An owner never
// waits for a message that cannot come, because it ends with the last claim; it
// needs no timer and no re-check.
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

// over, as a count of claims, says that the activation has ended. A claim made
// too late still adds one, so over is far below zero.
const over = math.MinInt64

// An Address is where the messages for an actor with state S go. A caller that is
// alone there puts a note in it, of type N. The zero Address is at rest and ready for
// use. An Address must not be copied after first use.
type Address[S, N any] struct {
	current atomic.Pointer[entry[S, N]] // nil at rest
}

// An entry is what an address holds: the note of a caller that is alone, or an
// activation.
type entry[S, N any] struct {
	note       N
	activation *Activation[S, N] // nil if a caller is alone
}

// An Activation is one life of an owner: from the second caller to the release
// of the last claim. It is never used again, or a caller that has loaded it before its
// end, and claims late, would claim in its next life.
type Activation[S, N any] struct {
	// Immutable:
	entry   entry[S, N] // what the address holds
	address *Address[S, N]
	mailbox chan Message[S, N] // one, so that messages are handled in the order of sending

	// Set before the activation is visible, then owned by the caller that was alone:
	alone *N // what ClaimOrEnter returned to it; nil once it has exited

	// Shared, by atomic steps only:
	claims atomic.Int64 // claims made, or over; 64 bits, because it only grows
}

// An Owner is the goroutine that owns an S. Only that goroutine, in Handle, may
// use it.
type Owner[S, N any] struct {
	*Activation[S, N]

	// State is the zero S at the beginning of each activation.
	State S

	// Note is that of the caller that was alone before the activation began. A
	// Handle that has read it may set it to nil.
	Note *N

	released int64 // claims released
	claimed  bool  // the claim of the message that is handled is not released
	ended    bool
}

// A Message asks something of the owner of an S.
type Message[S, N any] interface {
	// Handle does what is asked. The owner's goroutine calls it for one message
	// at a time, in the order of sending. Handle must not block or panic. It may
	// call o.Release once, to release the claim that the message was sent in.
	Handle(o *Owner[S, N])
}

// Claim makes a claim at d. If a caller is alone there, Claim begins an
// activation. If d is at rest, Claim begins nothing and reports false.
func (d *Address[S, N]) Claim() (a *Activation[S, N], ok bool) {
	var fresh *Activation[S, N]
	for {
		e := d.current.Load()
		if e == nil {
			return nil, false
		}
		if a := e.activation; a != nil {
			if a.claims.Add(1) >= 0 {
				return a, true
			}
			// The activation is over, and its owner is about to clear the
			// address. Clearing it here beats spinning until it has.
			d.current.CompareAndSwap(e, nil)
			continue
		}
		if fresh == nil {
			fresh = &Activation[S, N]{address: d, mailbox: make(chan Message[S, N], mailboxSize)}
			fresh.entry.activation = fresh
			fresh.claims.Store(2) // the caller's, and that of the caller that is alone
		}
		fresh.alone = &e.note
		if d.current.CompareAndSwap(e, &fresh.entry) {
			go fresh.own(&e.note) // before any Send: others may fill the mailbox
			return fresh, true
		}
	}
}

// ClaimOrEnter makes a claim at d. If d is at rest, the caller enters instead:
// it is alone at d, and ClaimOrEnter returns where in d its note is. The caller must
// then call [Address.Exit] with that, once.
func (d *Address[S, N]) ClaimOrEnter(note N) (a *Activation[S, N], alone *N) {
	var e *entry[S, N]
	for {
		if d.current.Load() == nil {
			if e == nil {
				e = &entry[S, N]{note: note}
			}
			if d.current.CompareAndSwap(nil, e) {
				return nil, &e.note
			}
		}
		if a, ok := d.Claim(); ok {
			return a, nil
		}
	}
}

// Exit ends the visit of the caller that entered d; alone is what [Address.ClaimOrEnter]
// returned to it. If no other caller has come, Exit puts d at rest and returns nil.
// Otherwise it returns the activation that the other caller began, in which the
// caller holds a claim.
//
// Exit panics if alone is not from the last caller that entered d, or if that
// caller has exited before.
func (d *Address[S, N]) Exit(alone *N) *Activation[S, N] {
	if e := d.current.Load(); e != nil && &e.note == alone && d.current.CompareAndSwap(e, nil) {
		return nil
	}
	e := d.current.Load()
	if e == nil || e.activation == nil || alone == nil || e.activation.alone != alone {
		panic("actor: Exit without a matching ClaimOrEnter, or called twice")
	}
	e.activation.alone = nil
	return e.activation
}

// Send sends m to the owner, in a claim that the caller holds. It waits only while
// the mailbox is full.
//
// Send panics if m is nil, or if the activation is over, which means that more
// messages were sent than claims made. If such a message is sent just before the
// activation ends, the owner's goroutine panics or the message is lost.
func (a *Activation[S, N]) Send(m Message[S, N]) {
	if m == nil {
		panic("actor: Send of a nil message")
	}
	if a.claims.Load() < 0 {
		panic("actor: Send without a claim, in an activation that is over")
	}
	a.mailbox <- m
}

// own is the owner goroutine.
func (a *Activation[S, N]) own(note *N) {
	o := Owner[S, N]{Activation: a, Note: note}
	for !o.ended {
		// The owner does not yield here to collect more messages: that would put
		// it behind every runnable goroutine.
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
// So a Handle should call Release before it answers: the caller that gets the last
// answer then finds the address at rest, and the owner with nothing left to do but
// return.
//
// Release panics if the claim has been released before.
func (o *Owner[S, N]) Release() (last bool) {
	if !o.claimed {
		panic("actor: claim released twice")
	}
	o.claimed = false
	o.released++
	// One step finds that no claim is left and prevents new ones. If these were two
	// steps, a caller could claim in between, in an activation that is about to end.
	if o.claims.CompareAndSwap(o.released, over) {
		o.address.current.CompareAndSwap(&o.entry, nil) // keep nothing
		o.ended = true
	}
	return o.ended
}
