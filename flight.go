package singleflight

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
)

// This file has the flight: how its leader runs fn and lands it, and what its callers get.

// A flight is one execution of a function.
type flight[K comparable, V any] struct {
	// Immutable:
	key K

	// Owned by the owner while it handles a message of the leader, or of a call that will
	// lead; else by the leader:
	answers chan struct{}    // where the leader waits for answers; nil before it needs one
	results chan ResultOf[V] // where the leader's caller waits, if it called DoChan

	// Written once, by the owner or before the owner sees the flight:
	party *party[K, V] // nil until it is needed: for fn's context, a caller, a next flight, or Forget
}

// needParty returns the party of f, and makes it if f has none.
func (f *flight[K, V]) needParty() *party[K, V] {
	if f.party == nil {
		f.party = newParty[K, V](f.key, false)
	}
	return f.party
}

// callers returns how many calls get the result of f.
func (f *flight[K, V]) callers() int {
	p := f.party
	if p == nil {
		return 1 // the leader
	}
	n := p.inRows + len(p.channels)
	if !p.hosted {
		n++
	}
	return n
}

// next returns the flight that begins when f lands or is forgotten, or nil.
func (f *flight[K, V]) next() *nextFlight[K, V] {
	if f.party == nil {
		return nil
	}
	return f.party.next
}

// A leader is the goroutine that runs the fn of a flight.
type leader[K comparable, V any] struct {
	flight     *flight[K, V]
	address    *address[K, V]
	activation *activation[K, V] // where the leader has a claim; nil if it is alone
	begun      bool              // if false, the leader waits for one more answer
}

// lead runs fn and lands the flight, however fn ends. It does not return if fn calls
// Goexit. It leaves the result in res.
func (l leader[K, V]) lead(fn func() (V, error), res *result[V]) {
	if !l.begun {
		<-l.flight.answers
	}
	res.ending = goexited // unless run returns
	defer func() {
		if res.ending == goexited {
			res.err = ErrGoexit
		}
		l.land(res)
	}()
	res.ending = res.run(fn)
}

// host leads for calls that may leave, in a goroutine of its own. It does not call fn if fn's
// context has ended. byOwner says that the owner has started the goroutine: then it gets the
// profiler labels of the requester's context, in place of the owner's.
func (l leader[K, V]) host(byOwner bool, fn func(context.Context) (V, error)) {
	ctx := l.flight.party.context
	l.lead(func() (v V, err error) {
		if byOwner {
			pprof.SetGoroutineLabels(l.flight.party.values)
		}
		if err := ctx.Err(); err != nil {
			return v, err
		}
		return fn(ctx)
	}, new(result[V]))
}

// land frees the key and then gives res to all callers.
func (l leader[K, V]) land(res *result[V]) {
	f, a := l.flight, l.activation
	if a == nil {
		a = l.address.Exit(f)
	}
	if a != nil {
		if f.answers == nil {
			f.answers = newAnswers()
		}
		a.Send(land[K, V]{f})
		<-f.answers
	}
	p, callers := f.party, f.callers()
	res.shared = callers > 1

	if res.ending == panicked && (callers == 0 || f.results != nil || p != nil && p.channels != nil) {
		go panic(res.err) // where nothing can recover it
		select {}         // keep this goroutine in the crash dump
	}
	if f.results != nil {
		f.results <- res.forChan()
	}
	if p != nil {
		p.wake(res)
	}
}

// ErrGoexit is the error that the channel of a call receives when fn, instead of returning,
// called [runtime.Goexit].
var ErrGoexit = errors.New("singleflight: fn called runtime.Goexit")

// A PanicError is what Do, DoContext and DoFresh panic with when fn has panicked.
type PanicError struct {
	Value any    // what fn panicked with
	Stack []byte // of the goroutine that ran fn, where it panicked
}

// Error returns the value and, after a blank line, the stack.
func (p *PanicError) Error() string { return fmt.Sprintf("%v\n\n%s", p.Value, p.Stack) }

// Unwrap returns the value if it is an error, else nil.
func (p *PanicError) Unwrap() error {
	err, _ := p.Value.(error)
	return err
}

// newPanicError must be called while the stack still shows the panic.
func newPanicError(value any) *PanicError {
	stack := debug.Stack()
	// The first line names a goroutine and its state, which will be wrong by the time the
	// stack is read.
	if _, rest, ok := bytes.Cut(stack, []byte("\n")); ok {
		stack = rest
	}
	return &PanicError{Value: value, Stack: stack}
}

// An ending is how fn ended.
type ending uint8

const (
	returned ending = iota
	panicked        // err is a *PanicError
	goexited        // err is ErrGoexit
)

// A result is what all calls on a flight get. The ending is kept apart from err because fn
// may return any error, even a *PanicError or ErrGoexit.
type result[V any] struct {
	val    V
	err    error
	ending ending
	shared bool // more than one call gets it
}

// deliver ends a Do as fn ended.
func (r *result[V]) deliver() (v V, err error, shared bool) {
	switch r.ending {
	case panicked:
		panic(r.err)
	case goexited:
		runtime.Goexit()
	}
	return r.val, r.err, r.shared
}

// forChan returns what a DoChan gets.
func (r *result[V]) forChan() ResultOf[V] { return ResultOf[V]{r.val, r.err, r.shared} }

// run calls fn, and returns how it ended. It does not return if fn calls Goexit.
func (r *result[V]) run(fn func() (V, error)) (e ending) {
	e = panicked
	defer func() {
		if e != returned {
			r.err = newPanicError(recover())
		}
	}()
	r.val, r.err = fn()
	e = returned
	return e
}
