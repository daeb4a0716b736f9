package actor_test

import (
	"fmt"

	"github.com/actorflight/singleflight/actor"
)

// A room is the state: how many visitors are in it, and the most that ever were.
type room struct{ inside, peak int }

// A visitor that is alone leaves its name at the door for an owner to find.
type (
	door  = actor.Address[room, string]
	owner = actor.Owner[room, string]
)

// enter keeps its claim, for leave.
type enter struct{ name string }

func (m enter) Handle(o *owner) {
	welcome(o)
	o.State.inside++
	o.State.peak = max(o.State.peak, o.State.inside)
}

// welcome counts the visitor that was alone in the room before there was an owner.
func welcome(o *owner) {
	if o.Note != nil {
		fmt.Println(*o.Note, "was alone")
		o.State = room{inside: 1, peak: 1}
		o.Note = nil
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

// Visitors meet in a room. Only its owner reads and writes the counts. The first
// visitor needs no owner, and the owner ends when the last visitor has left.
func Example() {
	var d door

	visit := func(name string) (goodbye func()) {
		a, alone := d.ClaimOrEnter(name)
		if a != nil {
			a.Send(enter{name})
		}
		return func() {
			if a == nil {
				a = d.Exit(alone)
			}
			if a == nil {
				fmt.Println(name, "met no other")
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
	fmt.Println("in use:", ok)

	// Output:
	// Ada met no other
	// Ada was alone
	// Ada was one of 3
	// Bob was one of 3
	// Cyd was one of 3
	// in use: false
}
