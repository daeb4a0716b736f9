// Package scenario has the scenarios of command trace, which builds the library for them so
// that it notes what it does.
package scenario

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/actorflight/singleflight"
	"github.com/actorflight/singleflight/tour/trace/record"
)

var scenarios = map[string]func(s *stage){
	// Two calls meet.
	"meet": func(s *stage) {
		s.do("A")
		s.do("B")
		s.land("A")
	},
	// The lone leader lands while a second caller comes.
	"race": func(s *stage) {
		s.do("A")
		proceed := record.Hold("B")
		s.do("B") // up to its activation
		s.land("A")
		s.then(proceed)
		s.land("B")
	},
	// One call leaves. The leave of another comes after the landing.
	"leave": func(s *stage) {
		cancelA, cancelB := s.doContext("A"), s.doContext("B")
		s.then(cancelA)
		proceed := record.Hold("B")
		s.then(cancelB) // up to its claim
		s.land("A")
		s.then(proceed)
	},
	// A flight is forgotten, and lands after the next has begun.
	"forget": func(s *stage) {
		s.do("A")
		s.forget("B")
		s.do("C")
		s.land("A")
		s.land("C")
	},
	// All callers leave, and the next one waits for the end of fn.
	"abandon": func(s *stage) {
		cancel := s.doContext("A")
		s.then(cancel)
		s.do("B")
		s.land("A")
		s.land("B")
	},
	// A fresh call waits for the end of fn, and another call joins the flight meanwhile.
	"fresh": func(s *stage) {
		s.doContext("A")
		s.doFresh("B")
		s.do("C")
		s.land("A")
		s.land("B")
	},
}

var scenario = flag.String("scenario", "", "which one TestScenario plays")

func TestScenario(t *testing.T) {
	if *scenario == "" {
		t.Skip("command trace runs this")
	}
	play, ok := scenarios[*scenario]
	if !ok {
		t.Fatalf("no scenario %q", *scenario)
	}
	synctest.Test(t, func(*testing.T) {
		play(&stage{gates: make(map[string]chan struct{}), returned: make(chan [2]string, 10)})
	})
	fmt.Print(record.Table())
}

// A stage is where goroutines with names use one Group.
type stage struct {
	group    singleflight.Group
	gates    map[string]chan struct{} // where the functions wait
	returned chan [2]string           // who, and with what
}

// then does something, waits until nothing else happens, and notes which calls have returned.
func (s *stage) then(do func()) {
	do()
	time.Sleep(time.Second)
	synctest.Wait()
	returned := make(map[string]string)
	for len(s.returned) > 0 {
		r := <-s.returned
		returned[r[0]] = r[1]
	}
	for _, who := range []string{"A", "B", "C"} {
		if how, ok := returned[who]; ok {
			record.AddFor(who, "returns"+how)
		}
	}
}

func (s *stage) goroutine(who string, call func() (how string)) {
	s.then(func() {
		go func() {
			record.Name(who)
			s.returned <- [2]string{who, call()}
		}()
	})
}

// fn is the function of a call. Its value is the name of the caller.
func (s *stage) fn(who string) func(context.Context) (any, error) {
	gate := make(chan struct{})
	s.gates[who] = gate
	return func(ctx context.Context) (any, error) {
		time.Sleep(time.Nanosecond) // in a bubble: until all other goroutines wait
		record.Add("", "runs the fn of "+who)
		select {
		case <-gate:
		case <-ctx.Done():
			record.Add("", fmt.Sprint("its context ends: ", context.Cause(ctx)))
			<-gate
		}
		record.Add("", "fn has ended")
		return who, nil
	}
}

// land lets the fn of a call end.
func (s *stage) land(who string) { s.then(func() { close(s.gates[who]) }) }

func (s *stage) do(who string) {
	fn := s.fn(who)
	s.goroutine(who, func() string {
		return how(s.group.Do("k", func() (any, error) { return fn(context.Background()) }))
	})
}

func (s *stage) doContext(who string) (cancel func()) { return s.mayLeave(who, s.group.DoContext) }
func (s *stage) doFresh(who string)                   { s.mayLeave(who, s.group.DoFresh) }

func (s *stage) mayLeave(who string, do func(context.Context, string, func(context.Context) (any, error)) (any, error, bool)) (cancel func()) {
	ctx, cancel := context.WithCancel(context.Background())
	fn := s.fn(who)
	s.goroutine(who, func() string { return how(do(ctx, "k", fn)) })
	return cancel
}

func (s *stage) forget(who string) {
	s.goroutine(who, func() string {
		s.group.Forget("k")
		return ""
	})
}

func how(v any, err error, shared bool) string {
	switch {
	case errors.Is(err, context.Canceled):
		return ": context canceled"
	case shared:
		return fmt.Sprintf(" %v's result, shared", v)
	}
	return fmt.Sprintf(" %v's result", v)
}
