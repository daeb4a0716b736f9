package workload

import (
	"crypto/sha256"
	"math/rand/v2"
	"strconv"
	"testing"

	"github.com/actorflight/singleflight/bench/peer"
)

// This file has the workloads in which each operation is a call.

func alone(b *testing.B, newGroup func() peer.Group) {
	g := newGroup()
	for b.Loop() {
		g.Do("key", empty)
	}
}

func pair(b *testing.B, newGroup func() peer.Group) {
	g := newGroup()
	keys := [2]string{"one", "other"}
	concurrently(b, 2, func(goroutine, _ int) { g.Do(keys[goroutine], empty) })
}

func hotkey(b *testing.B, newGroup func() peer.Group) {
	g := newGroup()
	concurrently(b, 32, func(_, _ int) { g.Do("key", empty) })
}

func busy(b *testing.B, newGroup func() peer.Group) {
	g := newGroup()
	land := fly(g, "other")
	for b.Loop() {
		g.Do("key", empty)
	}
	b.StopTimer()
	land()
}

// fly starts a flight that lands when land is called. land returns when
// the call has.
func fly(g peer.Group, key string) (land func()) {
	flying, gate, landed := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() {
		g.Do(key, func() (any, error) {
			close(flying)
			<-gate
			return nil, nil
		})
		close(landed)
	}()
	<-flying
	return func() {
		close(gate)
		<-landed
	}
}

const goroutines = 64

func contended(b *testing.B, newGroup func() peer.Group) {
	g := newGroup()
	random := newRand()
	draws := draw(func() int { return random.IntN(len(keys)) })
	concurrently(b, goroutines, func(goroutine, i int) {
		g.Do(draws.key(goroutine, i), empty)
	})
}

func service(b *testing.B, newGroup func() peer.Group) {
	g := newGroup()
	zipf := rand.NewZipf(newRand(), 1.1, 1, uint64(len(keys)-1))
	draws := draw(func() int { return int(zipf.Uint64()) })
	page := make([]byte, 4<<10)
	hash := func() (any, error) { return sha256.Sum256(page), nil }
	concurrently(b, goroutines, func(goroutine, i int) {
		g.Do(draws.key(goroutine, i), hash)
	})
}

// keys are those of contended and service.
var keys = func() (keys [1024]string) {
	for i := range keys {
		keys[i] = "key " + strconv.Itoa(i)
	}
	return keys
}()

// drawn are keys, drawn beforehand. Each goroutine begins at another place.
type drawn [1 << 16]string

func draw(index func() int) *drawn {
	d := new(drawn)
	for i := range d {
		d[i] = keys[index()]
	}
	return d
}

func (d *drawn) key(goroutine, i int) string {
	return d[(goroutine*len(d)/goroutines+i)%len(d)]
}

// newRand draws the same numbers in each run.
func newRand() *rand.Rand { return rand.New(rand.NewPCG(1, 2)) }

func doChan(b *testing.B, newGroup func() peer.Group) {
	g := newGroup().(peer.DoChanner)
	for b.Loop() {
		g.DoChan("key", empty)
	}
}

func busyChan(b *testing.B, newGroup func() peer.Group) {
	g := newGroup().(peer.DoChanner)
	land := fly(g, "other")
	for b.Loop() {
		g.DoChan("key", empty)
	}
	b.StopTimer()
	land()
}

func recovery(b *testing.B, newGroup func() peer.Group) {
	g := newGroup()
	fail := func() (any, error) { panic("fn failed") }
	for b.Loop() {
		func() {
			defer func() { recover() }()
			g.Do("key", fail)
		}()
	}
}

// RoundTrip measures the least that a message and its answer take: from one goroutine to
// another and back, by two channels.
func RoundTrip(b *testing.B) {
	there, back := make(chan struct{}), make(chan struct{})
	go func() {
		for range there {
			back <- struct{}{}
		}
	}()
	for b.Loop() {
		there <- struct{}{}
		<-back
	}
	close(there)
}
