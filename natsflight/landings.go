package natsflight

import (
	"context"
	"hash/maphash"
	"sync/atomic"
	"time"
)

// landings remembers what this process has landed last, so that its next call of a key
// can replace that record without asking for it first. If two keys have the same slot,
// the older landing is forgotten.
type landings struct {
	slots [1024]atomic.Pointer[landing]
}

// A landing is a record that is being published, or was.
type landing struct {
	hash    string
	done    chan struct{} // closed when the rest is set
	seq     uint64        // 0 if unknown
	until   time.Time     // when the stream drops it
	refused bool          // another flight has the key
}

var seed = maphash.MakeSeed()

func (l *landings) slot(hash string) *atomic.Pointer[landing] {
	return &l.slots[maphash.String(seed, hash)%uint64(len(l.slots))]
}

// add enters a landing that is beginning.
func (l *landings) add(hash string) *landing {
	n := &landing{hash: hash, done: make(chan struct{})}
	l.slot(hash).Store(n)
	return n
}

// set says how the first attempt to publish n has gone.
func (n *landing) set(seq uint64, until time.Time, refused bool) {
	n.seq, n.until, n.refused = seq, until, refused
	close(n.done)
}

// last returns the sequence of the last record of a key, as far as known, or 0. It
// waits for a landing that is under way.
func (l *landings) last(ctx context.Context, hash string) uint64 {
	n := l.slot(hash).Load()
	if n == nil || n.hash != hash {
		return 0
	}
	select {
	case <-n.done:
	case <-ctx.Done():
		return 0
	}
	if time.Now().After(n.until) {
		return 0
	}
	return n.seq
}
