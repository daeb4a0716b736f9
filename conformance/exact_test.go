package conformance_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/actorflight/singleflight"
	"github.com/actorflight/singleflight/observe"
)

// TestExact runs random programs, step by step, on groups of each kind and on a model,
// which defines what a group does. Calls may be made with the contexts of functions that
// run or have run, so that flights wait for each other. After every step the groups must
// show what the model shows: which calls have returned, and what; whose fn runs, and its
// context; and what is in flight.
func TestExact(t *testing.T) {
	keys := keysOfOneShard(t, 3)
	rapid.Check(t, func(t *rapid.T) {
		rapid.SyncTest(t, func(t *rapid.T) { runProgram(t, keys) })
	})
}

// A model is a group and the calls to it. Its methods call, end, forget and land are what
// can happen to them.
type model struct {
	calls   []*call
	flights []*flight          // that have begun
	current map[string]*flight // the flights that have their keys
}

type flight struct {
	key   string
	calls []*call // that have joined it and have not left
	next  *flight // begins when this one lands or is forgotten

	// Once it has begun:
	runs      *call // its fn runs
	abandoned bool  // all calls have left, which has ended the context of fn
	landed    bool
}

type call struct {
	number int
	method method
	key    string // "" if the method is Wait

	// How its context is made, if it has one:
	inside   *flight // from the context of the fn of this flight, unless nil
	detached bool    // by context.WithoutCancel
	cancel   bool    // by context.WithCancelCause
	canceled bool    // and canceled, perhaps before the call

	flight  *flight // that it is on; nil if it is on none
	outcome outcome
}

type method string

const (
	do            method = "Do"
	doChan        method = "DoChan"
	doContext     method = "DoContext"
	doChanContext method = "DoChanContext"
	doFresh       method = "DoFresh"
	doChanFresh   method = "DoChanFresh"
	wait          method = "Wait"
)

func (m method) isPlain() bool    { return m == do || m == doChan }
func (m method) isFresh() bool    { return m == doFresh || m == doChanFresh }
func (m method) hasChannel() bool { return m == doChan || m == doChanContext || m == doChanFresh }

// An outcome is how a call or an fn ends.
type outcome struct {
	how ending
	singleflight.Result
}

type ending string

const (
	pending  ending = ""
	returned ending = "returned" // or the channel has received
	panicked ending = "panicked" // with Val
	exited   ending = "exited"
)

// failed returns the outcome of a call that returns err without a flight's having landed.
func failed(err error) outcome { return outcome{returned, singleflight.Result{Err: err}} }

// inherits reports whether c's context ends with that of the fn in which it is made.
func (c *call) inherits() bool { return c.inside != nil && !c.detached }

// mayLeave reports whether c's context can end.
func (c *call) mayLeave() bool { return c.cancel || c.inherits() && c.inside.runs.mayLeave() }

// isDone reports whether c's context has ended.
func (c *call) isDone() bool { return c.canceled || c.inherits() && c.inside.abandoned }

// call makes the call c.
func (m *model) call(c *call) {
	m.calls = append(m.calls, c)
	f := m.current[c.key]
	switch {
	case c.method == wait && c.inside != nil && !c.inside.landed:
		c.outcome = failed(singleflight.ErrDeadlock)
	case c.method == wait:
	case c.isDone():
		c.outcome = failed(context.Canceled)
	case f == nil:
		f = &flight{key: c.key}
		f.join(c)
		m.begin(f)
	case c.inside != nil && m.awaits(f, c.inside):
		c.outcome = failed(singleflight.ErrDeadlock)
	case !f.abandoned && !c.method.isFresh():
		f.join(c)
	default:
		if f.next == nil {
			f.next = &flight{key: c.key}
		}
		f.next.join(c)
	}
	m.settle()
}

func (f *flight) join(c *call) {
	f.calls = append(f.calls, c)
	c.flight = f
}

