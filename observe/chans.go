package observe

import (
	"slices"
	"sync"

	"github.com/actorflight/singleflight"
)

// chans has the flights that DoChan has begun, the newest first, because the library's
// InFlight does not show their contexts. It is a list because that needs little stack,
// and their goroutines begin with small ones.
type chans[K comparable] struct {
	mu     sync.Mutex
	newest *chanRecord[K]
	added  uint64 // since the group was made
}

// A chanRecord is the record of a call of DoChan.
type chanRecord[K comparable] struct {
	record
	key K

	// Guarded by chans:
	newer, older *chanRecord[K]
	number       uint64 // the value of added with it
}

func (c *chans[K]) add(r *chanRecord[K]) {
	c.mu.Lock()
	r.older = c.newest
	if r.older != nil {
		r.older.newer = r
	}
	c.newest = r
	c.added++
	r.number = c.added
	c.mu.Unlock()
}

func (c *chans[K]) remove(r *chanRecord[K]) {
	c.mu.Lock()
	if r.newer == nil {
		c.newest = r.older
	} else {
		r.newer.older = r.older
	}
	if r.older != nil {
		r.older.newer = r.newer
	}
	c.mu.Unlock()
}

// now returns a number for old.
func (c *chans[K]) now() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.added
}

// old returns how many flights have begun before now returned a number, and have not ended.
func (c *chans[K]) old(number uint64) (flights int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for r := c.newest; r != nil; r = r.older {
		if r.number <= number {
			flights++
		}
	}
	return flights
}

// byKey returns the records of each key, the oldest first. Only Forget makes several.
func (c *chans[K]) byKey() map[K][]*record {
	all := make(map[K][]*record)
	c.mu.Lock()
	defer c.mu.Unlock()
	for r := c.newest; r != nil; r = r.older {
		all[r.key] = append(all[r.key], &r.record)
	}
	for _, records := range all {
		slices.Reverse(records)
	}
	return all
}

// records returns the record of each flight, or nil if fn has not begun. It cannot tell
// apart forgotten flights of one key that DoChan has begun.
func (c *chans[K]) records(flights []singleflight.FlightOf[K]) []*record {
	records := make([]*record, len(flights))
	var byKey map[K][]*record
	for _, state := range []singleflight.State{singleflight.Forgotten, singleflight.Flying} {
		for i, f := range flights {
			if f.Context != nil {
				records[i] = recordOf(f.Context)
				continue
			}
			if f.State != state {
				continue
			}
			if byKey == nil {
				byKey = c.byKey()
			}
			if rs := byKey[f.Key]; len(rs) > 0 {
				records[i], byKey[f.Key] = rs[0], rs[1:]
			}
		}
	}
	return records
}
