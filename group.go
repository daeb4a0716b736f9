// Package singleflight suppresses duplicate calls: of many goroutines that ask
// for the same key at the same time, one runs the function, and all get its
// result.
//
// It takes the place of golang.org/x/sync/singleflight: [Group], [Result],
// [GroupOf.Do], [GroupOf.DoChan] and [GroupOf.Forget] are used as they are
// there. [GroupOf] is the same for keys and values of any type, and [ShardedOf]
// for so many overlapping calls that one owner, see below, cannot keep up.
//
//	var g singleflight.Group
//
//	v, err, shared := g.Do(key, func() (any, error) {
//		return load(key) // once, however many ask meanwhile
//	})
//
// [GroupOf.DoContext] is a Do whose caller leaves when its context ends, and whose
// function is told when all callers have left.
//
// Group is an alias, so its methods are found under the name of [GroupOf]:
//
//	go doc github.com/actorflight/singleflight.GroupOf.Do
//
// # Flights
//
// One execution of a function is a flight. The goroutine that runs it is its leader.
// Calls with the same key that come before it lands join it, as its waiters, unless all
// its callers have left; see below. A flight lands when its function has ended, in
// whatever way: first the key is freed, and then the waiters are released. So a caller that has a result and
// calls again never gets that result again: it starts a new flight, or joins one
// that another caller has started since. Nothing is cached.
//
// Flights of different keys do not wait for each other, unless their functions
// do. A function may use the Group it runs in. But a Do with its own key would
// wait for itself, and two functions that call Do with each other's keys would
// wait for each other, for ever. A DoContext gets [ErrDeadlock] instead, if it is made
// with the function's context.
//
// # Callers that leave
//
// A caller of DoContext or DoChanContext leaves its flight when its context ends. The
// flight goes on for the other callers. When all have left, the flight is abandoned:
// the context of its function ends. Calls that come before the function has returned
// wait for that, and then share one new flight. So no call gets the result of a function
// that was told to stop and, unless Forget is called, two functions of a key never run
// at once.
//
// Calls of all kinds share flights. Do and DoChan never leave.
//
// # Keys and values
//
// A key must name everything that the result of fn depends on: if it leaves out
// the user or the tenant, a caller may get what belongs to another. A struct as a
// key, in a [GroupOf], is safer than concatenated strings.
//
// All callers of a flight get one and the same value and error. If it is or
// contains a pointer, a map or a slice, none of them may modify it.
//
// # The owner
//
// There is no mutex in this package. The flights of a Group belong to one
// goroutine, the owner, and others send it messages: do, when they call; leave, when
// their context ends; done, when the function that they led has ended; forget, list and
// wait. The owner is there only
// while calls need it. A call that meets nobody leads its flight without asking,
// and lands it without telling. When a second one comes it starts the owner,
// which ends after the last. A Group at rest holds one nil pointer, so it needs
// no closing. Package actor is this life cycle, and the file messages.go is all
// that is said.
//
// # Cost
//
// A Do that meets nobody allocates once, and talks to nobody: that is about half
// of what x/sync costs. One that meets an owner allocates twice, and waits for
// the answer to one message if it joins a flight, or two if it leads its own. If
// the function does next to nothing, that is several times what a mutex costs.
// It pays where many wait for one key: calls with other keys do not wait while
// they are released. Do does not make fn escape to the heap.
//
// # Testing
//
// A Group at rest may be used in a testing/synctest bubble, and later outside it or
// in another. A Group that is in use on one side of a bubble's border must not be
// used on the other, whatever the keys: its channels belong to one side, and the
// program crashes or hangs. A test that runs in a bubble should have a Group of its own.
package singleflight

// A GroupOf is a namespace of keys of type K, with values of type V. For each
// key it runs one function at a time.
//
// The zero GroupOf is ready for use. A GroupOf must not be copied after first
// use. There is nothing to close.
//
// V may have at most 65,504 bytes: it goes through channels, whose elements the
// compiler limits to 64 KiB. With a larger V the program does not compile; use a
// pointer.
//
// All methods may be called by any number of goroutines at once. They panic,
// and do nothing else, if the key cannot be hashed, as when K is any and the key
// a slice. A key that does not equal itself, such as NaN, equals no other: every
// call with it flies alone.
type GroupOf[K comparable, V any] struct {
	address address[K, V]
}

// A ResultOf is the result of a call, as DoChan delivers it.
type ResultOf[V any] struct {
	Val    V
	Err    error
	Shared bool // as Do returns it
}

// Group has the keys and values of the Group in golang.org/x/sync/singleflight.
// Its methods are those of [GroupOf]: [GroupOf.Do], [GroupOf.DoChan],
// [GroupOf.DoContext], [GroupOf.DoChanContext], [GroupOf.Forget],
// [GroupOf.ForgetUnshared], [GroupOf.InFlight] and [GroupOf.Wait].
type Group = GroupOf[string, any]