// awaits reports whether f is g or waits for it. A flight waits for those that calls made
// with the context of its fn are on, and one that has not begun for the one before it. One
// that has landed waits for none, and none waits for it.
func (m *model) awaits(f, g *flight) bool {
	if f == g {
		return true
	}
	for _, c := range m.calls {
		if c.inside == f && c.flight != nil && c.outcome.how == pending && m.awaits(c.flight, g) {
			return true
		}
	}
	before := m.current[f.key]
	return before != nil && before.next == f && m.awaits(before, g)
}

// begin gives f its key. The fn of the first call that never leaves runs or, if there is
// none, that of the first that has not left.
func (m *model) begin(f *flight) {
	m.flights = append(m.flights, f)
	m.current[f.key] = f
	f.runs = f.calls[0]
	if i := slices.IndexFunc(f.calls, func(c *call) bool { return !c.mayLeave() }); i >= 0 {
		f.runs = f.calls[i]
	}
}

// forget frees key and begins the next flight. With ifUnshared, it does so only if at most
// one call needs the flight of key.
func (m *model) forget(key string, ifUnshared bool) (free bool) {
	f := m.current[key]
	if f == nil {
		return true
	}
	if ifUnshared && (len(f.calls) > 1 || f.next != nil) {
		return false
	}
	delete(m.current, key)
	if f.next != nil {
		m.begin(f.next)
		f.next = nil
	}
	return true
}

// end ends c's context.
func (m *model) end(c *call) {
	c.canceled = true
	m.settle()
}

// settle ends the calls whose contexts have ended. If all calls of a flight have left, that
// ends the context of its fn, and so perhaps others.
func (m *model) settle() {
	for _, c := range m.calls {
		switch {
		case c.outcome.how != pending:
		case c.method == wait && len(m.inFlight()) == 0:
			c.outcome = outcome{how: returned}
		case c.isDone():
			c.outcome = failed(context.Canceled)
			if c.flight != nil {
				m.leave(c, c.flight)
				m.settle()
			}
		}
	}
}

func (m *model) leave(c *call, f *flight) {
	f.calls = slices.DeleteFunc(f.calls, func(other *call) bool { return other == c })
	switch {
	case len(f.calls) > 0:
	case f.runs != nil:
		f.abandoned = true
	default:
		m.current[f.key].next = nil // f will not begin
	}
}

// land ends the fn of f with o.
func (m *model) land(f *flight, o outcome) {
	f.landed = true
	if m.current[f.key] == f {
		m.forget(f.key, false)
	}
	for _, c := range f.calls {
		c.outcome = o
		if o.how == exited && c.method.hasChannel() {
			c.outcome = failed(singleflight.ErrGoexit)
		}
		if c.outcome.how == returned {
			c.outcome.Shared = len(f.calls) > 1
		}
	}
	m.settle()
}

// inFlight returns the flights that have begun and have not landed.
func (m *model) inFlight() []*flight {
	return slices.DeleteFunc(slices.Clone(m.flights), func(f *flight) bool { return f.landed })
}

// list returns what InFlight shows: the keys, callers, states and contexts.
func (m *model) list() (all []string) {
	for _, f := range m.inFlight() {
		state := singleflight.Flying
		switch {
		case f.abandoned:
			state = singleflight.Abandoned
		case m.current[f.key] != f:
			state = singleflight.Forgotten
		}
		all = append(all, fmt.Sprintln(f.key, len(f.calls), state, f.runs.context()))
		if f.next != nil {
			all = append(all, fmt.Sprintln(f.key, len(f.next.calls), singleflight.Waiting, nil))
		}
	}
	slices.Sort(all)
	return all
}

// context returns what a context with the values of c's shows, or nil if c has none.
func (c *call) context() any {
	if c.method.isPlain() {
		return nil
	}
	return c.number
}

// A view is what can be seen of a call.
type view struct {
	outcome
	runs int // of its fn

	// Of the context that its fn got, if any:
	values     any
	err, cause error
}

func (c *call) view() view {
	v := view{outcome: c.outcome}
	if c.flight != nil && c.flight.runs == c {
		v.runs, v.values = 1, c.context()
		if c.flight.abandoned {
			v.err, v.cause = context.Canceled, singleflight.ErrAbandoned
		}
	}
	return v
}

// A program is the steps so far, and their effects on the model and on the groups.
type program struct {
	model
	sides   []*side
	keys    []string
	leavers bool // all calls may leave
	watched bool // InFlight and Wait, which start an owner, are called after every step
}

