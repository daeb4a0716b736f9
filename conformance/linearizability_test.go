package conformance

import (
	"context"
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

// TestLinearizability records what concurrent calls see, and has porcupine look for an
// order of events that explains it: one that the specification below allows, with each
// event at one moment between its beginning and its end.
func TestLinearizability(t *testing.T) {
	for _, processors := range []int{1, 2, 4} {
		t.Run(strconv.Itoa(processors), func(t *testing.T) {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(processors))
			recorded, joined, fresh, left, abandoned := 0, 0, 0, 0, 0
			for seed := uint64(1); recorded < *operations/3; seed++ {
				h := record(seed)
				recorded += callers * each
				shared, begun := map[int64]bool{}, map[int64]int64{}
				for _, c := range h.calls {
					if c.leads {
						begun[c.flight] = c.begun
					}
				}
				for _, c := range h.calls {
					if c.fresh && c.flight != unknown {
						require.Greater(t, begun[c.flight], c.began, "fn began before the fresh call")
					}
					switch {
					case c.left:
						left++
						require.False(t, c.shared, "Shared, for a call that has left")
					case !c.leads && c.fresh:
						fresh++
					case !c.leads:
						joined++
					}
					if c.sawEnd {
						abandoned++
					}
					switch other, ok := shared[c.flight]; {
					case !c.told:
					case c.flight == unknown:
						require.True(t, c.shared, "Shared, for a call that joined")
					case ok:
						require.Equal(t, other, c.shared, "Shared is the same for all calls of a flight")
					default:
						shared[c.flight] = c.shared
					}
				}
				for _, c := range h.refused {
					require.False(t, c.leads, "fn ran for a context that was done before the call")
				}
				for key, events := range h.events() {
					require.Equal(t, porcupine.Ok, porcupine.CheckOperationsTimeout(specification, events, time.Minute),
						"seed %d, key %q", seed, key)
				}
			}
			t.Logf("%d operations, among them %d calls that joined a flight, %d fresh ones that shared one, and %d that left one; %d flights saw that all had",
				recorded, joined, fresh, left, abandoned)
			require.Greater(t, joined, recorded/20, "the calls hardly met")
			require.Greater(t, fresh, recorded/200, "the fresh calls hardly met")
			require.Greater(t, left, recorded/20, "the calls hardly left")
			require.Greater(t, abandoned, recorded/200, "the calls hardly left together")
		})
	}
}

// What can happen to a key. A call is several events, since it takes effect more than
// once: when it joins a flight, when it leaves, and, if its fn runs, when that begins,
// when it sees that its context has ended, and when it lands.
type kind int

const (
	join kind = iota
	leave
	begin
	seeEnd
	land
	forget
	forgetUnshared
)

type event struct {
	kind   kind
	call   int   // join, leave
	flight int64 // unknown to a call that leaves or exits, unless it leads
	leads  bool  // join, leave: the call leads the flight
	fresh  bool  // join
	leaves bool  // join: the call will leave
	exits  bool  // join: the flight that the call leads will exit
	told   bool  // land: Shared was seen
	result bool  // land: the Shared; forgetUnshared: what it returned
}

const unknown = -1

// A state is what the specification knows of one key. It is never modified.
type state struct {
	current   *inFlight // has the key, or nil
	waiting   *inFlight // begins when current lands or is forgotten; or nil
	forgotten []*inFlight
}

type inFlight struct {
	flight  int64 // unknown until a call that knows it joins; forever, if all leave before fn runs
	calls   int   // that do not leave
	leavers []int // calls that will leave, and have not
	led     bool  // the leader has joined
	exits   bool
}

// specification is singleflight, one event after another.
var specification = (&porcupine.NondeterministicModel{
	Init: func() []any { return []any{state{}} },
	Step: func(s, in, _ any) (next []any) {
		for _, s := range s.(state).orLanded() {
			if after, ok := s.step(in.(event)); ok {
				next = append(next, after)
			}
		}
		return next
	},
	Equal: func(a, b any) bool {
		s, other := a.(state), b.(state)
		return s.current.equal(other.current) && s.waiting.equal(other.waiting) &&
			slices.EqualFunc(s.forgotten, other.forgotten, (*inFlight).equal)
	},
}).ToModel()

