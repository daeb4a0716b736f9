package conformance

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	xsync "golang.org/x/sync/singleflight"
	"pgregory.net/rapid"

	"github.com/actorflight/singleflight"
)

// TestDifferential runs random programs, step by step, on x/sync, on this library, and
// on a model that is small enough to read. After every step all must show the same.
func TestDifferential(t *testing.T) { rapid.Check(t, differential) }

func FuzzDifferential(f *testing.F) { f.Fuzz(rapid.MakeFuzz(differential)) }

func differential(t *rapid.T) {
	rapid.SyncTest(t, func(t *rapid.T) {
		p := &program{
			current: map[string]*flight{},
			sides: []*side{
				newSide(nameOfXSync, new(xsync.Group)),
				newSide("Group", new(singleflight.Group)),
				newSide("Sharded", new(singleflight.Sharded)),
			},
		}
		defer p.end() // even if rapid panics because a check has failed
		if rapid.Bool().Draw(t, "behind an abandoned flight") {
			p.call(drawContextKey(t), manner{context: open})
			p.check(t)
			p.leave(0)
		}
		t.Repeat(map[string]func(*rapid.T){
			"":               p.check,
			"cancel":         p.drawLeaving,
			"do":             func(t *rapid.T) { p.call(drawPlainKey(t), manner{}) },
			"doChan":         func(t *rapid.T) { p.call(drawPlainKey(t), manner{doChan: true, ignored: drawIgnored(t)}) },
			"doContext":      func(t *rapid.T) { p.call(drawContextKey(t), manner{context: drawLife(t)}) },
			"doChanContext":  func(t *rapid.T) { p.call(drawContextKey(t), manner{true, drawIgnored(t), drawLife(t)}) },
			"forget":         func(t *rapid.T) { p.forget(drawKey(t)) },
			"forgetUnshared": func(t *rapid.T) { p.forgetUnshared(t, drawKey(t)) },
			"land":           p.drawLanding,
		})
		for len(p.inFlight) > 0 {
			p.land(p.inFlight[0], "value")
			p.check(t)
		}
		for i := range p.calls { // too late
			p.cancel(i)
		}
		p.check(t)
	})
}

// x/sync has no calls with a context, so it gets the plain keys only. One key gets calls
// of all kinds; where there is no Do and no DoChan, flights are abandoned more often.
var plain, mixed, withContext = []string{"a", "b"}, "c", "d"

func drawKey(t *rapid.T) string {
	return rapid.SampledFrom(append(plain, mixed, withContext)).Draw(t, "key")
}

func drawPlainKey(t *rapid.T) string {
	return rapid.SampledFrom(append(plain, mixed)).Draw(t, "key")
}

func drawContextKey(t *rapid.T) string {
	return rapid.SampledFrom([]string{withContext, mixed}).Draw(t, "key")
}

func drawIgnored(t *rapid.T) bool { return rapid.Bool().Draw(t, "ignored") }

func drawLife(t *rapid.T) life {
	return rapid.SampledFrom([]life{open, open, open, endless, done}).Draw(t, "context")
}

// A program is the steps so far, and a model of their effects.
type program struct {
	calls    []*modelCall
	flights  []*flight
	inFlight []*flight          // begun, and not landed
	current  map[string]*flight // the flights that have their key
	sides    []*side
}

type flight struct {
	number int
	key    string
	calls  []*modelCall // that have not left
	leader *modelCall   // its fn runs; nil before the flight begins
	next   *flight      // the one that waits for it to land
}

type modelCall struct {
	manner
	flight *flight
	shows  string // what can be seen of it
	xsync  string // what can be seen of it in x/sync, if that is different
}

// A manner is how a call is made.
type manner struct {
	doChan  bool
	ignored bool // nothing receives from its channel
	context life
}

// A life is what becomes of a call's context.
type life string

const (
	noContext life = ""        // the call has none
	endless   life = "endless" // it can never be done
	open      life = "open"    // it is not done until the call leaves
	done      life = "done"    // it is done before the call
)

// mayLeave reports whether c may leave.
func (c *modelCall) mayLeave() bool { return c.context == open }

const (
	waiting     = "waiting"
	delivered   = "delivered"
	nameOfXSync = "x/sync"
)

