package observe

import (
	"context"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"
)

// This file is what the page reads from a group.

// An Observed is a [*GroupOf] or a [*ShardedOf], with keys and values of any type.
type Observed interface {
	Stats() Stats
	isNil() bool
	name() string
	report(rows int) report
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
	Name     string   `json:"group"`
	InFlight int      `json:"in_flight"`      // flights that have begun
	Behind   int      `json:"behind"`         // flights that wait for another to end
	Waiting  int      `json:"waiting"`        // calls on all of them
	Oldest   age      `json:"oldest_seconds"` // of a flight that has begun
	Flights  uint64   `json:"flights"`
	Joined   uint64   `json:"joined"`
	Left     uint64   `json:"left"`
	Outlived uint64   `json:"outlived"`
	Refused  uint64   `json:"refused"`
	Failures Failures `json:"failures"`
	rows     []row    // the oldest first, and last those that have not begun
	top      []hot
}

// A row is a flight.
type row struct {
	Group   string     `json:"group"`
	Key     string     `json:"key"`
	State   string     `json:"state"`
	Callers int        `json:"callers"`
	Age     age        `json:"age_seconds"`
	Since   *time.Time `json:"since"` // nil if fn has not begun
	Owner   string     `json:"owner"` // "" if it is not known

	waits bool // for another to end
}

// A hot is a key that is called much.
type hot struct {
	Group   string `json:"group"`
	Key     string `json:"key"`
	Calls   int64  `json:"calls"`
	Flights int64  `json:"flights"`
}

// maxTop is how many keys of a group are reported.
const maxTop = 10

// Stats returns the figures of g.
func (g *GroupOf[K, V]) Stats() Stats { return g.observer.stats(&g.group, g.Name) }

func (g *GroupOf[K, V]) isNil() bool  { return g == nil }
func (g *GroupOf[K, V]) name() string { return g.Name }

func (g *GroupOf[K, V]) report(rows int) report {
	return g.observer.report(&g.group, g.Name, g.Whose, g.Key, rows)
}

// Stats returns the figures of s.
func (s *ShardedOf[K, V]) Stats() Stats { return s.observer.stats(&s.group, s.Name) }

func (s *ShardedOf[K, V]) isNil() bool  { return s == nil }
func (s *ShardedOf[K, V]) name() string { return s.Name }

func (s *ShardedOf[K, V]) report(rows int) report {
	return s.observer.report(&s.group, s.Name, s.Whose, s.Key, rows)
}

// report returns the figures, up to that many rows, and the keys that are called most. whose
// and key are the fields of the group, or nil.
func (o *observer[K, V]) report(g group[K, V], name string, whose func(context.Context) string, key func(K) string, rows int) report {
	if key == nil {
		key = func(key K) string { return fmt.Sprint(key) }
	}
	s, l := o.stats(g, name), o.looks.list(g.InFlight)
	t := report{
		Name: name, InFlight: l.inFlight, Behind: l.next, Waiting: l.callers, Oldest: age(l.oldest),
		Flights: s.Flights, Joined: s.Spared(), Left: s.Left, Outlived: s.Outlived, Refused: s.Refused, Failures: s.Failures,
	}
	flights := l.oldestFirst()
	for _, f := range flights[:min(rows, len(flights))] {
		row := row{Group: name, Key: cut(key(f.Key)), State: f.State.String(), Callers: f.Callers, Age: age(f.age), waits: f.waits()}
		if f.begun != 0 {
			since := l.time.Add(-f.age)
			row.Since = &since
		}
		if r := recordOf(f.Context); whose != nil && r != nil && !r.plain {
			row.Owner = cut(whose(f.Context))
		}
		t.rows = append(t.rows, row)
	}
	o.halver.until(clock(), o.top.halve)
	for _, k := range o.top.most(maxTop) {
		t.top = append(t.top, hot{name, cut(key(k.key)), k.calls, k.flights})
	}
	return t
}

// maxShown is how many characters of a text are shown.
const maxShown = 200

// cut shortens long texts.
func cut(s string) string {
	n := 0
	for i := range s {
		if n == maxShown {
			return s[:i] + "… (" + strconv.Itoa(utf8.RuneCountInString(s)) + " characters)"
		}
		n++
	}
	return s
}
