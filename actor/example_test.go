package actor_test

import (
	"fmt"

	"github.com/actorflight/singleflight/actor"
)

// A room is the state: how many are in it, and how many were at most.
type room struct{ inside, peak int }

// A visitor leaves its name at the door for an owner to find.
type (
	door  = actor.Address[room, string]
	owner = actor.Owner[room, string]
)

// enter keeps its claim: whoever enters will leave.
type enter struct{ name string }

func (m enter) Handle(o *owner) {
	welcome(o)
	o.State.inside++
	o.State.peak = max(o.State.peak, o.State.inside)
}

// welcome counts whoever was alone in the room before there was an owner.
func welcome(o *owner) {
	if o.Left != nil {
		fmt.Println(*o.Left, "was alone")
		o.State = room{inside: 1, peak: 1}
		o.Left = nil
	}
}

// leave releases the claim, and then answers.
type leave struct {
	peak chan<- int // has room for the answer
}

func (m leave) Handle(o *owner) {
	welcome(o)
	o.State.inside--
	peak := o.State.peak
	o.Release()
	m.peak <- peak
}

// Visitors meet in a room. Nobody but its owner reads or writes the counts, and
// when the last has left there is no owner. The first does not need one.
func Example() {
	var d door

	visit := func(name string) (goodbye func()) {
		a, alone := d.ClaimOrEnter(name)
		if a != nil {
			a.Send(enter{name})
		}
		return func() {
			if a == nil {
				a = d.Leave(alone)
			}
			if a == nil {
				fmt.Println(name, "met nobody")
				return
			}
			peak := make(chan int, 1)
			a.Send(leave{peak})
			fmt.Println(name, "was one of", <-peak)
		}
	}

	visit("Ada")()

	ada, bob, cyd := visit("Ada"), visit("Bob"), visit("Cyd")
	ada()
	bob()
	cyd()

	_, ok := d.Claim()
	fmt.Println("anybody inside:", ok)

	// Output:
	// Ada met nobody
	// Ada was alone
	// Ada was one of 3
	// Bob was one of 3
	// Cyd was one of 3
	// anybody inside: false
}