func (c *modelCall) show(s string) {
	c.shows = s
	if c.ignored {
		c.shows = delivered
	}
}

func (p *program) call(key string, m manner) {
	c := &modelCall{manner: m, shows: waiting}
	if m.context == done {
		c.flight = &flight{} // which never begins
		c.show(fmt.Sprint(nil, context.Canceled, false))
	} else {
		p.join(key, c)
	}
	for _, s := range p.sides {
		s.call(key, len(p.calls), c)
	}
	p.calls = append(p.calls, c)
}

// join puts c on a flight.
func (p *program) join(key string, c *modelCall) {
	f := p.current[key]
	switch {
	case f == nil:
		c.flight = p.newFlight(key, c)
		p.begin(c.flight)
		return
	case len(f.calls) > 0:
		c.flight = f
	case f.next == nil:
		f.next = p.newFlight(key, c)
		c.flight = f.next
		return
	default:
		c.flight = f.next
	}
	c.flight.calls = append(c.flight.calls, c)
}

func (p *program) newFlight(key string, c *modelCall) *flight {
	f := &flight{number: len(p.flights), key: key, calls: []*modelCall{c}}
	p.flights = append(p.flights, f)
	return f
}

// begin gives f its key. The fn of the first call that never leaves runs or, if there is
// none, that of the first that has not left.
func (p *program) begin(f *flight) {
	p.current[f.key] = f
	p.inFlight = append(p.inFlight, f)
	f.leader = f.calls[0]
	if i := slices.IndexFunc(f.calls, func(c *modelCall) bool { return !c.mayLeave() }); i >= 0 {
		f.leader = f.calls[i]
	}
}

// free takes the key from f, and begins the next flight.
func (p *program) free(f *flight) {
	delete(p.current, f.key)
	if next := f.next; next != nil {
		f.next = nil
		p.begin(next)
	}
}

func (p *program) forget(key string) {
	if f := p.current[key]; f != nil {
		p.free(f)
	}
	for _, s := range p.sides {
		s.group.Forget(key)
	}
}

func (p *program) forgetUnshared(t *rapid.T, key string) {
	f := p.current[key]
	free := f == nil || len(f.calls) <= 1 && f.next == nil
	if f != nil && free {
		p.free(f)
	}
	for _, s := range p.sides {
		if forgetter, ok := s.group.(interface{ ForgetUnshared(string) bool }); ok {
			if got := forgetter.ForgetUnshared(key); got != free {
				t.Fatalf("%s: ForgetUnshared(%q) = %v, want %v", s.name, key, got, free)
			}
		} else if free {
			s.group.Forget(key) // which is what it means
		}
	}
}

func (p *program) drawLeaving(t *rapid.T) {
	var all []int
	for i, c := range p.calls {
		if c.context == open && c.shows == waiting {
			all = append(all, i)
		}
	}
	if len(all) == 0 {
		return
	}
	p.leave(rapid.SampledFrom(all).Draw(t, "call"))
}

func (p *program) leave(i int) {
	c := p.calls[i]
	c.show(fmt.Sprint(nil, context.Canceled, false))
	f := c.flight
	f.calls = slices.DeleteFunc(f.calls, func(other *modelCall) bool { return other == c })
	if before := p.current[f.key]; before != nil && before.next == f && len(f.calls) == 0 {
		before.next = nil
	}
	p.cancel(i)
}

// cancel ends the context of a call, if it has one.
func (p *program) cancel(i int) {
	for _, s := range p.sides {
		if c := s.calls[i]; c != nil {
			c.cancel()
		}
	}
}

func (p *program) drawLanding(t *rapid.T) {
	if len(p.inFlight) == 0 {
		return
	}
	f := rapid.SampledFrom(p.inFlight).Draw(t, "flight")
	endings := []string{"value", "error", "goexit"}
	if len(f.calls) > 0 && !slices.ContainsFunc(f.calls, func(c *modelCall) bool { return c.doChan }) {
		endings = append(endings, "panic") // else it would crash the program
	}
	p.land(f, rapid.SampledFrom(endings).Draw(t, "ending"))
}

