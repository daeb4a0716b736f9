package conformance

import (
	"errors"
	"flag"
	"math/rand/v2"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/stretchr/testify/require"

	"github.com/actorflight/singleflight"
)

var operations = flag.Int("operations", 120_000, "how many operations TestLinearizability records")

// TestLinearizability records what truly concurrent calls see, and lets
// porcupine look for an order of events that explains it: one in which every
// event happens at one moment between its beginning and its end, and which the
// specification below allows.
func TestLinearizability(t *testing.T) {
	for _, processors := range []int{1, 2, 4} {
		t.Run(strconv.Itoa(processors), func(t *testing.T) {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(processors))
			recorded, joined := 0, 0
			for seed := uint64(1); recorded < *operations/3; seed++ {
				h := record(seed)
				recorded += callers * each
				for _, c := range h.calls {
					if !c.leads {
						joined++
						require.True(t, !c.told || c.shared, "Shared, for a call that joined")
					}
				}
				for key, events := range h.events() {
					require.Equal(t, porcupine.Ok, porcupine.CheckOperationsTimeout(specification, events, time.Minute),
						"seed %d, key %q", seed, key)
				}
			}
			t.Logf("%d operations, among them %d calls that joined a flight", recorded, joined)
			require.Greater(t, joined, recorded/20, "the calls hardly met")
		})
	}
}

// What can happen to a key. A call is two events, since it takes effect twice:
// when it joins a flight, and, if it leads, when that lands.
type kind int

const (
	join kind = iota
	land
	forget
	forgetUnshared
)

type event struct {
	kind   kind
	flight int64 // what was joined or landed; unknown to who joined one that exits
	leads  bool  // join: the call leads the flight
	exits  bool  // join: the flight that the call leads will exit
	told   bool  // land: the leader got a Shared
	result bool  // land: which; forgetUnshared: what it returned
}

const unknown = -1

// A state is what the specification knows of one key. It is never modified.
type state struct {
	current int64 // the flight that can be joined, or none
	inAir   []inAir
}

type inAir struct {
	flight int64
	calls  int
	exits  bool
}

const none = 0

// specification is singleflight, one event after another.
var specification = porcupine.Model{
	Init: func() any { return state{} },
	Step: func(s, in, _ any) (bool, any) { return s.(state).step(in.(event)) },
	Equal: func(a, b any) bool {
		return a.(state).current == b.(state).current && slices.Equal(a.(state).inAir, b.(state).inAir)
	},
}

func (s state) step(e event) (bool, state) {
	current := slices.IndexFunc(s.inAir, func(f inAir) bool { return f.flight == s.current })
	switch e.kind {
	case join:
		if e.leads {
			// At most one flight at a time can be joined.
			return current < 0, state{e.flight, append(slices.Clone(s.inAir), inAir{e.flight, 1, e.exits})}
		}
		// Nobody joins a flight that has landed or was forgotten.
		if current < 0 || e.flight != s.current && (e.flight != unknown || !s.inAir[current].exits) {
			return false, s
		}
		joined := slices.Clone(s.inAir)
		joined[current].calls++
		return true, state{s.current, joined}
	case land:
		i := slices.IndexFunc(s.inAir, func(f inAir) bool { return f.flight == e.flight })
		if i < 0 || e.told && e.result != (s.inAir[i].calls > 1) {
			return false, s // Shared is exact
		}
		landed := state{s.current, slices.Delete(slices.Clone(s.inAir), i, i+1)}
		if i == current {
			landed.current = none
		}
		return true, landed
	case forgetUnshared:
		if free := current < 0 || s.inAir[current].calls == 1; free != e.result {
			return false, s
		} else if !free {
			return true, s
		}
	}
	return true, state{none, s.inAir}
}

// A history is what one run has recorded. Its clock counts, so that all readings
// are different, and in the order in which they were taken.
type history struct {
	clock   atomic.Int64
	flights atomic.Int64
	group   singleflight.Group

	mu      sync.Mutex
	calls   []*call
	forgets map[string][]porcupine.Operation
	late    []func()
}

// A call is a Do or DoChan, with readings of the clock.
type call struct {
	key    string
	ending ending
	pauses int

	leads  bool
	flight int64
	told   bool // shared
	shared bool

	began    int64
	joined   int64 // the latest it can have
	ended    int64 // fn, if it leads
	returned int64
}

type ending int

const (
	value ending = iota
	failure
	exit
	crash
)

