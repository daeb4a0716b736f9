package singleflight

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
)

// This file is the leader's side of a flight: it runs fn, lands, and releases the
// waiters.

// ErrGoexit is the error that the channel of a DoChan or DoChanContext receives when fn,
// instead of returning, called [runtime.Goexit].
var ErrGoexit = errors.New("singleflight: fn called runtime.Goexit")

// A PanicError is what Do and DoContext panic with when fn has panicked.
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
	// The first line names a goroutine and its state, which will be wrong by the
	// time the stack is read.
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

// A result is what all calls on a flight get. The ending is kept apart from err
// because fn may return any error, even a *PanicError or ErrGoexit.
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
	case exited:
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

// lead runs fn as the leader of f, and lands f however fn ends. It does not
// return if fn calls Goexit. It leaves the result in res.
//
// The leader has a claim in a, or, if a is nil, is alone at d.
func lead[K comparable, V any](d *address[K, V], a *activation[K, V], f *flight[K, V], fn func() (V, error), res *result[V]) {
	res.ending = exited // unless run returns
	defer func() {
		if res.ending == exited {
			res.err = ErrGoexit
			land(d, a, f, res)
		}
	}()
	res.ending = res.run(fn)
	land(d, a, f, res)
}

// leadChan is the goroutine that leads a flight for DoChan. c is nil if the flight
// began alone.
func leadChan[K comparable, V any](d *address[K, V], a *activation[K, V], f *flight[K, V], c *call[K, V], fn func() (V, error)) {
	if c != nil && c.answer == standby {
		<-c.turn
	}
	lead(d, a, f, fn, new(result[V]))
}

// host is the goroutine that leads a flight for calls that may leave. It does not call
// fn if all have left before.
func host[K comparable, V any](a *activation[K, V], f *flight[K, V], fn func(context.Context) (V, error)) {
	w := f.waiters
	withContext := func() (v V, err error) {
		if err := w.context.Err(); err != nil {
			return v, err
		}
		return fn(w.context)
	}
	lead(w.group, a, f, withContext, &w.result)
}

// land frees the key and then gives res to all callers that wait for it.
func land[K comparable, V any](d *address[K, V], a *activation[K, V], f *flight[K, V], res *result[V]) {
	if a == nil {
		a = d.Leave(f)
	}
	if a != nil {
		if f.turn == nil { // the leader has asked for no answer yet
			f.turn = newTurn()
		}
		a.Send(done[K, V]{f})
		<-f.turn
	}
	w, callers := f.waiters, f.callers()
	res.shared = callers > 1

	if res.ending == panicked && (callers == 0 || f.results != nil || w != nil && w.channels != nil) {
		go panic(res.err) // where nothing can recover it
		select {}         // keep this goroutine in the crash dump
	}
	if f.results != nil {
		f.results <- res.forChan()
	}
	if w != nil {
		w.result = *res
		w.release()
	}
}

// row is how many waiters one goroutine releases. It should be small compared with the
// run queue of a processor, which has room for 256.
const row = 64

// release gives the result to all waiters: first to channels, in the order in which
// their calls joined, then to the calls that wait for their turn. Of these, the leader
// wakes the first of each row, and these wake the others: the waiter in seat 64 wakes
// seats 65 to 127. To wake thousands takes milliseconds; in this way the processors
// share them.
func (w *waiters[K, V]) release() {
	for _, results := range w.channels {
		results <- w.result.forChan()
	}
	for first := 0; first < len(w.turns); first += row {
		w.turns[first] <- struct{}{}
	}
	for first := 0; first < len(w.leavers); first += row {
		w.leavers[first].turn <- struct{}{}
	}
}

// restOfRow returns the waiters in a list that the one at a seat wakes when it is
// released.
func restOfRow[T any](seat int, list []T) []T {
	if seat%row != 0 {
		return nil
	}
	return list[seat+1 : min(seat+row, len(list))]
}

// await ends a Do that has joined, when the flight has landed. It has no reference to
// the call, so a Do that waits does not keep its key and its fn.
func (w *waiters[K, V]) await(turn chan struct{}, seat int) (v V, err error, shared bool) {
	<-turn
	for _, turn := range restOfRow(seat, w.turns) {
		turn <- struct{}{}
	}
	return w.result.deliver()
}