func (p *program) land(f *flight, ending string) {
	p.inFlight = slices.DeleteFunc(p.inFlight, func(other *flight) bool { return other == f })
	if p.current[f.key] == f {
		p.free(f)
	}
	shared := len(f.calls) > 1
	for _, c := range f.calls {
		switch ending {
		case "value":
			c.show(fmt.Sprint(f.number, nil, shared))
		case "error":
			c.show(fmt.Sprint(nil, errOf(f.number), shared))
		case "panic":
			c.show(fmt.Sprint("panic: ", f.number))
		case "goexit":
			c.show("exited")
			if c.doChan {
				// The one known difference: x/sync leaves them waiting.
				c.show(fmt.Sprint(nil, singleflight.ErrGoexit, shared))
				c.xsync = waiting
			}
		}
	}
	for _, s := range p.sides {
		if land, ok := s.landings[f]; ok {
			land <- ending
		}
	}
}

// end lets all goroutines return.
func (p *program) end() {
	for len(p.inFlight) > 0 {
		p.land(p.inFlight[0], "value")
	}
	for i := range p.calls {
		p.cancel(i)
	}
	for _, s := range p.sides {
		close(s.over)
	}
}

func errOf(flight int) error { return fmt.Errorf("error of %d", flight) }

// check waits until all goroutines are blocked, and then compares.
func (p *program) check(t *rapid.T) {
	synctest.Wait()
	for _, s := range p.sides {
		p.checkInFlight(t, s)
		runs := map[*flight]int{}
		for i, c := range p.calls {
			got := s.calls[i]
			if got == nil {
				continue
			}
			want := c.shows
			if s.name == nameOfXSync && c.xsync != "" {
				want = c.xsync
			}
			if got := got.shows(); got != want {
				t.Fatalf("%s: call %d shows %q, want %q", s.name, i, got, want)
			}
			if got.ran == 0 {
				continue
			}
			runs[c.flight] += got.ran
			if c.flight.leader != c {
				t.Fatalf("%s: call %d ran fn", s.name, i)
			}
			if got, want := describe(got.context), c.flight.context(); got != want {
				t.Fatalf("%s: fn of call %d has a context that is %q, want %q", s.name, i, got, want)
			}
			if got.context != nil && got.context.Value(number{}) != i {
				t.Fatalf("%s: fn of call %d has the values of %v", s.name, i, got.context.Value(number{}))
			}
		}
		for _, f := range p.flights {
			want := 0
			if f.leader != nil {
				want = 1
			}
			if got := runs[f]; s.sees(f.key) && got != want {
				t.Fatalf("%s: fn of flight %d ran %d times, want %d", s.name, f.number, got, want)
			}
		}
	}
}

// describe returns the state of a context.
func describe(ctx context.Context) string {
	if ctx == nil {
		return "none"
	}
	return fmt.Sprint(ctx.Err(), ", cause: ", context.Cause(ctx))
}

// context returns the state of the context that the fn of f got.
func (f *flight) context() string {
	switch {
	case f.leader == nil || f.leader.context == noContext:
		return "none"
	case len(f.calls) == 0:
		return fmt.Sprint(context.Canceled, ", cause: ", singleflight.ErrAbandoned)
	}
	return fmt.Sprint(nil, ", cause: ", nil)
}