func runProgram(t *rapid.T, keys []string) {
	p := &program{keys: keys, model: model{current: map[string]*flight{}}, sides: []*side{
		{name: "Group", group: new(singleflight.Group)},
		{name: "Sharded", group: new(singleflight.Sharded)},
		{name: "observe.Group", group: new(observe.Group)},
		{name: "observe.Sharded", group: new(observe.Sharded)},
	}}
	defer p.stop() // even if rapid panics because a check has failed
	p.leavers, p.watched = oneIn(t, 5, "leavers"), oneIn(t, 2, "watched")
	steps := []func(*rapid.T){ // some are more probable
		p.drawCall, p.drawEnd, p.drawEnd, p.drawForget, p.drawLanding, p.drawWait,
		p.drawCallInside, p.drawCallInside, p.drawCallInside, p.drawCallInside, p.drawCallInside,
	}
	if oneIn(t, 5, "often at rest") {
		keys = nil
		steps = append(steps, p.drawLanding, p.drawLanding, p.drawLanding, p.drawLanding, p.drawLanding)
	}
	for _, key := range keys { // most rules are about flights that calls wait for
		if oneIn(t, 2, "behind an abandoned flight") {
			c := &call{method: doContext, key: key, cancel: true}
			p.call(t, c)
			p.end(t, c)
		}
		p.drawCallOf(t, key, nil)
	}
	t.Repeat(map[string]func(*rapid.T){"step": func(t *rapid.T) { draw(t, "step", steps)(t) }})
	for len(p.inFlight()) > 0 {
		p.land(t, p.inFlight()[0], outcome{how: returned})
	}
	for _, c := range p.calls { // too late
		p.end(t, c)
	}
}

func oneIn(t *rapid.T, n int, label string) bool { return rapid.IntRange(1, n).Draw(t, label) == 1 }

// draw draws one of all.
func draw[T any](t *rapid.T, label string, all []T) T {
	if len(all) == 0 {
		t.Skip("there is no " + label)
	}
	return all[rapid.IntRange(0, len(all)-1).Draw(t, label)]
}

func (p *program) drawCall(t *rapid.T) { p.drawCallOf(t, draw(t, "key", p.keys), nil) }

func (p *program) drawCallInside(t *rapid.T) {
	p.drawCallOf(t, draw(t, "key", p.keys), draw(t, "inside", p.fns()))
}

func (p *program) drawWait(t *rapid.T) {
	p.drawContext(t, &call{method: wait, inside: draw(t, "inside", append(p.fns(), nil))})
}

// fns returns the flights whose fn got a context. Most of them are in flight.
func (p *program) fns() []*flight {
	all := slices.Concat(p.inFlight(), p.inFlight(), p.inFlight(), p.flights)
	return slices.DeleteFunc(all, func(f *flight) bool { return f.runs.method.isPlain() })
}

func (p *program) drawCallOf(t *rapid.T, key string, inside *flight) {
	methods := []method{do, doChan, doContext, doChanContext, doFresh, doChanFresh}
	if inside != nil || p.leavers {
		methods = methods[2:]
	}
	p.drawContext(t, &call{method: draw(t, "method", methods), key: key, inside: inside})
}

// drawContext draws how the context of c is made, if it has one, and makes the call.
func (p *program) drawContext(t *rapid.T, c *call) {
	if c.inside != nil {
		c.detached = oneIn(t, 2, "detached") || c.inside.abandoned && !oneIn(t, 4, "ended")
	}
	if !c.method.isPlain() {
		c.cancel = p.leavers || !oneIn(t, 3, "without cancel")
		c.canceled = c.cancel && oneIn(t, 8, "canceled")
	}
	p.call(t, c)
}

func (p *program) call(t *rapid.T, c *call) {
	c.number = len(p.calls)
	p.model.call(c)
	p.step(t, fmt.Sprint("call ", c), func(s *side) { s.call(c) })
}

