package observe

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/actorflight/singleflight"
)

// This file is what the collector and the page read from a group.

// An Observed is a [*GroupOf] or a [*ShardedOf], with keys and values of any type.
type Observed interface {
	name() string
	report(rows int) report
}

// A report is what is known of a group at one moment.
type report struct {
	Name     string `json:"group"`
	InFlight int    `json:"in_flight"`      // flights that have begun
	Behind   int    `json:"behind"`         // flights that wait for another to end
	Waiting  int    `json:"waiting"`        // calls on all of them
	Oldest   age    `json:"oldest_seconds"` // of a flight that has begun
	reading
	rows []row // the oldest first, and last those that have not begun
	top  []hot
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

// A hot is a key that calls have joined.
type hot struct {
	Group  string `json:"group"`
	Key    string `json:"key"`
	Joined int64  `json:"joined"`
}

// maxTop is how many keys of a group are reported.
const maxTop = 10

func (g *GroupOf[K, V]) name() string { return g.Name }

func (g *GroupOf[K, V]) report(rows int) report {
	return g.observer.report(&g.group, g.Name, g.Owner, rows)
}

func (s *ShardedOf[K, V]) name() string { return s.Name }

func (s *ShardedOf[K, V]) report(rows int) report {
	return s.observer.report(&s.group, s.Name, s.Owner, rows)
}

// report returns the figures and, if rows is not 0, up to that many rows, and the keys
// that were joined most.
func (o *observer[K, V]) report(g group[K, V], name string, owner func(context.Context) string, rows int) report {
	joined, flights := o.settle(g)
	records := o.chans.records(flights)
	now, t := clock(), report{Name: name, reading: o.figures.read(joined)}
	order := make([]ordered, len(flights))
	for i, f := range flights {
		order[i] = ordered{i, records[i].age(now), f.State == singleflight.Waiting}
		t.Waiting += f.Callers
		if order[i].waits {
			t.Behind++
		} else {
			t.InFlight++
			t.Oldest = max(t.Oldest, order[i].age)
		}
	}
	if rows == 0 {
		return t
	}
	slices.SortFunc(order, ordered.compare)
	wall := time.Now()
	for _, at := range order[:min(rows, len(order))] {
		f, r := flights[at.flight], records[at.flight]
		row := row{Group: name, Key: show(f.Key), State: f.State.String(), Callers: f.Callers, Age: at.age, waits: at.waits}
		if r != nil && r.begun.Load() != 0 {
			since := wall.Add(-time.Duration(at.age))
			row.Since = &since
		}
		if owner != nil && r != nil && !r.plain {
			row.Owner = cut(owner(f.Context))
		}
		t.rows = append(t.rows, row)
	}
	o.halver.until(now, o.top.halve)
	for _, k := range o.top.most(maxTop) {
		t.top = append(t.top, hot{name, show(k.key), k.joined})
	}
	return t
}

// An ordered is a flight's index, and what is needed to sort it.
type ordered struct {
	flight int
	age    age
	waits  bool
}

func (o ordered) compare(p ordered) int { return older(o.age, o.waits, p.age, p.waits) }

// older puts the oldest first, and flights that wait for another to end last.
func older(a age, aWaits bool, b age, bWaits bool) int {
	switch {
	case aWaits == bWaits:
		return cmp.Compare(b, a)
	case aWaits:
		return 1
	default:
		return -1
	}
}

// show returns the text that is shown for a key.
func show(key any) string { return cut(fmt.Sprint(key)) }

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
