package observe

import (
	_ "embed"
	"fmt"
	"html/template"
	"time"
)

// This file is what page.html needs besides the fields of a page.

//go:embed page.html
var source string

var html = template.Must(template.New("page").Funcs(template.FuncMap{
	"number": number, "count": countOf, "clock": fullClock, "title": title,
}).Parse(source))

// fullClock returns a time with its date and zone.
func fullClock(t time.Time) string { return t.Format(time.DateTime + " MST") }

// Clock returns a time, with its date if that is not the page's.
func (p *page) Clock(t time.Time) string {
	if t.Format(time.DateOnly) == p.Time.Format(time.DateOnly) {
		return t.Format(time.TimeOnly)
	}
	return t.Format("2 Jan " + time.TimeOnly)
}

// Listed says of which moments the lists of flights are.
func (p *page) Listed() string {
	if len(p.Groups) == 0 {
		return ""
	}
	first, last := p.Groups[0].At, p.Groups[0].At
	for _, r := range p.Groups {
		if r.At.Before(first) {
			first = r.At
		}
		if r.At.After(last) {
			last = r.At
		}
	}
	const precise = "15:04:05.000"
	if from, to := first.Format(precise), last.Format(precise); from != to {
		return "from " + from + " to " + to
	}
	return "at " + last.Format(precise)
}

// Total returns how many flights there are in all groups.
func (p *page) Total() int { return p.InFlight + p.Next }

// Chosen returns how many flights there are in the groups that are chosen.
func (p *page) Chosen() (flights int) {
	for _, s := range p.States {
		flights += s.Flights
	}
	return flights
}

// Bar returns the length of the bar for so many callers, in percent of the longest.
func (p *page) Bar(callers int) int {
	most := 1
	for _, f := range p.Flights {
		most = max(most, f.Callers)
	}
	return 100 * callers / most
}

// Level says whether the flight is old.
func (r *row) Level() string {
	switch age := time.Duration(r.Age); {
	case age >= 10*time.Second:
		return "old"
	case age >= time.Second:
		return "slow"
	default:
		return "young"
	}
}

// Mark explains a State that needs it.
func (r *row) Mark() string {
	switch r.State {
	case "forgotten":
		return "its key was freed; a new flight may be in flight beside it"
	case "abandoned":
		return "all callers have left, and the function has not returned"
	case "waiting":
		return "begins when the flight in progress with its key ends"
	}
	return ""
}

// Age returns the age of the oldest flight in words, or "–" if none is in progress.
func (r *report) Age() string {
	if r.InFlight == 0 {
		return "–"
	}
	return age(r.Oldest).String()
}

// Percent returns how many of the calls were spared.
func (r *report) Percent() uint64 { return 100 * r.Spared() / max(1, r.Calls) }

// Failed returns how many flights have failed, and how.
func (r *report) Failed() (failures []string) {
	for ending, n := range r.Failures.All() {
		if n > 0 {
			failures = append(failures, number(n)+" "+ending)
		}
	}
	return failures
}

// title returns what is shown for the name of a group.
func title(name string) string {
	if name == "" {
		return "(no name)"
	}
	return legible(name)
}

// number returns n with a comma between thousands.
func number(n any) string {
	digits := fmt.Sprint(n)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// countOf returns n with its noun.
func countOf(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return number(n) + " " + many
}
