package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/actorflight/singleflight"
	lock "github.com/actorflight/singleflight/tour/1-lock"
	monitor "github.com/actorflight/singleflight/tour/2-monitor"
	leader "github.com/actorflight/singleflight/tour/3-leader"
	claims "github.com/actorflight/singleflight/tour/4-claims"
	alone "github.com/actorflight/singleflight/tour/5-alone"
)

// A group is what all steps have.
type group interface {
	Do(key string, fn func() (any, error)) (any, error)
	Forget(key string)
}

// A library is the library as a group.
type library struct{ singleflight.Group }

func (l *library) Do(key string, fn func() (any, error)) (any, error) {
	v, err, _ := l.Group.Do(key, fn)
	return v, err
}

type step struct {
	name string
	make func() group
	zero func() group
}

var steps = []step{
	{"1-lock", func() group { return new(lock.Group) }, func() group { return new(lock.Group) }},
	{"2-monitor", func() group { return monitor.New() }, func() group { return new(monitor.Group) }},
	{"3-leader", func() group { return leader.New() }, func() group { return new(leader.Group) }},
	{"4-claims", func() group { return new(claims.Group) }, func() group { return new(claims.Group) }},
	{"5-alone", func() group { return new(alone.Group) }, func() group { return new(alone.Group) }},
	{"library", func() group { return new(library) }, func() group { return new(library) }},
}

// A promise is a row of the table. Its test passes if the step keeps it. If not, the test
// says what happens instead; or it hangs, leaks, or kills the process.
type promise struct {
	name string // of the test: go test -run Promise/name -steps 1-lock
	text string
	test func(t *testing.T, s step)
}

var promises = []promise{
	{"share", "calls that meet share one execution and its result", inBubble(share)},
	{"once", "a key has one function at a time", once},
	{"newer", "a caller that has a result never gets that result again", newer},
	{"slow", "a slow function keeps no other key waiting", inBubble(slow)},
	{"nested", "a function may call Do with another key", inBubble(nested)},
	{"forget", "after Forget, no call joins the flight in progress", inBubble(forget)},
	{"next", "a forgotten flight that lands does not disturb the next one", inBubble(next)},
	{"panic", "a panic of fn is raised in every caller", inBubble(panics)},
	{"goexit", "Goexit in fn ends every caller's goroutine", inBubble(exits)},
	{"caller", "fn runs in the goroutine of a caller", inBubble(caller)},
	{"zero", "the zero Group is ready for use", zero},
	{"rest", "no goroutine is left when all calls have returned", rest},
	{"memory", "many keys at once leave no memory behind", memory},
	{"bubble", "a Group works in a bubble after use outside", bubble},
	{"alone", "a call that meets no other needs no other goroutine", lone},
	{"leave", "a caller can leave when its context ends", inBubble(leave)},
}

var only = flag.String("steps", "", "which steps TestPromise tries: a regular expression")

// TestPromise without -steps tries what keeps all promises.
func TestPromise(t *testing.T) {
	for _, p := range promises {
		t.Run(p.name, func(t *testing.T) {
			for _, s := range steps {
				if *only == "" && s.name != "library" && (s.name != "5-alone" || p.name == "leave") {
					continue
				}
				if regexp.MustCompile(*only).MatchString(s.name) {
					t.Run(s.name, func(t *testing.T) { p.test(t, s) })
				}
			}
		})
	}
}

// instead says what happens where a promise is not kept.
func instead(t *testing.T, what string) {
	t.Helper()
	t.Error("instead: " + what)
}

// inBubble runs test in a bubble, where synctest detects a test that hangs.
func inBubble(test func(t *testing.T, g group)) func(t *testing.T, s step) {
	return func(t *testing.T, s step) {
		synctest.Test(t, func(t *testing.T) {
			g := s.make()
			test(t, g)
			end(g)
		})
	}
}

// end closes g if it is of a step that needs it.
func end(g group) {
	if c, ok := g.(interface{ Close() }); ok {
		c.Close()
	}
}

