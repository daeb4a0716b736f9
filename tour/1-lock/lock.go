// Package lock is step 1 of the tour, the shape that most programmers write first: a mutex
// guards a map of flights, and each flight has a WaitGroup, on which its waiters wait.
//
// A call locks the map and looks for a flight of its key. If there is one, the call unlocks
// the map and waits. If there is none, the call leads: it puts a flight into the map, runs
// fn without the lock, takes the flight out again, and wakes the waiters.
//
// # What it cannot do
//
// If fn panics or calls runtime.Goexit, the leader never gets to the second half of Do. Its
// waiters wait for ever, and so does every later call of the key. If Forget is called during
// a flight, the next call puts its own flight into the map; then the first flight lands and
// deletes that one, and a third call runs its function beside the second. After a burst of
// keys the map keeps its size.
//
// Each of these can be repaired with a lock. But no repair makes the lock say what it
// guards. A comment says that val and err are written before landed is done, and read only
// after that; to see whether this is true, one has to read every method. Step 2 gives the
// map to one goroutine.
package lock

import "sync"

// A Group runs one function at a time for each key. The zero Group is ready for use.
type Group struct {
	mu      sync.Mutex
	flights map[string]*flight // guarded by mu
}

// A flight is one execution of a function.
type flight struct {
	landed sync.WaitGroup

	// Written by the leader before landed is done, and read by all after that:
	val any
	err error
}

// Do returns the results of fn or, if a flight of key is in progress, those of that.
func (g *Group) Do(key string, fn func() (any, error)) (any, error) {
	g.mu.Lock()
	if f, ok := g.flights[key]; ok {
		g.mu.Unlock()
		f.landed.Wait()
		return f.val, f.err
	}
	f := new(flight)
	f.landed.Add(1)
	if g.flights == nil {
		g.flights = make(map[string]*flight)
	}
	g.flights[key] = f
	g.mu.Unlock()

	f.val, f.err = fn()

	// First the key is freed, then the waiters are woken. Otherwise a waiter could
	// return, call again, and get the same result a second time.
	g.mu.Lock()
	delete(g.flights, key)
	g.mu.Unlock()
	f.landed.Done()
	return f.val, f.err
}

// Forget frees key: the next call runs its own function.
func (g *Group) Forget(key string) {
	g.mu.Lock()
	delete(g.flights, key)
	g.mu.Unlock()
}
