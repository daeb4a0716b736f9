package singleflight

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"runtime/pprof"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// This file has what several tests use.
//
// Most tests run in a synctest bubble, where synctest.Wait returns once all goroutines
// but the test's are blocked. A call whose fn has not begun by then waits for another's.

// A group is a GroupOf or a ShardedOf.
type group[K comparable, V any] interface {
	Do(K, func() (V, error)) (V, error, bool)
	DoChan(K, func() (V, error)) <-chan ResultOf[V]
	DoContext(context.Context, K, func(context.Context) (V, error)) (V, error, bool)
	DoChanContext(context.Context, K, func(context.Context) (V, error)) <-chan ResultOf[V]
	DoFresh(context.Context, K, func(context.Context) (V, error)) (V, error, bool)
	DoChanFresh(context.Context, K, func(context.Context) (V, error)) <-chan ResultOf[V]
	Forget(K)
	ForgetUnshared(K) bool
	InFlight() []FlightOf[K]
	Wait(context.Context) error

	of(K) *GroupOf[K, V] // the group that has the key
	all() []*GroupOf[K, V]
}

func (g *GroupOf[K, V]) of(K) *GroupOf[K, V] { return g }

func (g *GroupOf[K, V]) all() []*GroupOf[K, V] { return []*GroupOf[K, V]{g} }

func (s *ShardedOf[K, V]) all() (all []*GroupOf[K, V]) {
	for i := range s.shards {
		all = append(all, &s.shards[i].GroupOf)
	}
	return all
}

// onBoth runs test with a Group and with a Sharded.
func onBoth[K comparable, V any](t *testing.T, test func(*testing.T, group[K, V])) {
	t.Run("Group", func(t *testing.T) { test(t, new(GroupOf[K, V])) })
	t.Run("Sharded", func(t *testing.T) { test(t, new(ShardedOf[K, V])) })
}

// withAndWithoutOwner runs test with groups at rest, whose first call needs no owner, and
// with groups whose owners are kept alive by flights of the other key. Afterwards
// the group must be at rest at once.
func withAndWithoutOwner[K comparable, V any](t *testing.T, other K, test func(*testing.T, group[K, V])) {
	onBoth(t, func(t *testing.T, g group[K, V]) {
		t.Run("at rest", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				test(t, g)
				synctest.Wait()
				requireRest(t, g)
			})
		})
		t.Run("owner alive", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				gate := make(chan struct{})
				var landed []<-chan ResultOf[V]
				for _, g := range g.all() {
					landed = append(landed, g.DoChan(other, func() (v V, err error) {
						<-gate
						return v, nil
					}))
					requireOwner(t, g)
				}
				test(t, g)
				close(gate)
				for _, results := range landed {
					<-results
				}
				synctest.Wait()
				requireRest(t, g)
			})
		})
	})
}

// requireRest must not be called while a call is in progress.
func requireRest[K comparable, V any](t *testing.T, g group[K, V]) {
	t.Helper()
	for _, g := range g.all() {
		_, ok := g.address.Claim()
		require.False(t, ok, "the group is not at rest")
	}
}

// requireOwner starts g's owner, if none runs, and returns how many flights can
// be joined.
func requireOwner[K comparable, V any](t *testing.T, g *GroupOf[K, V]) (flights int) {
	t.Helper()
	a, ok := g.address.Claim()
	require.True(t, ok, "the group is at rest")
	m := census[K, V]{make(chan int, 1)}
	a.Send(m)
	return <-m.flights
}

type census[K comparable, V any] struct{ flights chan int }

func (m census[K, V]) Handle(o *owner[K, V]) {
	n := len(stateOf(o).flights)
	release(o)
	m.flights <- n
}

// stallOwner blocks g's owner, as no message of the package does, until the
// gate is closed. Messages sent meanwhile wait in the mailbox.
func stallOwner(t *testing.T, g *Group) (gate chan struct{}) {
	t.Helper()
	a, ok := g.address.Claim()
	require.True(t, ok, "the group is at rest")
	gate = make(chan struct{})
	a.Send(stall{gate})
	return gate
}

type stall struct{ gate <-chan struct{} }

func (m stall) Handle(o *owner[string, any]) {
	<-m.gate
	release(o)
}

// An outcome is how a Do ended.
type outcome struct {
	val      any
	err      error
	shared   bool
	panicked any
	exited   bool
}

// goDo calls g.Do in a new goroutine.
func goDo(g group[string, any], key string, fn func() (any, error)) <-chan outcome {
	return goCall(func() (any, error, bool) { return g.Do(key, fn) })
}