func (c *call) String() string {
	s := fmt.Sprintf("%d: %s(%s), detached: %v, cancel: %v, canceled: %v", c.number, c.method, c.key, c.detached, c.cancel, c.canceled)
	if c.inside != nil {
		s += fmt.Sprint(", inside ", c.inside.runs.number)
	}
	return s
}

func (p *program) drawEnd(t *rapid.T) {
	p.end(t, draw(t, "call", slices.DeleteFunc(slices.Clone(p.calls), func(c *call) bool {
		return c.outcome.how != pending || !c.cancel
	})))
}

func (p *program) end(t *rapid.T, c *call) {
	p.model.end(c)
	p.step(t, fmt.Sprint("cancel ", c.number), func(s *side) { s.calls[c.number].cancel(errCause) })
}

func (p *program) drawForget(t *rapid.T) {
	key, ifUnshared := draw(t, "key", p.keys), rapid.Bool().Draw(t, "ifUnshared")
	want := p.forget(key, ifUnshared)
	p.step(t, fmt.Sprintf("forget %s, ifUnshared: %v", key, ifUnshared), func(s *side) {
		if !ifUnshared {
			s.group.Forget(key)
		} else if got := s.group.ForgetUnshared(key); got != want {
			t.Fatalf("%s: ForgetUnshared(%q) = %v, want %v", s.name, key, got, want)
		}
	})
}

func (p *program) drawLanding(t *rapid.T) {
	f := draw(t, "flight", p.inFlight())
	n := f.runs.number
	endings := []outcome{
		{returned, singleflight.Result{Val: n}},
		{returned, singleflight.Result{Val: n, Err: fmt.Errorf("error of %d", n)}},
		{how: exited},
	}
	if len(f.calls) > 0 && !slices.ContainsFunc(f.calls, func(c *call) bool { return c.method.hasChannel() }) {
		endings = append(endings, outcome{panicked, singleflight.Result{Val: n}}) // else it would crash the program
	}
	p.land(t, f, draw(t, "ending", endings))
}

func (p *program) land(t *rapid.T, f *flight, o outcome) {
	p.model.land(f, o)
	p.step(t, fmt.Sprintf("land %d: %+v", f.runs.number, o), func(s *side) { s.calls[f.runs.number].land <- o })
}