// start makes a call and returns a channel that will receive how it ended: the value, what it
// panicked with, or "exited".
func start(g group, key string, fn func() (any, error)) <-chan any {
	ended := make(chan any, 1)
	go func() {
		var how any = "exited"
		defer func() {
			if v := recover(); v != nil {
				how = v
			}
			ended <- how
		}()
		how, _ = g.Do(key, fn)
	}()
	return ended
}

// began is start in a bubble: when it returns, the call waits or has ended.
func began(g group, key string, fn func() (any, error)) <-chan any {
	ended := start(g, key, fn)
	synctest.Wait()
	return ended
}

// value returns a function that counts its executions.
func value(v any, executions *int) func() (any, error) {
	return func() (any, error) {
		*executions++
		return v, nil
	}
}

// after returns a function that waits for gate.
func after(gate <-chan struct{}, fn func() (any, error)) func() (any, error) {
	return func() (any, error) {
		<-gate
		return fn()
	}
}

func share(t *testing.T, g group) {
	gate, executions := make(chan struct{}), 0
	var calls []<-chan any
	for range 100 {
		calls = append(calls, began(g, "key", after(gate, value("v", &executions))))
	}
	close(gate)
	for _, ended := range calls {
		if how := <-ended; how != "v" {
			t.Error("a call ends with", how)
		}
	}
	if executions != 1 {
		instead(t, "runs twice")
	}
}

// storm makes calls on many goroutines, and then on two, which meet in fewer ways but find
// the Group at rest more often.
func storm(g group, fn func(key int) (any, error), got func(goroutine, key int, v any)) {
	for _, goroutines := range []int{32, 2} {
		var wg sync.WaitGroup
		for i := range goroutines {
			wg.Go(func() {
				for n := range 20_000 / goroutines {
					key := (i + n) % 2
					v, _ := g.Do(strconv.Itoa(key), func() (any, error) { return fn(key) })
					got(i, key, v)
				}
			})
		}
		wg.Wait()
	}
}

func once(t *testing.T, s step) {
	var running [2]atomic.Int32
	var twice atomic.Bool
	g := s.make()
	defer end(g)
	storm(g, func(key int) (any, error) {
		if running[key].Add(1) > 1 {
			twice.Store(true)
		}
		runtime.Gosched()
		running[key].Add(-1)
		return nil, nil
	}, func(int, int, any) {})
	if twice.Load() {
		instead(t, "runs twice")
	}
}

func newer(t *testing.T, s step) {
	var executions atomic.Int64
	var last [32][2]int64
	var old atomic.Bool
	g := s.make()
	defer end(g)
	storm(g, func(int) (any, error) { return executions.Add(1), nil }, func(goroutine, key int, v any) {
		if v.(int64) <= last[goroutine][key] {
			old.Store(true)
		}
		last[goroutine][key] = v.(int64)
	})
	if old.Load() {
		instead(t, "gets it again")
	}
}

func slow(_ *testing.T, g group) {
	gate, executions := make(chan struct{}), 0
	ended := began(g, "slow", after(gate, value(nil, &executions)))
	<-began(g, "other", value(nil, &executions))
	close(gate)
	<-ended
}

func nested(t *testing.T, g group) {
	executions := 0
	if how := <-began(g, "outer", func() (any, error) { return g.Do("inner", value("v", &executions)) }); how != "v" {
		t.Error("the call ends with", how)
	}
}

func forget(t *testing.T, g group) {
	gate, executions := make(chan struct{}), 0
	first := began(g, "key", after(gate, value("old", &executions)))
	g.Forget("key")
	second := began(g, "key", value("new", &executions))
	if how := <-second; how != "new" {
		instead(t, "joins the old flight")
	}
	close(gate)
	<-first
}