// orLanded returns s and, if all calls may have left the current flight before its fn
// ran, so that it lands without an event, also the state after that.
func (s state) orLanded() []state {
	if f := s.current; f != nil && f.flight == unknown && f.callers() == 0 {
		if landed, ok := s.free(); ok {
			return []state{s, landed}
		}
	}
	return []state{s}
}

func (s state) step(e event) (after state, ok bool) {
	switch e.kind {
	case join:
		return s.join(e)
	case leave:
		return s.leave(e)
	case begin:
		return s, s.find(e.flight) != nil
	case seeEnd:
		f := s.find(e.flight)
		return s, f != nil && f.callers() == 0
	case land:
		f := s.find(e.flight)
		if f == nil || len(f.leavers) > 0 || e.told && e.result != (f.calls > 1) {
			return s, false // Shared is exact
		}
		if f == s.current {
			return s.free()
		}
		s.forgotten = replace(s.forgotten, f, nil)
		return s, true
	}
	f := s.current
	if free := f == nil || f.callers() <= 1 && s.waiting == nil; e.kind == forgetUnshared && free != e.result {
		return s, false
	} else if f == nil || e.kind == forgetUnshared && !free {
		return s, true
	}
	s.forgotten = append(slices.Clone(s.forgotten), f)
	return s.free()
}

// join puts a call on the current flight or, if all have left that or the call is fresh, on
// the one behind it.
func (s state) join(e event) (after state, ok bool) {
	switch f := s.current; {
	case f == nil:
		s.waiting = new(inFlight{flight: unknown}).join(e)
		return s.free()
	case f.callers() > 0 && !e.fresh:
		s.current = f.join(e)
		return s, s.current != nil && s.current.flight == f.flight && !e.leads
	case s.waiting == nil:
		s.waiting = new(inFlight{flight: unknown}).join(e)
	default:
		s.waiting = s.waiting.join(e)
	}
	return s, s.waiting != nil
}

// leave takes a call off its flight.
func (s state) leave(e event) (after state, ok bool) {
	if f := s.current.leave(e.call); f != nil {
		s.current = f
		return s, true
	}
	if f := s.waiting.leave(e.call); f != nil {
		if s.waiting = f; f.callers() == 0 {
			s.waiting = nil
		}
		return s, !e.leads // only a call that is on the flight when it begins leads
	}
	for _, f := range s.forgotten {
		if left := f.leave(e.call); left != nil {
			s.forgotten = replace(s.forgotten, f, left)
			return s, true
		}
	}
	return s, false
}

// free takes the key from the current flight, and gives it to the one that waits.
func (s state) free() (after state, ok bool) {
	f := s.waiting
	s.current, s.waiting = f, nil
	return s, f == nil || f.led || f.flight == unknown && f.calls == 0
}

// find returns the flight, if it has begun and has not landed.
func (s state) find(flight int64) *inFlight {
	for _, f := range append(s.forgotten[:len(s.forgotten):len(s.forgotten)], s.current) {
		if f != nil && f.flight == flight {
			return f
		}
	}
	return nil
}

// replace puts another flight, or none, in the place of f.
func replace(all []*inFlight, f, other *inFlight) (replaced []*inFlight) {
	for _, g := range all {
		if g == f {
			g = other
		}
		if g != nil {
			replaced = append(replaced, g)
		}
	}
	return replaced
}

func (f *inFlight) callers() int { return f.calls + len(f.leavers) }

// join returns f with one more call, or nil if the call cannot be on it.
func (f *inFlight) join(e event) *inFlight {
	joined := *f
	switch {
	case e.flight != unknown:
		if f.flight != unknown && f.flight != e.flight {
			return nil
		}
		joined.flight = e.flight
	case !e.leaves && !f.exits:
		return nil
	}
	if e.leads {
		joined.led, joined.exits = true, e.exits
	}
	if e.leaves {
		joined.leavers = append(slices.Clone(f.leavers), e.call)
	} else {
		joined.calls++
	}
	return &joined
}

