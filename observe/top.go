package observe

import (
	"cmp"
	"slices"
	"sync/atomic"
	"time"
)

// top counts, for the keys that are joined most, how many calls have joined a flight. It
// is an estimate: a key shares its place with others, and the one that is joined most
// stays there. Every minute each count is halved.
//
// Calls that wait keep only the hash of their key: the library promises not to keep the
// key itself. The flight adds the key, if other calls have come to the place since its
// own. So a call that meets no other only counts as having come.
type top[K comparable] [128]place[K]

type place[K comparable] struct {
	came   atomic.Uint64 // calls, of any key that has this place
	hash   atomic.Uint64 // of the key that is counted
	joined atomic.Int64  // calls of that key; if there are none, another may take the place
	name   atomic.Pointer[named[K]]
}

type named[K comparable] struct {
	hash uint64
	key  K
}

func (t *top[K]) place(hash uint64) *place[K] { return &t[hash%uint64(len(t))] }

// take gives the place to hash if it is free, and reports whether hash has it.
func (p *place[K]) take(hash uint64) bool {
	if p.hash.Load() == hash {
		return true
	}
	if p.joined.Load() > 0 {
		return false
	}
	p.joined.Store(0)
	p.hash.Store(hash)
	return true
}

// join counts a call that has joined.
func (p *place[K]) join(hash uint64) {
	if p.take(hash) {
		p.joined.Add(1)
	} else {
		p.joined.Add(-1) // so that the key that is joined most stays
	}
}

// mayJoin counts a call that has joined, unless leads is called later.
func (p *place[K]) mayJoin(hash uint64) {
	if p.take(hash) {
		p.joined.Add(1)
	}
}

func (p *place[K]) leads(hash uint64) {
	if p.hash.Load() == hash {
		p.joined.Add(-1)
	}
}

// call records which key hash is of.
func (p *place[K]) call(hash uint64, key K) {
	if p.take(hash) {
		if n := p.name.Load(); n == nil || n.hash != hash {
			p.name.Store(&named[K]{hash, key})
		}
	}
}

// halve halves all counts.
func (t *top[K]) halve() {
	for i := range t {
		p := &t[i]
		if n := p.joined.Load(); n > 1 {
			p.joined.Add(-n / 2)
		} else {
			p.joined.Store(0)
			p.name.Store(nil)
		}
	}
}

// halfLife is the time after which a count is halved.
const halfLife = time.Minute

// A hotKey is a key whose flights calls have joined.
type hotKey[K comparable] struct {
	key    K
	joined int64
}

// most returns at most n keys, with those that were joined most first.
func (t *top[K]) most(n int) (keys []hotKey[K]) {
	for i := range t {
		p := &t[i]
		hash, joined := p.hash.Load(), p.joined.Load()
		if name := p.name.Load(); joined > 0 && name != nil && name.hash == hash {
			keys = append(keys, hotKey[K]{name.key, joined})
		}
	}
	slices.SortFunc(keys, func(a, b hotKey[K]) int { return cmp.Compare(b.joined, a.joined) })
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
	lives := (now - last) / int64(halfLife)
	if lives == 0 || !h.last.CompareAndSwap(last, last+lives*int64(halfLife)) {
		return
	}
	for range min(lives, 64) {
		halve()
	}
}