// goCall makes a call in a new goroutine.
func goCall(call func() (any, error, bool)) <-chan outcome {
	ended := make(chan outcome, 1)
	go func() {
		o := outcome{exited: true}
		defer func() {
			if o.panicked = recover(); o.panicked != nil {
				o.exited = false
			}
			ended <- o
		}()
		o.val, o.err, o.shared = call()
		o.exited = false
	}()
	return ended
}

// behind returns fn, blocked until the gate is closed.
func behind(gate <-chan struct{}, fn func() (any, error)) func() (any, error) {
	return func() (any, error) {
		<-gate
		return fn()
	}
}

func value(v any) func() (any, error) {
	return func() (any, error) { return v, nil }
}

func never(t *testing.T) func() (any, error) {
	return func() (any, error) {
		assert.Fail(t, "fn ran")
		return nil, nil
	}
}

var errFn = errors.New("fn failed")

// endings are the ways in which fn can end, and what is promised for each.
var endings = []struct {
	name   string
	fn     func() (any, error)
	do     func(*testing.T, outcome) // what every Do does, apart from shared
	doChan *Result                   // what every channel receives; nil: a crash
}{
	{
		name:   "value",
		fn:     value("value"),
		do:     func(t *testing.T, o outcome) { assert.Equal(t, outcome{val: "value", shared: o.shared}, o) },
		doChan: &Result{Val: "value"},
	},
	{
		name: "error",
		fn:   func() (any, error) { return "partial", errFn },
		do: func(t *testing.T, o outcome) {
			assert.Equal(t, outcome{val: "partial", err: errFn, shared: o.shared}, o)
		},
		doChan: &Result{Val: "partial", Err: errFn},
	},
	{
		// An error of this package is like any other if fn returns it.
		name:   "ErrGoexit returned",
		fn:     func() (any, error) { return 1, ErrGoexit },
		do:     func(t *testing.T, o outcome) { assert.Equal(t, outcome{val: 1, err: ErrGoexit, shared: o.shared}, o) },
		doChan: &Result{Val: 1, Err: ErrGoexit},
	},
	{
		name: "PanicError returned",
		fn:   func() (any, error) { return 1, errReturned },
		do: func(t *testing.T, o outcome) {
			assert.Equal(t, outcome{val: 1, err: errReturned, shared: o.shared}, o)
		},
		doChan: &Result{Val: 1, Err: errReturned},
	},
	{
		name:   "Goexit",
		fn:     exit,
		do:     func(t *testing.T, o outcome) { assert.Equal(t, outcome{exited: true}, o) },
		doChan: &Result{Err: ErrGoexit},
	},
	{
		name:   "Goexit, and a panic on the way out",
		fn:     func() (any, error) { defer panic("too late"); return exit() },
		do:     func(t *testing.T, o outcome) { assert.Equal(t, outcome{exited: true}, o) },
		doChan: &Result{Err: ErrGoexit},
	},
	{
		name: "panic",
		fn:   panicInFn,
		do: func(t *testing.T, o outcome) {
			require.IsType(t, &PanicError{}, o.panicked)
			p := o.panicked.(*PanicError)
			assert.Equal(t, errFn, p.Value)
			assert.ErrorIs(t, p, errFn)
			assert.Contains(t, string(p.Stack), "singleflight.panicInFn(")
			assert.Regexp(t, `\ncreated by .* in goroutine \d+\n.*\n$`, string(p.Stack), "the whole stack")
			assert.NotRegexp(t, `^goroutine \d+`, string(p.Stack))
		},
	},
	{
		name: "panic with nil",
		fn:   func() (any, error) { panic(nil) },
		do: func(t *testing.T, o outcome) {
			require.IsType(t, &PanicError{}, o.panicked)
			assert.IsType(t, &runtime.PanicNilError{}, o.panicked.(*PanicError).Value)
		},
	},
}

var errReturned error = &PanicError{Value: "recovered elsewhere"}

func exit() (any, error) {
	runtime.Goexit()
	return nil, nil
}

func panicInFn() (any, error) { panic(errFn) }

// lastWords is a panic value that exits the process when the runtime asks for its
// text, just before the crash: a process that exits writes its coverage counters,
// and one that crashes loses them.
type lastWords struct{}

const lastStatus = 42

func (lastWords) Error() string {
	os.Exit(lastStatus)
	return ""
}