// Result is what DoChan of a [Group] delivers.
type Result = ResultOf[any]

const nilFunc = "singleflight: nil function"

// Do calls fn and returns its results, unless a flight of key is in the air.
// Then it calls nothing, waits until that flight lands, and returns the results
// of that. If all callers of that flight have left, Do waits for its end, and then
// begins a new flight or joins one that has begun. All calls of a flight get the same value and error, and must not modify
// what these refer to.
//
// shared reports whether more than one call got these results. It is the same for
// all of them, the leader included, so to count the calls that were spared, count
// the calls and the executions of fn.
//
// The first caller leads the flight: it runs fn in its own goroutine. If fn
// panics, Do panics with a [*PanicError], in the leader and in all waiters; but
// if a waiter came by DoChan or DoChanContext the program crashes, as described there. If fn calls
// [runtime.Goexit], the goroutines of the leader and of all waiters exit.
//
// Do panics if fn is nil.
func (g *GroupOf[K, V]) Do(key K, fn func() (V, error)) (v V, err error, shared bool) {
	if fn == nil {
		panic(nilFunc)
	}
	g, key = g.home(key)
	d := &g.address
	a, f := d.ClaimOrEnter(flight[K, V]{key: key})
	if a != nil {
		c := ask(a, newCall[K, V](key, nil))
		switch c.answer {
		case joined:
			return c.on.waiters.await(c.turn, c.seat)
		case standby:
			<-c.turn
		}
		f = c.on
	}
	var r result[V]
	lead(d, a, f, fn, &r)
	return r.deliver()
}

// DoChan is like Do, but instead of waiting for fn it returns a channel that will
// receive the results. If key has no flight, DoChan runs fn in a new
// goroutine, which inherits the caller's profiler labels.
//
// The channel has room for the one value it gets, and is never closed, so a range
// over it does not end. It need not be received from: that does not stop fn, which
// still uses what it was given; see [GroupOf.DoChanContext]. If a select finds both the
// result and a timer ready, it takes one of them at random. Channels of one flight receive in the order in
// which their calls joined it.
//
// If fn panics, callers that wait at a channel could not be told. So the program
// crashes, by a panic with a [*PanicError] in a goroutine where nothing can
// recover it. If fn calls [runtime.Goexit], the channel gets [ErrGoexit].
//
// DoChan panics if fn is nil.
func (g *GroupOf[K, V]) DoChan(key K, fn func() (V, error)) <-chan ResultOf[V] {
	if fn == nil {
		panic(nilFunc)
	}
	results := make(chan ResultOf[V], 1)
	g, key = g.home(key)
	d := &g.address
	a, f := d.ClaimOrEnter(flight[K, V]{key: key, results: results})
	var c *call[K, V]
	if a != nil {
		c = ask(a, newCall(key, results))
		if c.answer == joined {
			return results
		}
		f = c.on
	}
	go leadChan(d, a, f, c, fn)
	return results
}

// ask sends c to the owner, and returns it when the owner has answered.
func ask[K comparable, V any](a *activation[K, V], c *call[K, V]) *call[K, V] {
	turn := c.turn // c.turn is the leader's from then on
	a.Send(do[K, V]{c})
	<-turn
	return c
}

// Forget frees key: the next call with it calls its own function, even if a
// flight of key is in the air. That flight goes on for those who have joined it.
// If calls wait for an abandoned flight of key, theirs begins at once, and the next
// call joins that. Forget does not wait for any function.
func (g *GroupOf[K, V]) Forget(key K) {
	g.forget(key, false)
}

// ForgetUnshared is Forget, unless the flight of key has more than one caller, or
// other calls wait for its end: then it does nothing. It reports whether key is free
// afterwards, because there was no flight, or one with at most one caller.
func (g *GroupOf[K, V]) ForgetUnshared(key K) bool {
	return g.forget(key, true)
}

func (g *GroupOf[K, V]) forget(key K, ifUnshared bool) (free bool) {
	g, key = g.home(key)
	a, ok := g.address.Claim()
	if !ok {
		return true
	}
	m := newForget[K, V](key, ifUnshared)
	a.Send(m)
	return <-m.free
}

// home returns the Group in which key flies, and the key that it has there. It
// panics, here in the caller, if key cannot be hashed; the owner that met such a key
// would end the program.
func (g *GroupOf[K, V]) home(key K) (*GroupOf[K, V], K) {
	_ = map[K]struct{}(nil)[key]
	if key != key {
		// No map finds such a key again. It gets a Group of its own, and there
		// the zero key, which a map finds.
		var zero K
		return new(GroupOf[K, V]), zero
	}
	return g, key
}
