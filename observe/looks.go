package observe

import (
	"cmp"
	"slices"
	"sync/atomic"
	"time"

	"github.com/actorflight/singleflight"
)

// looks has the list of a group's flights. All who look within a second share one, because
// the group's owner answers no call while it makes it.
type looks[K comparable] struct {
	latest atomic.Pointer[list[K]] // nil if it was dropped
	asks   singleflight.GroupOf[struct{}, *list[K]]
}

// maxAge is how old a list may be. Then it is dropped, because it keeps keys and contexts.
const maxAge = time.Second

// A list is the flights of a group at one moment. It is immutable.
type list[K comparable] struct {
	at      int64     // when it was made, by clock
	time    time.Time // the same
	flights []listed[K]

	// As in Stats:
	inFlight, next, callers int
	oldest                  time.Duration
}

// A listed is a flight in a list.
type listed[K comparable] struct {
	singleflight.FlightOf[K]
	begun int64 // when fn began, by clock; 0 if it had not
	age   time.Duration
}

// waits reports whether the flight waits for another to end.
func (f *listed[K]) waits() bool { return f.State == singleflight.Waiting }

// list returns the latest list, or a new one if that is too old. flights asks for the flights.
func (l *looks[K]) list(flights func() []singleflight.FlightOf[K]) *list[K] {
	if latest := l.young(); latest != nil {
		return latest
	}
	latest, _, _ := l.asks.Do(struct{}{}, func() (*list[K], error) {
		latest := l.young() // another call may have made it meanwhile
		if latest == nil {
			latest = newList(flights())
			l.latest.Store(latest)
			time.AfterFunc(maxAge, func() { l.latest.CompareAndSwap(latest, nil) })
		}
		return latest, nil
	})
	return latest
}

// young returns the latest list, or nil if it is too old. The clock may have gone back,
// if the list was made in a synctest bubble.
func (l *looks[K]) young() *list[K] {
	latest := l.latest.Load()
	if latest == nil {
		return nil
	}
	if age := clock() - latest.at; age < 0 || age >= int64(maxAge) {
		return nil
	}
	return latest
}

func newList[K comparable](flights []singleflight.FlightOf[K]) *list[K] {
	l := &list[K]{at: clock(), time: time.Now(), flights: make([]listed[K], len(flights))}
	for i, flight := range flights {
		f := listed[K]{FlightOf: flight}
		if r := recordOf(f.Context); r != nil {
			f.begun = r.begun.Load()
		}
		if f.begun != 0 {
			f.age = max(0, time.Duration(l.at-f.begun))
		}
		l.flights[i] = f
		l.callers += f.Callers
		if f.waits() {
			l.next++
		} else {
			l.inFlight++
			l.oldest = max(l.oldest, f.age)
		}
	}
	return l
}

// oldestFirst returns the flights, the oldest first, and last those that wait for another.
func (l *list[K]) oldestFirst() []*listed[K] {
	flights := make([]*listed[K], len(l.flights))
	for i := range l.flights {
		flights[i] = &l.flights[i]
	}
	slices.SortFunc(flights, func(a, b *listed[K]) int { return older(a.age, a.waits(), b.age, b.waits()) })
	return flights
}

// older puts the oldest first, and flights that wait for another to end last.
func older(a time.Duration, aWaits bool, b time.Duration, bWaits bool) int {
	switch {
	case aWaits == bWaits:
		return cmp.Compare(b, a)
	case aWaits:
		return 1
	default:
		return -1
	}
}