// inAnotherProcess runs f, which must not return, in a new process, which runs
// only t, up to this call.
func inAnotherProcess(t *testing.T, f func()) (output string, status int) {
	const variable = "SINGLEFLIGHT_TEST_PROCESS"
	if os.Getenv(variable) != "" {
		f()
		require.Fail(t, "f has returned")
	}
	exe, err := os.Executable()
	require.NoError(t, err)
	name := "^" + strings.ReplaceAll(regexp.QuoteMeta(t.Name()), "/", "$/^") + "$"
	cmd := exec.Command(exe, "-test.run="+name)
	cmd.Env = append(os.Environ(), variable+"=1", "GOTRACEBACK=all")
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit, string(out))
	return string(out), exit.ExitCode()
}

// receives returns a function that reports whether it received from c.
func receives[T any](c <-chan T) func() bool {
	return func() bool {
		select {
		case <-c:
			return true
		default:
			return false
		}
	}
}

// labels returns the profiler labels of the goroutine that calls it, as a profile shows
// them.
func labels(t *testing.T) string {
	var profile strings.Builder
	assert.NoError(t, pprof.Lookup("goroutine").WriteTo(&profile, 1))
	for record := range strings.SplitSeq(profile.String(), "\n\n") {
		if strings.Contains(record, "singleflight.labels+") {
			_, labels, _ := strings.Cut(record, "# labels: ")
			labels, _, _ = strings.Cut(labels, "\n")
			return labels
		}
	}
	assert.Fail(t, "the goroutine is not in the profile")
	return ""
}

// goroutine returns the number of the goroutine that calls it.
func goroutine() string {
	stack := make([]byte, 64)
	return string(bytes.Fields(stack[:runtime.Stack(stack, false)])[1])
}

// A job is a function that sends its context to the test when it begins, and
// returns when the test says so, even if the context has ended.
type job struct {
	begun chan context.Context
	end   chan any
}

func newJob() job { return job{make(chan context.Context, 1), make(chan any, 1)} }

func (j job) run(ctx context.Context) (any, error) {
	j.begun <- ctx
	return <-j.end, nil
}

// plain is run as the fn of a Do.
func (j job) plain() (any, error) { return j.run(context.Background()) }

func (j job) requireBegun(t *testing.T) context.Context {
	t.Helper()
	synctest.Wait()
	require.Len(t, j.begun, 1, "fn has not begun")
	return <-j.begun
}

// A contextCall makes a call, and returns its outcome.
type contextCall func(context.Context, group[string, any], func(context.Context) (any, error)) <-chan outcome

func doContext(ctx context.Context, g group[string, any], fn func(context.Context) (any, error)) <-chan outcome {
	return goCall(func() (any, error, bool) { return g.DoContext(ctx, "key", fn) })
}

func doChanContext(ctx context.Context, g group[string, any], fn func(context.Context) (any, error)) <-chan outcome {
	return received(g.DoChanContext(ctx, "key", fn))
}

func doFresh(ctx context.Context, g group[string, any], fn func(context.Context) (any, error)) <-chan outcome {
	return goCall(func() (any, error, bool) { return g.DoFresh(ctx, "key", fn) })
}

func doChanFresh(ctx context.Context, g group[string, any], fn func(context.Context) (any, error)) <-chan outcome {
	return received(g.DoChanFresh(ctx, "key", fn))
}

// received returns the result of a DoChan as the outcome of a Do.
func received(results <-chan Result) <-chan outcome {
	return goCall(func() (any, error, bool) {
		r := <-results
		return r.Val, r.Err, r.Shared
	})
}

// withContextCalls runs test with both kinds of calls that may leave and join the flight in
// progress, on groups with and without an owner.
func withContextCalls(t *testing.T, test func(*testing.T, group[string, any], contextCall)) {
	withCalls(t, only("^Do(Chan)?Context$"), test)
}

// withCalls runs test with each of calls, on groups with and without an owner.
func withCalls(t *testing.T, calls map[string]contextCall, test func(*testing.T, group[string, any], contextCall)) {
	for name, call := range calls {
		t.Run(name, func(t *testing.T) {
			withAndWithoutOwner(t, "other", func(t *testing.T, g group[string, any]) { test(t, g, call) })
		})
	}
}

func neverWith(t *testing.T) func(context.Context) (any, error) {
	fn := never(t)
	return func(context.Context) (any, error) { return fn() }
}

func valueWith(v any) func(context.Context) (any, error) {
	return func(context.Context) (any, error) { return v, nil }
}

var canceled = outcome{err: context.Canceled}

// requireReturned requires that the call has returned.
func requireReturned(t *testing.T, want outcome, ended <-chan outcome) {
	t.Helper()
	synctest.Wait()
	require.Len(t, ended, 1, "the call waits")
	require.Equal(t, want, <-ended)
}

