package singleflight

import (
	"context"
	"fmt"
	"strings"

	"github.com/actorflight/singleflight/tour/trace/record"
)

// What the messages are called, and what the owner answers.

func (m do[K, V]) String() string {
	if r := m.call.request; r != nil && r.fresh {
		return fmt.Sprintf("do %v, fresh", m.call.key)
	}
	return fmt.Sprintf("do %v", m.call.key)
}

func (m land[K, V]) String() string    { return fmt.Sprintf("land %v", m.flight.key) }
func (m leave[K, V]) String() string   { return "leave" }
func (m *forget[K, V]) String() string { return fmt.Sprintf("forget %v", m.key) }
func (m list[K, V]) String() string    { return "list" }
func (m *rest[K, V]) String() string   { return "rest" }

func (m do[K, V]) answer() string {
	return [...]string{
		leads:    "you lead",
		hosts:    "you start the host",
		joined:   "you have joined",
		waits:    "you wait for the next flight",
		willLead: "you will lead",
		refused:  "you would wait for yourself",
	}[m.call.answer]
}

func (m land[K, V]) answer() string {
	var names []string
	if p := m.flight.party; p != nil {
		for _, c := range p.channels {
			names = append(names, record.Maker(c))
		}
		for _, r := range p.full {
			names = append(names, record.Waiting(r.landed)...)
		}
		if p.row != nil {
			names = append(names, record.Waiting(p.row.landed)...)
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
func (m *rest[K, V]) answer() string   { return "a channel" }

// Each of these has the name of a function of the library, calls that, and notes who waits
// in which row, or that the goroutine is a host.

func newLone[K comparable, V any](key K, r *request[K, V]) *leaver[K, V] {
	l := untracednewLone(key, r)
	record.Joined(l.row.landed, record.Maker(l.row.landed))
	return l
}

func (c *call[K, V]) join(f *flight[K, V]) {
	c.untracedjoin(f)
	row, answers := c.row, c.answers
	if c.leaver != nil {
		row, answers = c.leaver.row, c.leaver.answers
	}
	if row != nil {
		record.Joined(row.landed, record.Maker(answers))
	}
}

func (p *party[K, V]) leave(l *leaver[K, V]) {
	p.untracedleave(l)
	record.Left(l.row.landed, record.Maker(l.answers))
}

func (l leader[K, V]) host(byOwner bool, fn func(context.Context) (V, error)) {
	record.Name("host")
	l.untracedhost(byOwner, fn)
}