// checkInFlight compares what InFlight and Wait say, where s has them.
func (p *program) checkInFlight(t *rapid.T, s *side) {
	inspected, ok := s.group.(interface {
		InFlight() []singleflight.Flight
		Wait(context.Context) error
	})
	if !ok {
		return
	}
	var want, got []string
	for _, f := range p.inFlight {
		state := singleflight.Forgotten
		switch {
		case len(f.calls) == 0:
			state = singleflight.Abandoned
		case p.current[f.key] == f:
			state = singleflight.Flying
		}
		want = append(want, fmt.Sprintln(f.key, len(f.calls), state, f.context()))
		if f.next != nil {
			want = append(want, fmt.Sprintln(f.key, len(f.next.calls), singleflight.Waiting, f.next.context()))
		}
	}
	for _, f := range inspected.InFlight() {
		got = append(got, fmt.Sprintln(f.Key, f.Callers, f.State, describe(f.Context)))
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Fatalf("%s: in flight are %q, want %q", s.name, got, want)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := inspected.Wait(ended); (err == nil) != (len(want) == 0) {
		t.Fatalf("%s: Wait says %v while %q are in flight", s.name, err, want)
	}
}

// A side is an implementation, and what can be seen of the calls to it.
type side struct {
	name  string
	group interface {
		Do(string, func() (any, error)) (any, error, bool)
		Forget(string)
	}
	doChan   func(string, func() (any, error)) channel
	calls    []*sideCall // nil for calls that the side cannot make
	landings map[*flight]chan string
	over     chan struct{} // closed at the end, so that no call waits any longer
}

// A contextGroup also has the calls with a context.
type contextGroup interface {
	DoContext(context.Context, string, func(context.Context) (any, error)) (any, error, bool)
	DoChanContext(context.Context, string, func(context.Context) (any, error)) <-chan singleflight.Result
}

// A channel is a DoChan channel of any result type.
type channel struct {
	receive func() string
	len     func() int
}

type sideCall struct {
	ran     int
	context context.Context // what fn got
	cancel  func()
	shows   func() string
}

// newSide takes either implementation: their result types differ in name only.
func newSide[R result](name string, group interface {
	Do(string, func() (any, error)) (any, error, bool)
	DoChan(string, func() (any, error)) <-chan R
	Forget(string)
}) *side {
	s := &side{name: name, group: group, landings: map[*flight]chan string{}, over: make(chan struct{})}
	s.doChan = func(key string, fn func() (any, error)) channel {
		return newChannel(group.DoChan(key, fn), s.over)
	}
	return s
}

type result interface {
	~struct {
		Val    any
		Err    error
		Shared bool
	}
}

func newChannel[R result](results <-chan R, over <-chan struct{}) channel {
	return channel{
		len: func() int { return len(results) },
		receive: func() string {
			select {
			case r := <-results:
				result := singleflight.Result(r)
				return fmt.Sprint(result.Val, result.Err, result.Shared)
			case <-over:
				return waiting
			}
		},
	}
}

// sees reports whether s can make all calls of key.
func (s *side) sees(key string) bool {
	_, ok := s.group.(contextGroup)
	return ok || slices.Contains(plain, key)
}

// number is the key of a call's number in its context.
type number struct{}

func (s *side) call(key string, i int, m *modelCall) {
	if !s.sees(key) {
		s.calls = append(s.calls, nil)
		return
	}
	land, ok := s.landings[m.flight]
	if !ok {
		land = make(chan string, 1)
		s.landings[m.flight] = land
	}
	c := &sideCall{cancel: func() {}}
	s.calls = append(s.calls, c)
	fn := func(ctx context.Context) (any, error) {
		c.ran++
		c.context = ctx
		select {
		case ending := <-land:
			switch ending {
			case "error":
				return nil, errOf(m.flight.number)
			case "panic":
				panic(m.flight.number)
			case "goexit":
				runtime.Goexit()
			}
		case <-s.over:
		}
		return m.flight.number, nil
	}
	fnOfDo := func() (any, error) { return fn(nil) }
	ctx := context.WithValue(context.Background(), number{}, i)
	if m.context == open || m.context == done {
		ctx, c.cancel = context.WithCancel(ctx)
	}
	if m.context == done {
		c.cancel()
	}

	shown := waiting
	c.shows = func() string { return shown }
	if m.doChan {
		var results channel
		if m.context == noContext {
			results = s.doChan(key, fnOfDo)
		} else {
			results = newChannel(s.group.(contextGroup).DoChanContext(ctx, key, fn), s.over)
		}
		if !m.ignored {
			go func() { shown = results.receive() }()
			return
		}
		c.shows = func() string {
			if results.len() == 0 {
				return waiting
			}
			return delivered
		}
		return
	}
	go func() {
		outcome := "exited"
		defer func() {
			if err, ok := recover().(error); ok {
				// Both have the value first, then a blank line and the stack.
				value, _, _ := strings.Cut(err.Error(), "\n\n")
				outcome = "panic: " + value
			}
			shown = outcome
		}()
		var v any
		var err error
		var shared bool
		if m.context == noContext {
			v, err, shared = s.group.Do(key, fnOfDo)
		} else {
			v, err, shared = s.group.(contextGroup).DoContext(ctx, key, fn)
		}
		outcome = fmt.Sprint(v, err, shared)
	}()
}