// requireWaiting requires that no call has returned.
func requireWaiting(t *testing.T, calls ...<-chan outcome) {
	t.Helper()
	synctest.Wait()
	for i, ended := range calls {
		require.Empty(t, ended, "call %d has returned", i)
	}
}

func requireAbandoned(t *testing.T, ctx context.Context) {
	t.Helper()
	<-ctx.Done()
	require.Equal(t, context.Canceled, ctx.Err())
	require.Equal(t, ErrAbandoned, context.Cause(ctx))
}

// abandon makes a flight of "key" that all callers have left, and returns its job.
func abandon(t *testing.T, g group[string, any]) job {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	j := newJob()
	left := doContext(ctx, g, j.run)
	fn := j.requireBegun(t)
	cancel()
	require.Equal(t, canceled, <-left)
	requireAbandoned(t, fn)
	return j
}

// neverLeaving makes a call with a context that never ends.
func neverLeaving(call contextCall) contextCall {
	return func(ctx context.Context, g group[string, any], fn func(context.Context) (any, error)) <-chan outcome {
		return call(context.WithoutCancel(ctx), g, fn)
	}
}

// kinds are all calls that wait for a result.
var kinds = map[string]contextCall{
	"Do": func(_ context.Context, g group[string, any], fn func(context.Context) (any, error)) <-chan outcome {
		return goDo(g, "key", func() (any, error) { return fn(context.Background()) })
	},
	"DoChan": func(_ context.Context, g group[string, any], fn func(context.Context) (any, error)) <-chan outcome {
		return received(g.DoChan("key", func() (any, error) { return fn(context.Background()) }))
	},
	"DoContext":     doContext,
	"DoChanContext": doChanContext,
	"DoFresh":       doFresh,
	"DoChanFresh":   doChanFresh,

	"DoContext that never leaves":     neverLeaving(doContext),
	"DoChanContext that never leaves": neverLeaving(doChanContext),
	"DoFresh that never leaves":       neverLeaving(doFresh),
	"DoChanFresh that never leaves":   neverLeaving(doChanFresh),
}

// only returns those of the kinds whose names match.
func only(names string) map[string]contextCall {
	all := maps.Clone(kinds)
	match := regexp.MustCompile(names)
	maps.DeleteFunc(all, func(name string, _ contextCall) bool { return !match.MatchString(name) })
	return all
}

var (
	contextKinds = only("Context|Fresh")              // those whose fn gets a context
	joining      = only("^Do(Chan)?$|Context")        // those that join a flight in progress
	fresh        = only("Fresh")                      // the others
	staying      = only("^Do(Chan)?$|never leaves")   // those that never leave
	leaving      = only("^Do(Chan)?(Context|Fresh)$") // the others
)

// An ahead is a flight, and the calls that wait for its end.
type ahead struct {
	begin   func(*testing.T, group[string, any]) job // the flight
	state   State                                    // of the flight
	callers int                                      // of the flight
	kinds   map[string]contextCall                   // of the calls
}

// both returns the calls that are in a and in b.
func both(a, b map[string]contextCall) map[string]contextCall {
	all := maps.Clone(a)
	maps.DeleteFunc(all, func(name string, _ contextCall) bool { return b[name] == nil })
	return all
}

var aheads = map[string]ahead{
	"an abandoned flight":   {abandon, Abandoned, 0, kinds},
	"a flight of Do":        {inProgress(kinds["Do"]), Flying, 1, fresh},
	"a flight of DoContext": {inProgress(doContext), Flying, 1, fresh},
}

// inProgress returns a function that makes a flight by call, and returns its job.
func inProgress(call contextCall) func(*testing.T, group[string, any]) job {
	return func(t *testing.T, g group[string, any]) job {
		t.Helper()
		j := newJob()
		call(t.Context(), g, j.run)
		j.requireBegun(t)
		return j
	}
}

// withCallsBehind runs test with calls that may leave and wait for the end of a flight, on
// groups with and without an owner.
func withCallsBehind(t *testing.T, test func(*testing.T, group[string, any], ahead, contextCall)) {
	for name, a := range aheads {
		t.Run(name, func(t *testing.T) {
			withCalls(t, both(a.kinds, leaving), func(t *testing.T, g group[string, any], call contextCall) {
				test(t, g, a, call)
			})
		})
	}
}

// A written is a context whose Done and Err come from a test.
type written struct {
	context.Context
	done func() <-chan struct{}
	err  func() error
}

func (w written) Done() <-chan struct{} { return w.done() }
func (w written) Err() error            { return w.err() }

