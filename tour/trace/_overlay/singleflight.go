package singleflight

import (
	"context"
	"fmt"
	"strings"

	"github.com/actorflight/singleflight/tour/trace/record"
)

// What the messages are called, and what the owner answers.

func (m do[K, V]) String() string      { return fmt.Sprintf("do %v", m.call.key) }
func (m done[K, V]) String() string    { return fmt.Sprintf("done %v", m.flight.key) }
func (m leave[K, V]) String() string   { return "leave" }
func (m *forget[K, V]) String() string { return fmt.Sprintf("forget %v", m.key) }
func (m list[K, V]) String() string    { return "list" }
func (m wait[K, V]) String() string    { return "wait" }

func (m do[K, V]) answer() string {
	return [...]string{
		joined:  "you have joined",
		leads:   "you lead",
		standby: "you will lead",
		refused: "you would wait for yourself",
	}[m.call.answer]
}

func (m done[K, V]) answer() string {
	var names []string
	if w := m.flight.waiters; w != nil {
		for _, c := range w.channels {
			names = append(names, record.Maker(c))
		}
		for _, c := range w.turns {
			names = append(names, record.Maker(c))
		}
		for _, l := range w.leavers {
			names = append(names, record.Maker(l.turn))
		}
	}
	if names == nil {
		return "no waiters"
	}
	return "waiters: " + strings.Join(names, ", ")
}

func (m leave[K, V]) answer() string {
	switch {
	case m.leaver.last:
		return "you have left, the last"
	case m.leaver.left:
		return "you have left"
	}
	return "too late, it has landed"
}

func (m *forget[K, V]) answer() string { return "the key is free" }
func (m list[K, V]) answer() string    { return "the flights" }
func (m wait[K, V]) answer() string    { return "a channel" }

func host[K comparable, V any](a *activation[K, V], f *flight[K, V], fn func(context.Context) (V, error)) {
	record.Name("host")
	untracedhost(a, f, fn)
}
