// Package singleflight suppresses duplicate calls: of many goroutines that ask for the
// same key at the same time, one runs the function, and all get its result.
//
// It is a drop-in replacement for golang.org/x/sync/singleflight: [Group], [Result],
// [GroupOf.Do], [GroupOf.DoChan] and [GroupOf.Forget] are used as they are there.
// [GroupOf] is the same for keys and values of any type. [ShardedOf] is for programs whose
// calls overlap so much that one owner, see below, cannot keep up.
//
//	var g singleflight.Group
//
//	v, err, shared := g.Do(key, func() (any, error) {
//		return load(key) // once, however many ask meanwhile
//	})
//
// With [GroupOf.DoContext] a caller leaves when its context ends, and the function is told
// when all callers have left.
//
// Group is an alias. Its methods are documented at [GroupOf]:
//
//	go doc github.com/actorflight/singleflight.GroupOf.Do
//
// # Flights
//
// A flight is one execution of a function. The goroutine that runs it is the leader. Calls
// with the same key that come before the flight lands join it, as waiters, unless all its
// callers have left, Forget has freed the key, or the call is a fresh one. A flight lands
// when its function has ended, in whatever way: first it gives up the key, then the waiters are
// woken. So a caller that has a result and calls again does not get that result again: it
// begins a flight, or joins one that has begun since. Nothing is cached.
//
// Flights of different keys do not wait for each other, unless their functions do. A
// function may use the Group it runs in. But a Do with its own key, or two functions that
// call Do with each other's keys, would wait for ever. A DoContext that is made with the
// function's context gets [ErrDeadlock] instead.
//
// # Callers that leave
//
// The caller of a method that takes a context leaves its flight when that ends. The
// flight goes on for the other callers. When all have left, the flight is abandoned: the
// context of its function ends. Calls that come before the function has returned wait for
// it, and share the next flight. So no call gets the result of a function that was told to
// stop and, unless Forget is called, two functions of a key never run at once.
//
// # Fresh calls
//
// A call that joins a flight gets the result of a function that began before the call. That
// may be too old for a caller that has just written what the function reads. A call of
// [GroupOf.DoFresh] or [GroupOf.DoChanFresh] joins no flight that has begun. If one is in
// progress, the call is on the next flight, which begins when that one ends. All fresh calls
// that come meanwhile share it, so that they do not stampede.
//
//	write(key, value)
//	v, err, _ := g.DoFresh(ctx, key, read) // has seen value
//
// # Keys and values
//
// A key must name everything that the result of fn depends on: if it leaves out the user
// or the tenant, a caller may get what belongs to another. A struct as a key, in a
// [GroupOf], is safer than concatenated strings.
//
// # The owner
//
// There is no mutex in this package. The flights of a Group belong to one goroutine, the
// owner. The other goroutines send it messages: do, from a caller; leave, from a caller
// whose context has ended; land, from a leader whose function has ended; forget, list and
// rest. A lone call of Do sends none. The second call starts the owner, which ends when no
// message can come. A Group at rest is one nil pointer, so it needs no closing. Package
// actor is this life cycle; the file messages.go has all messages.
//
// # Cost
//
// A Do that meets no other call allocates once, and takes about half the time that it
// takes in x/sync. One that meets an owner allocates twice, and waits for the owner's
// answer when it begins and, if it leads, when it lands: if fn does next to nothing, that
// is several times the cost of a mutex. Do does not make fn escape to the heap.
//
// # Testing
//
// A Group at rest may be used in a testing/synctest bubble, and later outside it or in
// another. A Group that is in use on one side of a bubble's border must not be used on the
// other, with any key: its channels belong to one side, so the program crashes or hangs. A
// test that runs in a bubble should have a Group of its own.
//
// Do not call t.FailNow, t.SkipNow or require functions in fn: they call [runtime.Goexit],
// which ends the goroutine of every caller.
package singleflight

// A GroupOf is a namespace of keys of type K, with values of type V. For each key it runs
// one function at a time, unless Forget is called.
//
// The zero GroupOf is ready for use. A GroupOf must not be copied after first use. There
// is nothing to close.
//
// V may have at most 65,504 bytes: it goes through channels, whose elements the compiler
// limits to 64 KiB. With a larger V the program does not compile; use a pointer.
//
// All methods may be called by any number of goroutines at once. They panic, and do
// nothing else, if the key cannot be hashed, as when K is any and the key a slice. A call
// whose key does not equal itself, such as NaN, has a flight of its own.
type GroupOf[K comparable, V any] struct {
	address address[K, V]
}

// A ResultOf is the result of a call, as DoChan delivers it.
type ResultOf[V any] struct {
	Val    V
	Err    error
	Shared bool // as Do returns it
}

// Group has the keys and values of the Group in golang.org/x/sync/singleflight. It is an
// alias, so its methods are documented at [GroupOf]: [GroupOf.Do], [GroupOf.DoChan],
// [GroupOf.DoContext], [GroupOf.DoChanContext], [GroupOf.DoFresh], [GroupOf.DoChanFresh],
// [GroupOf.Forget], [GroupOf.ForgetUnshared], [GroupOf.InFlight] and [GroupOf.Wait].
type Group = GroupOf[string, any]

// Result is what DoChan of a [Group] delivers.
type Result = ResultOf[any]

const nilFunc, nilContext = "singleflight: nil function", "singleflight: nil context"