// leave returns f without a call, or nil if the call is not on it.
func (f *inFlight) leave(call int) *inFlight {
	if f == nil || !slices.Contains(f.leavers, call) {
		return nil
	}
	left := *f
	left.leavers = slices.DeleteFunc(slices.Clone(f.leavers), func(other int) bool { return other == call })
	return &left
}

func (f *inFlight) equal(other *inFlight) bool {
	if f == nil || other == nil {
		return f == other
	}
	return f.flight == other.flight && f.calls == other.calls && f.led == other.led && f.exits == other.exits &&
		slices.Equal(f.leavers, other.leavers)
}

// A history is what one run has recorded. Its clock is a counter, so no two readings are
// the same, and a later one is greater.
type history struct {
	clock   atomic.Int64
	flights atomic.Int64
	group   singleflight.Group
	running sync.WaitGroup
	over    int64

	mu      sync.Mutex
	calls   []*call
	refused []*call // their contexts were done before the call
	forgets map[string][]porcupine.Operation
	late    []func()
}

// A call is a call of any kind but Forget, with readings of the clock.
type call struct {
	key     string
	ending  ending
	pauses  int
	context context.Context // or nil
	fresh   bool

	flight int64
	told   bool // shared
	shared bool
	left   bool

	began    int64
	joined   int64 // at the latest
	canceled int64 // if it has left
	returned int64

	// Written by fn, which may outlast the call:
	leads  bool
	own    int64 // flight
	begun  int64
	sawEnd bool // of its context
	ended  int64
}

type ending int

const (
	value ending = iota
	failure
	exit
	crash
)

// A watched context tells a call that leaves from one whose context was done before: the
// library calls Err before it does anything else.
type watched struct {
	context.Context
	open bool // Err has been nil
}

func (w *watched) Err() error {
	err := w.Context.Err()
	if err == nil {
		w.open = true
	}
	return err
}

// A history has callers*each operations.
const callers, each = 12, 40

// record makes calls from many goroutines and records what they see.
func record(seed uint64) *history {
	h := &history{forgets: map[string][]porcupine.Operation{}}
	for i := range callers {
		random := rand.New(rand.NewPCG(seed, uint64(i)))
		h.running.Go(func() {
			for range each {
				done := make(chan struct{})
				go func() { // Goexit may end it
					defer close(done)
					h.operate(random)
				}()
				<-done
			}
		})
	}
	h.running.Wait()
	for _, receive := range h.late {
		receive()
	}
	h.group.Wait(context.Background()) // for the abandoned flights
	h.over = h.clock.Add(1)
	for _, c := range h.calls {
		if c.leads {
			c.flight = c.own
		}
	}
	return h
}

func (h *history) operate(random *rand.Rand) {
	c := &call{
		key:    strconv.Itoa(random.IntN(2)),
		ending: ending(random.IntN(3)),
		pauses: random.IntN(20),
	}
	leaves := random.IntN(2) == 0
	if leaves {
		// No flight of these keys exits, so only a call that leaves does not know its flight.
		c.key, c.ending = "leaves "+c.key, ending(random.IntN(2))
		switch random.IntN(8) {
		case 0: // it gets no context
		case 1:
			c.context = context.Background()
		default:
			h.mayLeave(c, random.IntN(20))
		}
	}
	if c.fresh = random.IntN(3) == 0; c.fresh && c.context == nil {
		c.context = context.Background()
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
		if !leaves {
			c.key = "crashes " + c.key // which no DoChan has
			c.ending = ending(random.IntN(4))
		}
		fallthrough
	default:
		h.do(c)
	}
}

// mayLeave gives c a context, which is done after some pauses.
func (h *history) mayLeave(c *call, pauses int) {
	ctx, cancel := context.WithCancel(context.Background())
	c.context = &watched{Context: ctx}
	h.running.Go(func() {
		for range pauses {
			runtime.Gosched()
		}
		c.canceled = h.clock.Add(1)
		cancel()
	})
}