func next(t *testing.T, g group) {
	gate1, gate2, executions := make(chan struct{}), make(chan struct{}), 0
	first := began(g, "key", after(gate1, value(1, &executions)))
	g.Forget("key")
	second := began(g, "key", after(gate2, value(2, &executions)))
	close(gate1)
	<-first
	third := began(g, "key", after(gate2, value(3, &executions)))
	close(gate2)
	<-second
	<-third
	if executions == 3 {
		instead(t, "runs twice")
	}
}

func panics(t *testing.T, g group) {
	allEnd(t, g, func() (any, error) { panic("boom") }, "boom")
}

func exits(t *testing.T, g group) {
	allEnd(t, g, func() (any, error) { runtime.Goexit(); return nil, nil }, "exited")
}

// allEnd checks that both calls of a flight end in a way, and the key is free then.
func allEnd(t *testing.T, g group, fn func() (any, error), way string) {
	gate, executions := make(chan struct{}), 0
	first := began(g, "key", after(gate, fn))
	second := began(g, "key", value(nil, &executions))
	close(gate)
	for _, ended := range []<-chan any{first, second, began(g, "key", fn)} {
		if how := fmt.Sprint(<-ended); !strings.HasPrefix(how, way) {
			t.Error("a call ends with", how)
		}
	}
}

func caller(t *testing.T, g group) {
	id := func() (any, error) {
		stack := make([]byte, 64)
		return string(bytes.Fields(stack[:runtime.Stack(stack, false)])[1]), nil
	}
	here, _ := id()
	if there, _ := g.Do("key", id); there != here {
		instead(t, "runs in another")
	}
}

func zero(t *testing.T, s step) {
	inBubble(share)(t, step{make: s.zero})
}

// rest closes nothing. synctest reports a goroutine that is left in the bubble.
func rest(t *testing.T, s step) {
	synctest.Test(t, func(t *testing.T) { share(t, s.make()) })
}

func memory(t *testing.T, s step) {
	var kept [2]group
	var used [2]uint64
	for i := range used { // the second time, the runtime has what it needs itself
		kept[i] = s.make()
		const keys = 5000
		var burst func(n int) (any, error)
		burst = func(n int) (any, error) {
			if n == keys {
				return nil, nil
			}
			return kept[i].Do(strconv.Itoa(n), func() (any, error) { return burst(n + 1) })
		}
		burst(0)
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		used[i] = m.HeapAlloc
		defer end(kept[i])
	}
	if used[1] > used[0]+100<<10 {
		instead(t, "keeps the map")
	}
	runtime.KeepAlive(&kept)
}

func bubble(t *testing.T, s step) {
	g := s.make()
	defer end(g)
	meet := func() {
		met, executions := make(chan struct{}), 0
		leads := start(g, "key", func() (any, error) {
			close(met)
			return g.Do("other", value(nil, &executions))
		})
		<-met
		g.Do("key", value(nil, &executions))
		<-leads
	}
	for range 10 {
		meet()
		outside := make(chan struct{})
		synctest.Test(t, func(*testing.T) {
			// While a goroutine waits for something outside, synctest reports no
			// deadlock, which would come at the same time as the crash.
			go func() { <-outside }()
			meet()
			close(outside)
		})
	}
}

func lone(t *testing.T, s step) {
	before, during := runtime.NumGoroutine(), 0
	g := s.make()
	defer end(g)
	g.Do("key", func() (any, error) {
		during = runtime.NumGoroutine()
		return nil, nil
	})
	if during > before {
		instead(t, "needs one")
	}
}

func leave(t *testing.T, g group) {
	gate, executions := make(chan struct{}), 0
	first := began(g, "key", after(gate, value(nil, &executions)))
	ctx, cancel := context.WithCancel(t.Context())
	returned := make(chan struct{})
	go func() {
		defer close(returned)
		if l, ok := g.(*library); ok {
			l.DoContext(ctx, "key", func(context.Context) (any, error) { return nil, nil })
		} else {
			g.Do("key", value(nil, &executions))
		}
	}()
	synctest.Wait()
	cancel()
	synctest.Wait()
	select {
	case <-returned:
	default:
		instead(t, "waits")
	}
	close(gate)
	<-first
	<-returned
}
