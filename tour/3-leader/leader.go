// Package leader is step 3 of the tour: the owner decides, and the callers work. A call
// asks the owner, which answers that the call leads a flight or has joined one. The leader
// runs fn in its own goroutine, where panics and runtime.Goexit belong. A deferred function
// lands the flight in any case, and every waiter ends as fn has ended.
//
// Each field of a flight belongs to one goroutine at a time, and changes hands with a
// message, an answer or the landing. The leader sends land, and waits for the answer: then
// the key is free. After that the leader wakes the waiters, while the owner serves other
// keys. So the owner does constant work for each message, and it never blocks: every channel
// that it answers on has room.
//
// # What it cannot do
//
// New and Close are still there, with all that step 2 says of them: a leak, a hang and a
// crash. And each call makes one or two round trips to the owner, even if no other call is
// in progress. Step 4 starts the owner with the first call, and ends it with the last.
package leader

import "runtime"

// A Group runs one function at a time for each key. It must be made by [New].
type Group struct {
	mailbox chan any // to the owner: do, land, forget or end
}

// A flight is one execution of a function. Each call makes a flight, which begins or, if
// the call joins another, stays unused.
type flight struct {
	// Immutable:
	key     string
	answers chan struct{} // where the call gets the owner's answers; has room for one
	landed  chan struct{} // where the waiters wait; closed when the flight has landed

	// Written by the owner before it answers do, then immutable:
	on *flight // the flight that the call is on: this one, if the call leads

	// Owned by the leader until it closes landed, then immutable:
	end func() (any, error) // ends a Do as fn has ended
}

func newFlight(key string) *flight {
	return &flight{key: key, answers: make(chan struct{}, 1), landed: make(chan struct{})}
}

// Messages to the owner. do and land are answered; forget and end are not.
type (
	do     struct{ flight *flight }
	land   struct{ flight *flight }
	forget struct{ key string }
	end    struct{}
)

// New returns a Group, and starts its owner.
func New() *Group {
	g := &Group{mailbox: make(chan any, 64)} // a burst of senders need not wait
	go g.own()
	return g
}

// Close ends the owner. All calls must have returned, and no more must be made.
func (g *Group) Close() { g.mailbox <- end{} }

func (g *Group) own() {
	flights := make(map[string]*flight)
	for {
		switch m := (<-g.mailbox).(type) {
		case do:
			f := m.flight
			if current, ok := flights[f.key]; ok {
				f.on = current
			} else {
				f.on = f
				flights[f.key] = f
			}
			f.answers <- struct{}{}
		case land:
			if flights[m.flight.key] == m.flight { // unless it was forgotten
				delete(flights, m.flight.key)
			}
			m.flight.answers <- struct{}{}
		case forget:
			delete(flights, m.key)
		case end:
			return
		}
	}
}

// Do returns the results of fn or, if a flight of key is in progress, those of that.
func (g *Group) Do(key string, fn func() (any, error)) (any, error) {
	f := newFlight(key)
	g.mailbox <- do{f}
	<-f.answers
	if f.on == f {
		g.lead(f, fn)
	} else {
		<-f.on.landed
	}
	return f.on.end()
}

// lead runs fn, and lands f however fn ends.
func (g *Group) lead(f *flight, fn func() (any, error)) {
	f.end = func() (any, error) { runtime.Goexit(); return nil, nil }
	defer func() { // while the goroutine returns, panics or exits
		if v := recover(); v != nil {
			f.end = func() (any, error) { panic(v) }
		}
		g.mailbox <- land{f}
		<-f.answers
		close(f.landed)
	}()
	val, err := fn()
	f.end = func() (any, error) { return val, err }
}

// Forget frees key: the next call runs its own function.
func (g *Group) Forget(key string) { g.mailbox <- forget{key} }
