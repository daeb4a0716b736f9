package actor

import (
	"fmt"

	"github.com/actorflight/singleflight/tour/trace/record"
)

// Each of these has the name of a method of actor.go, calls that, and notes what it did.

func (d *Address[S, F]) Claim() (a *Activation[S, F], ok bool) {
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

func (d *Address[S, F]) ClaimOrEnter(left F) (a *Activation[S, F], alone *F) {
	a, alone = d.untracedClaimOrEnter(left)
	if alone != nil {
		record.Add("address", "enters, alone")
	}
	return a, alone
}

func (d *Address[S, F]) Leave(alone *F) *Activation[S, F] {
	a := d.untracedLeave(alone)
	if a == nil {
		record.Add("address", "leaves: at rest")
	} else {
		record.Add("address", "wants to leave, and finds its claim")
	}
	return a
}

func (a *Activation[S, F]) Send(m Message[S, F]) {
	record.Held()
	record.Add("owner", fmt.Sprint(m))
	a.untracedSend(m)
}

func (a *Activation[S, F]) own(left *F) {
	record.Name("owner")
	a.untracedown(left)
}

func (o *Owner[S, F]) Release() (last bool) {
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
