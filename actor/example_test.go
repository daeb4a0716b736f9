package actor_test

import (
	"fmt"

	"github.com/actorflight/singleflight/actor"
)

// A room is the state: how many are in it, and how many were at most.
type room struct{ inside, peak int }

// enter keeps its claim: whoever enters will leave.
type enter struct{}

func (enter) Handle(a *actor.Activation[room]) {
	a.State.inside++
	a.State.peak = max(a.State.peak, a.State.inside)
}

// leave releases the claim that was made to enter, and then answers.
type leave struct {
	peak chan<- int // has room for the answer
}

func (m leave) Handle(a *actor.Activation[room]) {
	a.State.inside--
	peak := a.State.peak
	a.Release()
	m.peak <- peak
}

// Three visitors meet in a room. Nobody but its owner reads or writes the
// counts, and when the last has left there is no owner.
func Example() {
	var door actor.Address[room]

	var visits []*actor.Activation[room]
	for range 3 {
		visit, began := door.ClaimOrBegin(nil)
		visit.Send(enter{})
		fmt.Println("the first to enter:", began)
		visits = append(visits, visit)
	}

	peak := make(chan int, 1)
	for _, visit := range visits {
		visit.Send(leave{peak})
		fmt.Println("at most", <-peak)
	}

	_, ok := door.Claim()
	fmt.Println("anybody inside:", ok)

	// Output:
	// the first to enter: true
	// the first to enter: false
	// the first to enter: false
	// at most 3
	// at most 3
	// at most 3
	// anybody inside: false
}
