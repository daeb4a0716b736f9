package main

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// An owner with two mailboxes takes a do before a forget that was sent earlier. So the call
// joins a flight that its own goroutine has forgotten.
func TestTwoMailboxesLoseTheOrder(t *testing.T) {
	type forget struct{}
	type do struct{ joined chan<- bool }

	own := func(forgets, dos <-chan any) {
		flies := true
		for range 2 {
			var m any
			select {
			case m = <-forgets:
			case m = <-dos:
			}
			switch m := m.(type) {
			case forget:
				flies = false
			case do:
				m.joined <- flies
			}
		}
	}
	// The owner is late: it finds both messages.
	joins := func(forgets, dos chan any) bool {
		joined := make(chan bool, 1)
		forgets <- forget{}
		dos <- do{joined}
		own(forgets, dos)
		return <-joined
	}
	var one, two bool
	for range 1000 {
		mailbox := make(chan any, 2)
		one = joins(mailbox, mailbox) || one
		two = joins(make(chan any, 1), make(chan any, 1)) || two
	}
	assert.False(t, one, "one mailbox keeps the order")
	assert.True(t, two, "two do not")
}
