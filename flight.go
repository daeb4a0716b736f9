package singleflight

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
)

// This file is a flight from the leader's side: it runs fn, lands, and gives
// everybody the result.

// ErrGoexit is the error that a DoChan channel receives when fn, instead of
// returning, called [runtime.Goexit].
var ErrGoexit = errors.New("singleflight: fn called runtime.Goexit")

// A PanicError is what Do panics with when fn has panicked.
type PanicError struct {
	Value any    // what fn panicked with
	Stack []byte // of the goroutine that ran fn, where it panicked
}

// Error returns the value and, after a blank line, the stack.
func (p *PanicError) Error() string {
	return fmt.Sprintf("%v\n\n%s", p.Value, p.Stack)
}

// Unwrap returns the value if it is an error, else nil.
func (p *PanicError) Unwrap() error {
	err, _ := p.Value.(error)
	return err
}

// newPanicError must be called while the stack still shows the panic.
func newPanicError(value any) *PanicError {
	stack := debug.Stack()
	// The first line names a goroutine and its state. Neither will be true any
	// more where the stack is read.
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
	exited          // err is ErrGoexit
)

// A result is what everybody on a flight gets. The ending is kept apart from
// err because fn may return any error, even a *PanicError or ErrGoexit.
type result[V any] struct {
	val    V
	err    error
	ending ending
}

// deliver ends a Do as fn ended.
func (r result[V]) deliver() (V, error) {
	switch r.ending {
	case panicked:
		panic(r.err)
	case exited:
		runtime.Goexit()
	}
	return r.val, r.err
}

// run calls fn. It does not return if fn calls Goexit.
func run[V any](fn func() (V, error)) (r result[V]) {
	defer func() {
		if r.ending != returned {
			r.err = newPanicError(recover())
		}
	}()
	r.ending = panicked
	r.val, r.err = fn()
	r.ending = returned
	return r
}

// lead runs fn as the leader of f, and lands f however fn ends. It does not
// return if fn calls Goexit.
func lead[K comparable, V any](a *activation[K, V], f *flight[K, V], fn func() (V, error)) (r result[V], shared bool) {
	r = result[V]{err: ErrGoexit, ending: exited} // unless run returns
	defer func() { shared = f.land(a, r) }()
	r = run(fn)
	return r, shared
}

// land frees the key and then gives r to all who wait for it, in the order in
// which they joined. It reports whether anybody joined.
func (f *flight[K, V]) land(a *activation[K, V], r result[V]) (shared bool) {
	if !a.TryEnd() {
		if f.turn == nil {
			f.turn = make(chan struct{}, 1)
		}
		a.Send(done[K, V]{f})
		<-f.turn
	}
	shared = f.firstWaiter != nil

	if r.ending == panicked && f.hasChan() {
		go panic(r.err) // where nobody can recover it
		select {}       // stay, for the crash dump
	}
	if f.results != nil {
		f.results <- ResultOf[V]{r.val, r.err, shared}
	}
	for c := f.firstWaiter; c != nil; {
		next := c.next // c is its caller's once it has the turn
		if c.results != nil {
			c.results <- ResultOf[V]{r.val, r.err, shared}
		} else {
			c.result = r
			c.turn <- struct{}{}
		}
		c = next
	}

	// The first flight of an activation lives as long as that does. What it
	// points to need not.
	*f = flight[K, V]{}
	return shared
}

// hasChan reports whether anybody waits for f at a DoChan channel.
func (f *flight[K, V]) hasChan() bool {
	for c := f.firstWaiter; c != nil; c = c.next {
		if c.results != nil {
			return true
		}
	}
	return f.results != nil
}
