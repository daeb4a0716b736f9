// Package monitor is step 2 of the tour: the map belongs to one goroutine, the owner, and
// callers send it messages. There is nothing to lock, because flights is a local variable of
// [Group.own], which no other goroutine can reach.
//
// The owner does not run fn itself, or all other calls would wait for it. It starts a
// goroutine for fn, which sends land when fn has returned. The owner then answers
// the callers of the flight. It compares flights and not keys, so a forgotten flight that
// lands does not take the key from the next one.
//
// # What it cannot do
//
// A panic of fn happens where no caller can recover it, and kills the process. After
// runtime.Goexit in fn, land is never sent, and the callers wait for ever. While the owner
// answers the thousand callers of one flight, the calls of all other keys wait.
//
// And the owner must be started and ended. The zero Group has none, so its calls hang. A
// Group that is not closed leaks its owner, and calls of one that is closed too early hang,
// so the program must know when the last call has returned. The owner belongs to the place
// where New was called: the program crashes if a Group made outside a testing/synctest
// bubble is used inside. Step 3 gives fn back to the callers, and step 4 ends the owner.
package monitor

// A Group runs one function at a time for each key. It must be made by [New].
type Group struct {
	mailbox chan any // to the owner: do, land, forget or end
}

// do comes from a caller.
type do struct {
	key    string
	fn     func() (any, error)
	answer chan<- result // has room for it
}

// land comes from the goroutine that has run the fn of a flight.
type land struct {
	flight *flight
	result result
}

// forget comes from Forget, and end from Close.
type (
	forget struct{ key string }
	end    struct{}
)

type result struct {
	val any
	err error
}

// A flight is one execution of a function. It is the owner's.
type flight struct {
	key     string
	callers []chan<- result
}

// New returns a Group, and starts its owner.
func New() *Group {
	g := &Group{mailbox: make(chan any)}
	go g.own()
	return g
}

// Close ends the owner. All calls must have returned, and no more must be made.
func (g *Group) Close() { g.mailbox <- end{} }

// own is the owner goroutine.
func (g *Group) own() {
	flights := make(map[string]*flight)
	for {
		switch m := (<-g.mailbox).(type) {
		case do:
			f, ok := flights[m.key]
			if !ok {
				f = &flight{key: m.key}
				flights[m.key] = f
				go func() {
					val, err := m.fn()
					g.mailbox <- land{f, result{val, err}}
				}()
			}
			f.callers = append(f.callers, m.answer)
		case land:
			if flights[m.flight.key] == m.flight {
				delete(flights, m.flight.key)
			}
			for _, answer := range m.flight.callers {
				answer <- m.result
			}
		case forget:
			delete(flights, m.key)
		case end:
			return
		}
	}
}

// Do returns the results of fn or, if a flight of key is in progress, those of that.
func (g *Group) Do(key string, fn func() (any, error)) (any, error) {
	answer := make(chan result, 1)
	g.mailbox <- do{key, fn, answer}
	r := <-answer
	return r.val, r.err
}

// Forget frees key: the next call runs its own function. Forget waits for no answer,
// because the mailbox keeps the order: a do that is sent later is handled later.
func (g *Group) Forget(key string) { g.mailbox <- forget{key} }
