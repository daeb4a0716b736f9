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

// TestDifferential runs random programs, step by step, against x/sync, against
// this library, and against a model small enough to be read. After every step
// all must show the same.
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
		defer p.end() // rapid may also leave from within, when something is wrong
		t.Repeat(map[string]func(*rapid.T){
			"":               p.check,
			"do":             func(t *rapid.T) { p.call(drawKey(t), false, false) },
			"doChan":         func(t *rapid.T) { p.call(drawKey(t), true, rapid.Bool().Draw(t, "abandoned")) },
			"forget":         func(t *rapid.T) { p.forget(drawKey(t)) },
			"forgetUnshared": func(t *rapid.T) { p.forgetUnshared(t, drawKey(t)) },
			"land":           p.drawLanding,
		})
		for len(p.inAir) > 0 {
			p.land(p.inAir[0], "value")
			p.check(t)
		}
	})
}

func drawKey(t *rapid.T) string { return rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "key") }

// A program is what has been done, and the model of what it should lead to.
type program struct {
	calls   []*modelCall
	inAir   []*flight
	current map[string]*flight // those that can be joined
	sides   []*side
}

type flight struct {
	key    string
	leader int // an index of program.calls
	calls  []*modelCall
}

type modelCall struct {
	doChan    bool
	abandoned bool // nobody will receive from its channel
	leads     bool
	shows     string // what can be seen of it
	xsync     string // what can be seen of it in x/sync, if that is different
}

const (
	waiting     = "waiting"
	nameOfXSync = "x/sync"
)

func (p *program) call(key string, doChan, abandoned bool) {
	c := &modelCall{doChan: doChan, abandoned: abandoned, shows: waiting}
	f := p.current[key]
	if f == nil {
		f = &flight{key: key, leader: len(p.calls)}
		p.current[key] = f
		p.inAir = append(p.inAir, f)
		c.leads = true
	}
	f.calls = append(f.calls, c)
	for _, s := range p.sides {
		s.call(key, len(p.calls), doChan, abandoned)
	}
	p.calls = append(p.calls, c)
}

func (p *program) forget(key string) {
	delete(p.current, key)
	for _, s := range p.sides {
		s.group.Forget(key)
	}
}

func (p *program) forgetUnshared(t *rapid.T, key string) {
	f := p.current[key]
	free := f == nil || len(f.calls) == 1
	if free {
		delete(p.current, key)
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

func (p *program) drawLanding(t *rapid.T) {
	if len(p.inAir) == 0 {
		return
	}
	f := rapid.SampledFrom(p.inAir).Draw(t, "flight")
	endings := []string{"value", "error", "goexit"}
	if !slices.ContainsFunc(f.calls, func(c *modelCall) bool { return c.doChan }) {
		endings = append(endings, "panic") // with a DoChan, it would crash the program
	}
	p.land(f, rapid.SampledFrom(endings).Draw(t, "ending"))
}

func (p *program) land(f *flight, ending string) {
	p.inAir = slices.DeleteFunc(p.inAir, func(other *flight) bool { return other == f })
	if p.current[f.key] == f {
		delete(p.current, f.key)
	}
	shared := len(f.calls) > 1
	for _, c := range f.calls {
		switch ending {
		case "value":
			c.shows = fmt.Sprint(f.leader, nil, shared)
		case "error":
			c.shows = fmt.Sprint(nil, errOf(f.leader), shared)
		case "panic":
			c.shows = fmt.Sprint("panic: ", f.leader)
		case "goexit":
			c.shows = "exited"
			if c.doChan {
				// The one known difference: x/sync leaves them waiting.
				c.shows, c.xsync = fmt.Sprint(nil, singleflight.ErrGoexit, shared), waiting
			}
		}
		if c.abandoned {
			c.shows = "delivered"
		}
	}
	for _, s := range p.sides {
		s.calls[f.leader].land <- ending
	}
}

// end lets all goroutines go.
func (p *program) end() {
	for len(p.inAir) > 0 {
		p.land(p.inAir[0], "value")
	}
	for _, s := range p.sides {
		close(s.over)
	}
}

func errOf(call int) error { return fmt.Errorf("error of %d", call) }

// check waits until nothing moves any more, and then compares.
func (p *program) check(t *rapid.T) {
	synctest.Wait()
	for _, s := range p.sides {
		p.checkInFlight(t, s)
		for i, c := range p.calls {
			want := c.shows
			if s.name == nameOfXSync && c.xsync != "" {
				want = c.xsync
			}
			if got := s.calls[i].shows(); got != want {
				t.Fatalf("%s: call %d shows %q, want %q", s.name, i, got, want)
			}
			if got := s.calls[i].ran > 0; got != c.leads || s.calls[i].ran > 1 {
				t.Fatalf("%s: call %d ran fn %d times, want: %v", s.name, i, s.calls[i].ran, c.leads)
			}
		}
	}
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
	for _, f := range p.inAir {
		state := singleflight.Forgotten
		if p.current[f.key] == f {
			state = singleflight.Flying
		}
		want = append(want, fmt.Sprint(f.key, len(f.calls), state))
	}
	for _, f := range inspected.InFlight() {
		got = append(got, fmt.Sprint(f.Key, f.Callers, f.State))
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
	doChan func(string, func() (any, error)) channel
	calls  []*sideCall
	over   chan struct{} // closed when nobody need wait any longer
}

// A channel is a DoChan channel of any result type.
type channel struct {
	receive func() string
	len     func() int
}

type sideCall struct {
	ran   int
	land  chan string // how fn is to end
	shows func() string
}

// newSide takes either implementation: their result types differ in name only.
func newSide[R ~struct {
	Val    any
	Err    error
	Shared bool
}](name string, group interface {
	Do(string, func() (any, error)) (any, error, bool)
	DoChan(string, func() (any, error)) <-chan R
	Forget(string)
}) *side {
	s := &side{name: name, group: group, over: make(chan struct{})}
	s.doChan = func(key string, fn func() (any, error)) channel {
		results := group.DoChan(key, fn)
		return channel{
			len: func() int { return len(results) },
			receive: func() string {
				select {
				case r := <-results:
					result := singleflight.Result(r)
					return fmt.Sprint(result.Val, result.Err, result.Shared)
				case <-s.over:
					return waiting
				}
			},
		}
	}
	return s
}

func (s *side) call(key string, i int, doChan, abandoned bool) {
	c := &sideCall{land: make(chan string, 1)}
	s.calls = append(s.calls, c)
	fn := func() (any, error) {
		c.ran++
		switch <-c.land {
		case "error":
			return nil, errOf(i)
		case "panic":
			panic(i)
		case "goexit":
			runtime.Goexit()
		}
		return i, nil
	}
	if doChan && abandoned {
		results := s.doChan(key, fn)
		c.shows = func() string {
			if results.len() == 0 {
				return waiting
			}
			return "delivered"
		}
		return
	}

	shown := waiting
	c.shows = func() string { return shown }
	if doChan {
		results := s.doChan(key, fn)
		go func() { shown = results.receive() }()
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
		v, err, shared := s.group.Do(key, fn)
		outcome = fmt.Sprint(v, err, shared)
	}()
}
