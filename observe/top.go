package observe

import (
	"cmp"
	"slices"
	"sync/atomic"
	"time"
)

// top counts calls and flights of the keys that are called most. It is an estimate: a key
// shares its place with others, and the one that is called most stays there. Every minute
// each count is halved.
//
// Calls that wait keep only the hash of their key: the library promises not to keep the
// key itself. The end of a flight adds the key, if its key was called more than once.
type top[K comparable] [128]place[K]

type place[K comparable] struct {
	hash    atomic.Uint64 // of the key that has the place
	calls   atomic.Int64  // of that key, since it has the place
	flights atomic.Int64  // of that key
	rivals  atomic.Int64  // calls of other keys
	name    atomic.Pointer[named[K]]
}

type named[K comparable] struct {
	hash uint64
	key  K
}

func (t *top[K]) place(hash uint64) *place[K] { return &t[hash%uint64(len(t))] }

// come counts a call. If the calls of other keys exceed those of the key that has the
// place, this one takes it.
func (p *place[K]) come(hash uint64) {
	if p.hash.Load() == hash {
		p.calls.Add(1)
		return
	}
	if p.rivals.Add(1) > p.calls.Load() {
		p.hash.Store(hash)
		p.calls.Store(1)
		p.flights.Store(0)
		p.rivals.Store(0)
	}
}

// begin counts a flight.
func (p *place[K]) begin(hash uint64) {
	if p.hash.Load() == hash {
		p.flights.Add(1)
	}
}

// end records which key hash is of, at the end of a flight, if key was called more than
// once.
func (p *place[K]) end(hash uint64, key K) {
	if p.hash.Load() != hash || p.calls.Load() <= 1 {
		return
	}
	if n := p.name.Load(); n == nil || n.hash != hash {
		p.name.Store(&named[K]{hash, key})
	}
}

// halve halves all counts.
func (t *top[K]) halve() {
	for i := range t {
		p := &t[i]
		for _, count := range []*atomic.Int64{&p.calls, &p.flights, &p.rivals} {
			count.Add(-(count.Load() + 1) / 2)
		}
		if p.calls.Load() == 0 {
			p.name.Store(nil)
		}
	}
}

// halfLife is the time after which a count is halved.
const halfLife = time.Minute

// A hotKey is a key that is called much.
type hotKey[K comparable] struct {
	key            K
	calls, flights int64
}

// most returns at most n keys, with those that were called most first.
func (t *top[K]) most(n int) (keys []hotKey[K]) {
	for i := range t {
		p := &t[i]
		hash, calls, flights := p.hash.Load(), p.calls.Load(), p.flights.Load()
		if name := p.name.Load(); calls > 0 && name != nil && name.hash == hash {
			keys = append(keys, hotKey[K]{name.key, calls, flights})
		}
	}
	slices.SortFunc(keys, func(a, b hotKey[K]) int { return cmp.Compare(b.calls, a.calls) })
	return keys[:min(n, len(keys))]
}

// A halver calls halve once in each half-life.
type halver struct{ last atomic.Int64 } // by clock

func (h *halver) until(now int64, halve func()) {
	last := h.last.Load()
	if now < last { // in a synctest bubble, whose clock begins in the year 2000
		h.last.CompareAndSwap(last, now)
		return
	}
	if now-last < int64(halfLife) {
		return
	}
	lives := (now - last) / int64(halfLife)
	if !h.last.CompareAndSwap(last, last+lives*int64(halfLife)) {
		return
	}
	for range min(lives, 64) {
		halve()
	}
}