// One history has so many operations: calls and forgets.
const callers, each = 12, 40

// record makes calls from many goroutines and records what they see.
func record(seed uint64) *history {
	h := &history{forgets: map[string][]porcupine.Operation{}}
	var wg sync.WaitGroup
	for i := range callers {
		random := rand.New(rand.NewPCG(seed, uint64(i)))
		wg.Go(func() {
			for range each {
				done := make(chan struct{})
				go func() { // which Goexit may end
					defer close(done)
					h.operate(random)
				}()
				<-done
			}
		})
	}
	wg.Wait()
	for _, receive := range h.late {
		receive()
	}
	return h
}

func (h *history) operate(random *rand.Rand) {
	c := &call{
		key:    strconv.Itoa(random.IntN(2)),
		ending: ending(random.IntN(3)),
		pauses: random.IntN(20),
	}
	switch random.IntN(12) {
	case 0:
		h.forget(c.key, forget, func() bool { h.group.Forget(c.key); return false })
	case 1:
		h.forget(c.key, forgetUnshared, func() bool { return h.group.ForgetUnshared(c.key) })
	case 2, 3:
		h.doChan(c)()
	case 4:
		receive := h.doChan(c)
		h.mu.Lock()
		defer h.mu.Unlock()
		h.late = append(h.late, receive)
	case 5, 6, 7:
		c.key = "crashes " + c.key // no DoChan comes here
		c.ending = ending(random.IntN(4))
		fallthrough
	default:
		h.do(c)
	}
}

func (h *history) forget(key string, kind kind, f func() bool) {
	began := h.clock.Add(1)
	result := f()
	op := porcupine.Operation{Input: event{kind: kind, result: result}, Call: began, Return: h.clock.Add(1)}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.forgets[key] = append(h.forgets[key], op)
}

// fn is what c brings. It runs if c leads.
func (h *history) fn(c *call) (any, error) {
	c.leads, c.flight, c.joined = true, h.flights.Add(1), h.clock.Add(1)
	for range c.pauses {
		runtime.Gosched()
	}
	flight := c.flight
	c.ended = h.clock.Add(1)
	switch c.ending {
	case failure:
		return nil, flown(flight)
	case exit:
		runtime.Goexit()
	case crash:
		panic(flown(flight))
	}
	return flight, nil
}

// flown is the error of a flight.
type flown int64

func (f flown) Error() string { return "flown" }

// landed records that c has its result.
func (h *history) landed(c *call, v any, err error) {
	c.returned = h.clock.Add(1)
	var f flown
	switch {
	case c.leads: // it knows its flight
	case errors.As(err, &f):
		c.flight = int64(f)
	case v != nil:
		c.flight = v.(int64)
	default:
		c.flight = unknown
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.calls = append(h.calls, c)
}

func (h *history) do(c *call) {
	c.began = h.clock.Add(1)
	var v any
	var err error
	defer func() {
		if p, ok := recover().(error); ok {
			err = p
		}
		h.landed(c, v, err)
		if !c.leads {
			c.joined = c.returned
		}
	}()
	v, err, c.shared = h.group.Do(c.key, func() (any, error) { return h.fn(c) })
	c.told = true
}

// doChan returns what receives the result.
func (h *history) doChan(c *call) (receive func()) {
	c.began = h.clock.Add(1)
	results := h.group.DoChan(c.key, func() (any, error) { return h.fn(c) })
	joined := h.clock.Add(1)
	return func() {
		r := <-results
		c.joined = joined
		c.told, c.shared = true, r.Shared
		h.landed(c, r.Val, r.Err)
	}
}

// events returns all that has happened, by key.
func (h *history) events() map[string][]porcupine.Operation {
	events := h.forgets
	released := map[int64]int64{} // when the first had the result, by flight
	for _, c := range h.calls {
		if at, ok := released[c.flight]; !ok || c.returned < at {
			released[c.flight] = c.returned
		}
	}
	for _, c := range h.calls {
		events[c.key] = append(events[c.key], porcupine.Operation{
			Input:  event{kind: join, flight: c.flight, leads: c.leads, exits: c.ending == exit},
			Call:   c.began,
			Return: c.joined,
		})
		if c.leads {
			events[c.key] = append(events[c.key], porcupine.Operation{
				Input:  event{kind: land, flight: c.flight, told: c.told, result: c.shared},
				Call:   c.ended,
				Return: released[c.flight],
			})
		}
	}
	return events
}
