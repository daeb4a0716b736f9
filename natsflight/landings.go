package natsflight

import (
	"context"
	"hash/maphash"
	"sync/atomic"
	"time"
)

// A landings has the latest landings of this process, so that a call of the same key
// knows the record that it has to replace, and need not ask. If two keys have the same
// slot, the table forgets the older landing, and a call asks.
type landings struct {
	slots [1024]atomic.Pointer[landing]
}

// A landing is a record that is being published, or was.
type landing struct {
	token string
	done  chan struct{} // closed when seq and until are set
	seq   uint64        // 0 if unknown
	until time.Time     // when the engine drops it
}

var seed = maphash.MakeSeed()

func (l *landings) slot(token string) *atomic.Pointer[landing] {
	return &l.slots[maphash.String(seed, token)%uint64(len(l.slots))]
}

// add enters a landing that is beginning.
func (l *landings) add(token string) *landing {
	n := &landing{token: token, done: make(chan struct{})}
	l.slot(token).Store(n)
	return n
}

// set says how the landing went.
func (n *landing) set(seq uint64, until time.Time) {
	n.seq, n.until = seq, until
	close(n.done)
}

// last returns the sequence of the last record of a key, as far as known, or 0. It
// waits for a landing that is under way.
func (l *landings) last(ctx context.Context, token string) uint64 {
	n := l.slot(token).Load()
	if n == nil || n.token != token {
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