// step makes a step in all groups. When all goroutines are blocked, it compares the groups
// with the model, which has made the step before.
func (p *program) step(t *rapid.T, name string, step func(*side)) {
	t.Log(name)
	for _, s := range p.sides {
		step(s)
	}
	synctest.Wait()
	for _, s := range p.sides {
		for i, c := range s.calls {
			if got, want := c.view(), p.calls[i].view(); got != want {
				t.Fatalf("%s: call %d: %+v, want %+v", s.name, i, got, want)
			}
		}
		if !p.watched {
			continue
		}
		got, want := s.list(), p.list()
		if !slices.Equal(got, want) {
			t.Fatalf("%s: in flight are %q, want %q", s.name, got, want)
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if err := s.group.Wait(ended); (err == nil) != (len(want) == 0) {
			t.Fatalf("%s: Wait = %v while %q are in flight", s.name, err, want)
		}
	}
}

// stop lets all goroutines return.
func (p *program) stop() {
	for _, s := range p.sides {
		for _, c := range s.calls {
			close(c.land)
			c.cancel(nil)
		}
	}
}

// A side is a group, and what can be seen of the calls to it.
type side struct {
	name  string
	group interface {
		Do(string, func() (any, error)) (any, error, bool)
		DoChan(string, func() (any, error)) <-chan singleflight.Result
		DoContext(context.Context, string, func(context.Context) (any, error)) (any, error, bool)
		DoChanContext(context.Context, string, func(context.Context) (any, error)) <-chan singleflight.Result
		DoFresh(context.Context, string, func(context.Context) (any, error)) (any, error, bool)
		DoChanFresh(context.Context, string, func(context.Context) (any, error)) <-chan singleflight.Result
		Forget(string)
		ForgetUnshared(string) bool
		InFlight() []singleflight.Flight
		Wait(context.Context) error
	}
	calls []*sideCall
}

type sideCall struct {
	outcome outcome
	results <-chan singleflight.Result
	cancel  context.CancelCauseFunc
	land    chan outcome // which fn ends with
	runs    int
	context context.Context // that fn got
}

// number is the key of a call's number in its context.
type number struct{}

// errCause is the cause of all cancellations.
var errCause = errors.New("a cause, which no call returns")

func (s *side) call(c *call) {
	made := &sideCall{cancel: func(error) {}, land: make(chan outcome, 1)}
	s.calls = append(s.calls, made)
	ctx := context.Background()
	if c.inside != nil {
		ctx = s.calls[c.inside.runs.number].context
	}
	if c.detached {
		ctx = context.WithoutCancel(ctx)
	}
	ctx = context.WithValue(ctx, number{}, c.number)
	if c.cancel {
		ctx, made.cancel = context.WithCancelCause(ctx)
	}
	if c.canceled {
		made.cancel(errCause)
	}
	go func() {
		o := outcome{how: exited}
		defer func() {
			if err, ok := recover().(*singleflight.PanicError); ok {
				o = outcome{panicked, singleflight.Result{Val: err.Value}}
			}
			made.outcome = o
		}()
		end := returned
		switch c.method {
		case do:
			o.Val, o.Err, o.Shared = s.group.Do(c.key, made.fn)
		case doContext:
			o.Val, o.Err, o.Shared = s.group.DoContext(ctx, c.key, made.fnWith)
		case doFresh:
			o.Val, o.Err, o.Shared = s.group.DoFresh(ctx, c.key, made.fnWith)
		case doChan:
			made.results, end = s.group.DoChan(c.key, made.fn), pending
		case doChanContext:
			made.results, end = s.group.DoChanContext(ctx, c.key, made.fnWith), pending
		case doChanFresh:
			made.results, end = s.group.DoChanFresh(ctx, c.key, made.fnWith), pending
		case wait:
			o.Err = s.group.Wait(ctx)
		}
		o.how = end
	}()
}

func (c *sideCall) fnWith(ctx context.Context) (any, error) {
	c.context = ctx
	return c.fn()
}

func (c *sideCall) fn() (any, error) {
	c.runs++
	o := <-c.land
	switch o.how {
	case panicked:
		panic(o.Val)
	case exited:
		runtime.Goexit()
	}
	return o.Val, o.Err
}

func (c *sideCall) view() view {
	select {
	case r, ok := <-c.results:
		if !ok || c.outcome.how != pending {
			r.Err = errors.New("the channel is closed, or has received twice")
		}
		c.outcome = outcome{returned, r}
	default:
	}
	v := view{outcome: c.outcome, runs: c.runs}
	if c.context != nil {
		v.values, v.err, v.cause = c.context.Value(number{}), c.context.Err(), context.Cause(c.context)
	}
	return v
}

func (s *side) list() (all []string) {
	for _, f := range s.group.InFlight() {
		var values any
		if f.Context != nil {
			values = f.Context.Value(number{})
		}
		all = append(all, fmt.Sprintln(f.Key, f.Callers, f.State, values))
	}
	slices.Sort(all)
	return all
}

// keysOfOneShard returns n keys that belong to one shard of any Sharded: only there are
// circles detected.
func keysOfOneShard(t *testing.T, n int) (keys []string) {
	synctest.Test(t, func(t *testing.T) {
		s := new(singleflight.Sharded)
		call := func(ctx context.Context, key string, fn func(context.Context) (any, error)) (any, error) {
			v, err, _ := s.DoContext(ctx, key, fn)
			return v, err
		}
		for i := 0; len(keys) < n && i < 1000*n; i++ {
			key := strconv.Itoa(i)
			_, err := call(t.Context(), "0", func(ctx context.Context) (any, error) {
				return call(ctx, key, func(ctx context.Context) (any, error) {
					ctx, cancel := context.WithTimeout(ctx, time.Second) // when all goroutines are blocked
					defer cancel()
					return call(ctx, "0", func(context.Context) (any, error) { return nil, nil })
				})
			})
			if errors.Is(err, singleflight.ErrDeadlock) {
				keys = append(keys, key)
			}
		}
	})
	if len(keys) < n {
		t.Fatal("no circle is detected")
	}
	return keys
}
