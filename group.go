// Package singleflight suppresses duplicate calls: of many goroutines that ask
// for the same key at the same time, one runs the function, and all get its
// result.
//
// It takes the place of golang.org/x/sync/singleflight: [Group], [Result],
// [GroupOf.Do], [GroupOf.DoChan] and [GroupOf.Forget] are used as they are
// there. [GroupOf] is the same for keys and values of any type.
//
//	var g singleflight.Group
//
//	v, err, shared := g.Do(key, func() (any, error) {
//		return load(key) // once, however many ask meanwhile
//	})
//
// # Flights
//
// One execution of a function is a flight. The call that runs it is its leader;
// calls with the same key that come before it lands join it and wait. A flight
// lands when its function has ended, in whatever way: then first the key is
// freed, and after that those who waited are released, in the order in which
// they joined. So whoever has a result and calls again starts a new flight.
// Nothing is cached.
//
// Flights of different keys never wait for each other's functions, and a
// function may use the Group it runs in, but not with its own key: a Do for
// that would wait for itself, for ever.
//
// # The owner
//
// There is no mutex in this package. The flights of a Group belong to one
// goroutine, the owner, and calls send it messages: do, when they come; done,
// when the function they led has ended; forget. The owner exists only while
// calls need it. A call that meets nobody leads a flight without asking, and
// ends without telling; only when a second comes does the owner start, and
// with the last claim on its attention it ends. A Group that nobody is using
// holds one nil pointer, so it needs no closing. Package actor is that life
// cycle, and messages.go what is said in it.
package singleflight

import "github.com/actorflight/singleflight/actor"

// A GroupOf is a namespace of keys of type K, with values of type V. For each
// key it runs one function at a time.
//
// The zero GroupOf is ready for use. A GroupOf must not be copied after first
// use. There is nothing to close.
//
// All methods may be called by any number of goroutines at once. They panic,
// and do nothing else, if the key cannot be hashed: if K is an interface type,
// or holds one, whose dynamic type is not comparable. A key that does not equal
// itself, like NaN, equals no other: its calls join no flight and nobody joins
// theirs.
type GroupOf[K comparable, V any] struct {
	address actor.Address[flights[K, V]]
}

// A ResultOf is the result of a call, as DoChan delivers it.
type ResultOf[V any] struct {
	Val    V
	Err    error
	Shared bool // as Do returns it
}

// Group has the keys and values of the Group in golang.org/x/sync/singleflight.
type Group = GroupOf[string, any]

// Result is what DoChan of a [Group] delivers.
type Result = ResultOf[any]

const nilFunc = "singleflight: nil function"

// Do runs fn and returns its results, unless a flight of the same key is in the
// air. Then it runs nothing, and waits for the results of that flight. shared
// reports whether the results went to more than one call, and is the same for
// all of them.
//
// The leader runs fn in its own goroutine. If fn panics, Do panics with a
// [*PanicError] in every goroutine that waits for it, the leader's included;
// except that if anybody waits by DoChan, the program crashes as described
// there. If fn calls [runtime.Goexit], all of those goroutines exit.
//
// Do panics if fn is nil.
func (g *GroupOf[K, V]) Do(key K, fn func() (V, error)) (v V, err error, shared bool) {
	if fn == nil {
		panic(nilFunc)
	}
	a, f := g.claim(key, nil)
	if f == nil {
		c := &call[K, V]{flight: flight[K, V]{key: key, turn: make(chan struct{}, 1)}}
		a.Send(do[K, V]{c})
		<-c.turn
		if !c.leads {
			v, err = c.result.deliver()
			return v, err, true
		}
		f = &c.flight
	}
	r, shared := lead(a, f, fn)
	v, err = r.deliver()
	return v, err, shared
}

// DoChan is like Do, but does not wait: it returns a channel that will receive
// the result. If there is no flight to join it runs fn in a new goroutine.
//
// The channel has room for the one result it receives, and is not closed. It
// may be abandoned. What that does not do is to stop fn.
//
// If fn panics, nobody at a channel could be told, so the program crashes: the
// panic is raised in a goroutine where nothing can recover it. If fn calls
// [runtime.Goexit], the channel receives [ErrGoexit].
//
// DoChan panics if fn is nil.
func (g *GroupOf[K, V]) DoChan(key K, fn func() (V, error)) <-chan ResultOf[V] {
	if fn == nil {
		panic(nilFunc)
	}
	results := make(chan ResultOf[V], 1)
	a, f := g.claim(key, results)
	if f == nil {
		a.Send(do[K, V]{&call[K, V]{flight: flight[K, V]{key: key, results: results}, fn: fn}})
	} else {
		go lead(a, f, fn)
	}
	return results
}

// Forget makes later calls with key start a new flight rather than join one
// that is in the air now. That one goes on for those who have joined it.
func (g *GroupOf[K, V]) Forget(key K) {
	g.forget(key, false)
}

// ForgetUnshared is Forget for a flight that nobody has joined: one that has
// been joined stays as it is. It reports whether the key is free afterwards,
// that is, unless there is a flight that has been joined.
func (g *GroupOf[K, V]) ForgetUnshared(key K) bool {
	return g.forget(key, true)
}

func (g *GroupOf[K, V]) forget(key K, ifUnshared bool) (free bool) {
	a, ok := g.home(key).address.Claim()
	if !ok {
		return true
	}
	m := &forget[K, V]{key: key, ifUnshared: ifUnshared, free: make(chan bool, 1)}
	a.Send(m)
	return <-m.free
}

// claim makes a claim for a call. If that began the activation, the call leads
// its first flight, which claim returns; otherwise first is nil, and the call
// has to ask the owner.
func (g *GroupOf[K, V]) claim(key K, results chan ResultOf[V]) (a *activation[K, V], first *flight[K, V]) {
	a, began := g.home(key).address.ClaimOrBegin(func(s *flights[K, V]) message[K, V] {
		s.first.key, s.first.results = key, results
		return adopt[K, V]{&s.first}
	})
	if !began {
		return a, nil
	}
	return a, &a.State.first
}

// home returns the Group in which key flies. It panics, here in the caller, if
// key cannot be hashed; the owner that met such a key would end the program.
func (g *GroupOf[K, V]) home(key K) *GroupOf[K, V] {
	_ = map[K]struct{}(nil)[key]
	if key != key {
		// No map finds such a key again. It gets a Group of its own.
		return new(GroupOf[K, V])
	}
	return g
}