func (h *history) forget(key string, kind kind, f func() bool) {
	began := h.clock.Add(1)
	result := f()
	op := porcupine.Operation{Input: event{kind: kind, result: result}, Call: began, Return: h.clock.Add(1)}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.forgets[key] = append(h.forgets[key], op)
}

// fn is the function of c. It runs if c leads.
func (h *history) fn(c *call, ctx context.Context) (any, error) {
	c.leads, c.own, c.begun = true, h.flights.Add(1), h.clock.Add(1)
	for range c.pauses {
		runtime.Gosched()
	}
	c.sawEnd = ctx.Err() != nil
	flight := c.own
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
	w, watches := c.context.(*watched)
	var f flown
	switch {
	case errors.As(err, &f):
		c.flight = int64(f)
	case v != nil:
		c.flight = v.(int64)
	default:
		c.flight = unknown
		c.left = watches && err != nil && errors.Is(err, w.Context.Err())
	}
	c.told = c.told && !c.left
	h.mu.Lock()
	defer h.mu.Unlock()
	if c.left && !w.open {
		h.refused = append(h.refused, c)
		return
	}
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
		c.joined = c.returned
	}()
	fn := func(ctx context.Context) (any, error) { return h.fn(c, ctx) }
	switch ctx := c.context; {
	case c.fresh:
		v, err, c.shared = h.group.DoFresh(ctx, c.key, fn)
	case ctx != nil:
		v, err, c.shared = h.group.DoContext(ctx, c.key, fn)
	default:
		v, err, c.shared = h.group.Do(c.key, func() (any, error) { return fn(context.Background()) })
	}
	c.told = true
}

// doChan returns a function that receives the result.
func (h *history) doChan(c *call) (receive func()) {
	c.began = h.clock.Add(1)
	var results <-chan singleflight.Result
	fn := func(ctx context.Context) (any, error) { return h.fn(c, ctx) }
	switch ctx := c.context; {
	case c.fresh:
		results = h.group.DoChanFresh(ctx, c.key, fn)
	case ctx != nil:
		results = h.group.DoChanContext(ctx, c.key, fn)
	default:
		results = h.group.DoChan(c.key, func() (any, error) { return fn(context.Background()) })
	}
	c.joined = h.clock.Add(1)
	return func() {
		r := <-results
		c.told, c.shared = true, r.Shared
		h.landed(c, r.Val, r.Err)
	}
}

// events returns all events by key.
func (h *history) events() map[string][]porcupine.Operation {
	events := h.forgets
	landings := map[int64]landing{}
	for _, c := range h.calls {
		if c.left {
			continue
		}
		l, ok := landings[c.flight]
		if !ok || c.returned < l.seen {
			l.seen = c.returned
		}
		if c.told {
			l.told, l.shared = true, c.shared
		}
		landings[c.flight] = l
	}
	for i, c := range h.calls {
		add := func(e event, began, ended int64) {
			e.call, e.flight, e.leads = i, c.flight, c.leads
			events[c.key] = append(events[c.key], porcupine.Operation{Input: e, Call: began, Return: ended})
		}
		joined := c.joined
		if c.leads {
			joined = min(joined, c.begun)
			l, ok := landings[c.flight]
			if !ok { // no call has seen it
				l.seen = h.over
			}
			add(event{kind: begin}, c.began, c.begun)
			if c.sawEnd {
				add(event{kind: seeEnd}, c.begun, c.ended)
			}
			add(event{kind: land, told: l.told, result: l.shared}, c.ended, l.seen)
		}
		add(event{kind: join, fresh: c.fresh, leaves: c.left, exits: c.ending == exit}, c.began, joined)
		if c.left {
			add(event{kind: leave}, c.canceled, c.returned)
		}
	}
	return events
}

// A landing is what the calls of a flight saw when it landed.
type landing struct {
	seen         int64 // when the first had the result
	told, shared bool
}
