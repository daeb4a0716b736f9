package actor

import (
	"fmt"

	"github.com/actorflight/singleflight/tour/trace/record"
)

// Each of these has the name of a method of actor.go, calls that, and notes what it did.

func (d *Address[S, N]) Claim() (a *Activation[S, N], ok bool) {
	e := d.current.Load()
	if a, ok = d.untracedClaim(); !ok {
		return nil, false
	}
	record.Made(a.claims.Load())
	if e.activation == nil {
		record.Add("address", "begins an activation with 2 claims")
	} else {
		record.Add("address", "makes a claim")
	}
	return a, true
}

func (d *Address[S, N]) ClaimOrEnter(note N) (a *Activation[S, N], alone *N) {
	a, alone = d.untracedClaimOrEnter(note)
	if alone != nil {
		record.Add("address", "enters, alone")
	}
	return a, alone
}

func (d *Address[S, N]) Exit(alone *N) *Activation[S, N] {
	a := d.untracedExit(alone)
	if a == nil {
		record.Add("address", "exits: at rest")
	} else {
		record.Add("address", "exits, and gets its claim")
	}
	return a
}

func (a *Activation[S, N]) Send(m Message[S, N]) {
	record.Held()
	record.Add("owner", fmt.Sprint(m))
	a.untracedSend(m)
}

func (a *Activation[S, N]) own(note *N) {
	record.Name("owner")
	a.untracedown(note)
}

func (o *Owner[S, N]) Release() (last bool) {
	last = o.untracedRelease()
	record.Released(o.released)
	if last {
		record.Add("address", "releases the last claim: at rest")
		record.Rest()
	} else {
		record.Add("", "releases the claim")
	}
	return last
}