// Do calls fn and returns its results, unless a flight of key is in progress. Then Do does
// not call fn: it waits until that flight lands, and returns the results of that. If all
// callers of that flight have left, Do waits until it ends, and is then on the next
// flight. All calls of a flight get the same value and error, and must not modify what
// these refer to.
//
// shared reports whether more than one call got these results. It is the same for all
// calls of the flight, the leader's included. To count the calls that were spared, count
// the calls and the executions of fn.
//
// A Do that begins a flight leads it: it runs fn in its own goroutine. If fn panics, Do
// panics with a [*PanicError], in the leader and in all waiters; but if a channel is to
// receive the result, too, the program crashes, as described at DoChan. If fn calls
// [runtime.Goexit], the goroutines of the leader and of all waiters exit.
//
// Do panics if fn is nil.
func (g *GroupOf[K, V]) Do(key K, fn func() (V, error)) (v V, err error, shared bool) {
	if fn == nil {
		panic(nilFunc)
	}
	g, key = g.home(key)
	l, row, how := g.board(key, nil, nil)
	if how == joined {
		return row.await()
	}
	var res result[V]
	l.lead(fn, &res)
	return res.deliver()
}

// DoChan is like Do, but instead of waiting it returns a channel that will receive the
// results. A DoChan that leads runs fn in a new goroutine, which inherits the caller's
// profiler labels.
//
// The channel has room for its one value, and is never closed, so a range over it does not
// end. The caller need not receive from it. Ignoring the channel does not stop fn, which
// still uses what it was given; see [GroupOf.DoChanContext]. If a select finds both the
// result and a timer ready, it takes one of them at random. Channels of one flight receive
// in the order in which their calls joined it.
//
// If fn panics, the receivers of channels could not be told. So the program crashes, by a
// panic with a [*PanicError] in a goroutine where nothing can recover it. If fn calls
// [runtime.Goexit], the channel gets [ErrGoexit].
//
// DoChan panics if fn is nil.
func (g *GroupOf[K, V]) DoChan(key K, fn func() (V, error)) <-chan ResultOf[V] {
	if fn == nil {
		panic(nilFunc)
	}
	results := make(chan ResultOf[V], 1)
	g, key = g.home(key)
	if l, _, how := g.board(key, results, nil); how != joined {
		go l.lead(fn, new(result[V]))
	}
	return results
}

// board puts a call that never leaves on a flight of key; how says what the call is to it.
// If the call leads or will lead, l is the leader, which the caller is or starts. If it
// has joined, the caller waits in row, or for results. r is nil for Do and DoChan.
func (g *GroupOf[K, V]) board(key K, results chan ResultOf[V], r *request[K, V]) (l leader[K, V], row *row[V], how answer) {
	l = leader[K, V]{address: &g.address, begun: true}
	alone := flight[K, V]{key: key, results: results}
	if r != nil {
		if l.activation, _ = l.address.Claim(); l.activation == nil {
			alone.party = newParty[K, V](key, false)
			alone.party.provide(r)
		}
	}
	if l.activation == nil {
		l.activation, l.flight = l.address.ClaimOrEnter(alone)
	}
	if l.activation == nil {
		return l, nil, leads
	}
	c := &call[K, V]{flight: flight[K, V]{key: key, answers: newAnswers(), results: results}}
	if r != nil {
		asked := *r // on the heap, unlike r
		c.request = &asked
	}
	ask(l.activation, c, c.answers)
	l.flight, l.begun = c.led, c.answer == leads
	return l, c.row, c.answer
}

// ask sends c to the owner, and returns when the owner has answered.
func ask[K comparable, V any](a *activation[K, V], c *call[K, V], answers chan struct{}) {
	a.Send(do[K, V]{c})
	<-answers
}

// Forget frees key: the next call with it begins a flight, even if one is in progress.
// That one goes on for the calls that have joined it. But if calls wait for its end, because
// it is abandoned or they are fresh, the next flight, which is theirs, begins at once, and
// later calls join it, unless they are fresh. Forget does not wait for any function.
func (g *GroupOf[K, V]) Forget(key K) { g.forget(key, false) }

// ForgetUnshared is Forget, unless the flight of key has more than one caller, or other
// calls wait for its end: then it does nothing and returns false, else true.
func (g *GroupOf[K, V]) ForgetUnshared(key K) bool { return g.forget(key, true) }

// forget waits for the owner's answer. The order of messages would not need it: the
// caller's next do would be handled after its forget in any case. But without an answer
// the owner could be alive when the last call has returned, and the Group not at rest.
func (g *GroupOf[K, V]) forget(key K, ifUnshared bool) (free bool) {
	g, key = g.home(key)
	a, ok := g.address.Claim()
	if !ok {
		return true
	}
	m := &forget[K, V]{key, ifUnshared, make(chan bool, 1)}
	a.Send(m)
	return <-m.free
}

// home returns the Group that a call with key belongs to, and its key there. It panics if
// key cannot be hashed: here in the caller, because in the owner that panic would end the
// program.
func (g *GroupOf[K, V]) home(key K) (*GroupOf[K, V], K) {
	_ = map[K]struct{}(nil)[key]
	if key != key {
		// No map finds such a key again. The call gets a Group of its own, and the zero
		// key there.
		var zero K
		return new(GroupOf[K, V]), zero
	}
	return g, key
}
