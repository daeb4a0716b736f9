// Package record notes what an instrumented library does: see package trace.
package record

import (
	"bytes"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
)

// A Step is something that a goroutine did.
type Step struct {
	From, To, What string
	Made, Released int64 // claims of the activation, both 0 if there is none
}

var (
	mu             sync.Mutex
	steps          []Step
	goroutines     = make(map[string]string) // names by id
	channels       = make(map[any]string)    // by whom each was made
	rows           = make(map[any][]string)  // who waits until each is closed
	holds          = make(map[string]chan struct{})
	made, released int64
)

// Name gives the calling goroutine a name.
func Name(name string) {
	mu.Lock()
	defer mu.Unlock()
	goroutines[id()] = name
}

func id() string {
	stack := make([]byte, 64)
	return string(bytes.Fields(stack[:runtime.Stack(stack, false)])[1])
}

// Add notes a step of the calling goroutine.
func Add(to, what string) {
	mu.Lock()
	defer mu.Unlock()
	add(goroutines[id()], to, what)
}

// AddFor notes a step of the goroutine with a name.
func AddFor(from, what string) {
	mu.Lock()
	defer mu.Unlock()
	add(from, "", what)
}

func add(from, to, what string) {
	steps = append(steps, Step{from, to, what, made, released})
}

// Made says how many claims have been made in the activation.
func Made(claims int64) {
	mu.Lock()
	defer mu.Unlock()
	made = claims
}

// Released says how many claims have been released in the activation.
func Released(claims int64) {
	mu.Lock()
	defer mu.Unlock()
	released = claims
}

// Rest says that the activation is over.
func Rest() {
	mu.Lock()
	defer mu.Unlock()
	made, released = 0, 0
}

// Channel notes that the calling goroutine has made a channel.
func Channel[C comparable](channel C) C {
	mu.Lock()
	defer mu.Unlock()
	channels[channel] = goroutines[id()]
	return channel
}

// Sent notes that the calling goroutine sends something to the one that made a channel.
func Sent(channel any, what string) {
	mu.Lock()
	defer mu.Unlock()
	add(goroutines[id()], channels[channel], what)
}

// Maker returns the name of the goroutine that made a channel.
func Maker(channel any) string {
	mu.Lock()
	defer mu.Unlock()
	return channels[channel]
}

// Joined notes that a goroutine waits until a channel is closed.
func Joined(channel any, who string) {
	mu.Lock()
	defer mu.Unlock()
	rows[channel] = append(rows[channel], who)
}

// Left notes that a goroutine no longer waits until a channel is closed.
func Left(channel any, who string) {
	mu.Lock()
	defer mu.Unlock()
	rows[channel] = slices.DeleteFunc(rows[channel], func(w string) bool { return w == who })
}

// Waiting returns the names of the goroutines that wait until a channel is closed.
func Waiting(channel any) []string {
	mu.Lock()
	defer mu.Unlock()
	return slices.Clone(rows[channel])
}

// Closed notes that the calling goroutine closes a channel, and what this tells those that
// wait for it.
func Closed(channel any, what string) {
	mu.Lock()
	defer mu.Unlock()
	add(goroutines[id()], strings.Join(rows[channel], ", "), what)
}

// Hold makes the next message of a goroutine wait until proceed is called.
func Hold(name string) (proceed func()) {
	mu.Lock()
	defer mu.Unlock()
	hold := make(chan struct{})
	holds[name] = hold
	return func() { close(hold) }
}

// Held waits if the calling goroutine's next message has to.
func Held() {
	mu.Lock()
	name := goroutines[id()]
	hold, ok := holds[name]
	delete(holds, name)
	mu.Unlock()
	if ok {
		<-hold
	}
}

// Table returns all steps, in aligned columns.
func Table() string {
	mu.Lock()
	defer mu.Unlock()
	rows := [][]any{{"", "from", "to", "what", "made", "released"}}
	wide := len("what")
	for i, s := range steps {
		row := []any{i + 1, s.From, s.To, s.What, s.Made, s.Released}
		if s.Made == 0 {
			row[4], row[5] = "-", "-"
		}
		rows = append(rows, row)
		wide = max(wide, len(s.What))
	}
	var b strings.Builder
	for _, row := range rows {
		fmt.Fprintf(&b, "%2v  %-6v %-8v %-*v  %4v  %8v\n", row[0], row[1], row[2], wide, row[3], row[4], row[5])
	}
	return b.String()
}