// derivations are the ways to derive a context that a call inside fn may be made with.
var derivations = map[string]func(*testing.T, context.Context) context.Context{
	"as it is": func(_ *testing.T, ctx context.Context) context.Context { return ctx },
	"with a value": func(_ *testing.T, ctx context.Context) context.Context {
		return context.WithValue(ctx, contextKey{}, 1)
	},
	"with a cancel": func(t *testing.T, ctx context.Context) context.Context {
		ctx, cancel := context.WithCancel(ctx)
		t.Cleanup(cancel)
		return ctx
	},
	"without a cancel": func(_ *testing.T, ctx context.Context) context.Context { return context.WithoutCancel(ctx) },
}

// endsAfterFirstCheck returns a context that is not done when a call begins, but is
// done as soon as the call waits.
func endsAfterFirstCheck() context.Context {
	done := make(chan struct{})
	close(done)
	var err error
	return written{context.Background(), func() <-chan struct{} { return done }, func() error {
		before := err
		err = context.Canceled
		return before
	}}
}

// afterStall blocks the owner of g until open is called. When step returns, the messages
// of that step are in the mailbox, so the owner handles them in the order of the steps.
func afterStall(t *testing.T, g group[string, any]) (step func(func()), open func()) {
	gate := stallOwner(t, g.of("key"))
	return func(do func()) { do(); synctest.Wait() }, func() { close(gate); synctest.Wait() }
}

// started makes a call in a new goroutine, because a blocked owner blocks those that return
// a channel, too.
func started(call contextCall, ctx context.Context, g group[string, any], fn func(context.Context) (any, error)) <-chan outcome {
	return goCall(func() (any, error, bool) {
		o := <-call(ctx, g, fn)
		return o.val, o.err, o.shared
	})
}

type blob [1 << 10]byte

// requireFreed fails if the memory that p points to is still reachable.
func requireFreed[T any](t *testing.T, p weak.Pointer[T]) {
	t.Helper()
	runtime.GC()
	require.Nil(t, p.Value(), "the memory is still reachable")
}

// inFlight returns g.InFlight without the flights that keep owners alive.
func inFlight(g group[string, any]) (flights []Flight) {
	for _, f := range g.InFlight() {
		if f.Key != "other" {
			flights = append(flights, f)
		}
	}
	return flights
}

// contextsThatEnd are contexts whose calls return err when they end.
var contextsThatEnd = map[string]struct {
	begin func(*testing.T) (ctx context.Context, end func())
	err   error
}{
	"canceled": {func(t *testing.T) (context.Context, func()) {
		ctx, cancel := context.WithCancel(t.Context())
		return ctx, cancel
	}, context.Canceled},
	"canceled with a cause": {func(t *testing.T) (context.Context, func()) {
		ctx, cancel := context.WithCancelCause(t.Context())
		return ctx, func() { cancel(errFn) }
	}, context.Canceled},
	"timed out with a cause": {func(t *testing.T) (context.Context, func()) {
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Minute, errFn)
		t.Cleanup(cancel)
		return ctx, func() { <-ctx.Done() }
	}, context.DeadlineExceeded},
	"done, with an error of its own": {func(t *testing.T) (context.Context, func()) {
		ctx, cancel := context.WithCancel(t.Context())
		return written{ctx, ctx.Done, func() error {
			if ctx.Err() != nil {
				return errFn
			}
			return nil
		}}, cancel
	}, errFn},
	"done, without an error": {func(t *testing.T) (context.Context, func()) {
		ctx, cancel := context.WithCancel(t.Context())
		return written{ctx, ctx.Done, func() error { return nil }}, cancel
	}, context.Canceled},
}

// A panics is a context one of whose methods panics with its name.
type panics struct {
	context.Context
	method *string
}

func panicking(ctx context.Context, method string) context.Context { return panics{ctx, &method} }

func (p panics) in(method string) {
	if *p.method == method {
		panic(method)
	}
}

func (p panics) Value(key any) any     { p.in("Value"); return p.Context.Value(key) }
func (p panics) Done() <-chan struct{} { p.in("Done"); return p.Context.Done() }
func (p panics) Err() error            { p.in("Err"); return p.Context.Err() }

type contextKey struct{}

// goWait calls g.Wait in a new goroutine.
func goWait(ctx context.Context, g group[string, any]) <-chan error {
	ended := make(chan error, 1)
	go func() { ended <- g.Wait(ctx) }()
	return ended
}

// newCall returns a call that never leaves, to be sent in a do. results is nil unless it is
// a DoChan.
func newCall(key string, results chan Result) *call[string, any] {
	return &call[string, any]{flight: flight[string, any]{key: key, answers: newAnswers(), results: results}}
}
