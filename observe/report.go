package observe

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"time"

	"github.com/actorflight/singleflight"
)

// This file is what the page reads from a group.

// An Observed is a [*GroupOf] or a [*ShardedOf], with keys and values of any type.
type Observed interface {
	Stats() Stats
	isNil() bool
	name() string
	report(flights int, state string) *report
}

// check panics unless groups are groups whose names differ.
func check(groups []Observed) {
	seen := make(map[string]bool)
	for i, g := range groups {
		if g == nil || g.isNil() {
			panic(fmt.Sprintf("observe: group %d is nil", i))
		}
		name := g.name()
		if seen[name] {
			panic(fmt.Sprintf("observe: two groups have the name %q", name))
		}
		seen[name] = true
	}
}

// A report is what the page shows of a group.
type report struct {
	Stats
	states [len(states)]int // how many flights are in each
	rows   []row            // the oldest first, and last those that have not begun
	top    []hot
}

var states = [...]singleflight.State{singleflight.Flying, singleflight.Forgotten, singleflight.Abandoned, singleflight.Waiting}

// MarshalJSON returns the figures.
func (r *report) MarshalJSON() ([]byte, error) {
	return json.Marshal(map[string]any{
		"group": r.Name, "at": r.At, "in_flight": r.InFlight, "next": r.Next, "callers": r.Callers, "oldest_seconds": age(r.Oldest),
		"calls": r.Calls, "flights": r.Flights, "spared": r.Spared(), "left": r.Left, "outlived": r.Outlived, "refused": r.Refused,
		"failures": maps.Collect(r.Failures.All()),
	})
}

// A row is a flight.
type row struct {
	Group   string     `json:"group"`
	Key     string     `json:"key"`
	State   string     `json:"state"`
	Callers int        `json:"callers"`
	Age     age        `json:"age_seconds"`
	Since   *time.Time `json:"since"` // nil if fn has not begun
	Whose   string     `json:"whose"` // "" if it is not known

	waits    bool // for another to end
	askKey   func() string
	askWhose func() string // nil if it cannot be known
}

// A hot is a key that is called much.
type hot struct {
	Group   string `json:"group"`
	Key     string `json:"key"`
	Calls   int64  `json:"calls"`
	Flights int64  `json:"flights"`

	askKey func() string
}

// What is shown until a group's Key and Whose have been asked.
const (
	keyNotAsked   = "(not shown: there was no time to ask)"
	whoseNotAsked = "(there was no time to ask)"
)

// maxTop is how many keys of a group are reported.
const maxTop = 10

// Stats returns the figures of g.
func (g *GroupOf[K, V]) Stats() Stats {
	return g.observer.stats(g.observer.looks.list(g.group.InFlight), g.Name)
}

func (g *GroupOf[K, V]) isNil() bool  { return g == nil }
func (g *GroupOf[K, V]) name() string { return g.Name }

func (g *GroupOf[K, V]) report(flights int, state string) *report {
	return g.observer.report(&g.group, texts[K]{g.Name, g.Key, g.Whose}, flights, state)
}

// Stats returns the figures of s.
func (s *ShardedOf[K, V]) Stats() Stats {
	return s.observer.stats(s.observer.looks.list(s.group.InFlight), s.Name)
}

func (s *ShardedOf[K, V]) isNil() bool  { return s == nil }
func (s *ShardedOf[K, V]) name() string { return s.Name }

func (s *ShardedOf[K, V]) report(flights int, state string) *report {
	return s.observer.report(&s.group, texts[K]{s.Name, s.Key, s.Whose}, flights, state)
}

// report returns the figures, the oldest flights, and the keys that are called most. If
// state is not "", the rows are of flights in that state only.
func (o *observer[K, V]) report(g group[K, V], t texts[K], flights int, state string) *report {
	l := o.looks.list(g.InFlight)
	r := &report{Stats: o.stats(l, t.name)}
	for _, f := range l.oldestFirst() {
		r.states[f.State]++
		if len(r.rows) < flights && (state == "" || f.State.String() == state) {
			r.rows = append(r.rows, t.row(l, f))
		}
	}
	o.halver.until(clock(), o.top.halve)
	for _, k := range o.top.most(maxTop) {
		r.top = append(r.top, hot{t.name, keyNotAsked, k.calls, k.flights, t.askKey(k.key)})
	}
	return r
}

// texts are the fields of a group that say how the page shows its flights.
type texts[K comparable] struct {
	name  string
	key   func(K) string               // may be nil
	whose func(context.Context) string // may be nil
}

func (t *texts[K]) row(l *list[K], f *listed[K]) row {
	r := row{
		Group: t.name, Key: keyNotAsked, State: f.State.String(), Callers: f.Callers,
		Age: age(f.age), waits: f.waits(), askKey: t.askKey(f.Key),
	}
	if f.begun != 0 {
		since := l.time.Add(-f.age)
		r.Since = &since
	}
	if record := recordOf(f.Context); t.whose != nil && record != nil && !record.plain {
		r.Whose, r.askWhose = whoseNotAsked, t.askWhose(f.Context)
	}
	return r
}

func (t *texts[K]) askKey(key K) func() string {
	return func() (s string) {
		if t.key == nil {
			return keyText(key)
		}
		defer func() {
			if recover() != nil { // with a value that may have the key in it
				s = "(Key panicked)"
			}
		}()
		return legible(t.key(key))
	}
}

func (t *texts[K]) askWhose(ctx context.Context) func() string {
	return func() (s string) {
		defer func() {
			if p := recover(); p != nil {
				s = "(Whose panicked: " + legible(fmt.Sprint(p)) + ")"
			}
		}()
		s = t.whose(ctx)
		if s == "" {
			return ""
		}
		return legible(s)
	}
}
