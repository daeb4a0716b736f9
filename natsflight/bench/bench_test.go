package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/actorflight/singleflight"
)

func TestMain(m *testing.M) {
	if playRole() {
		return
	}
	goleak.VerifyTestMain(m)
}

const patience = 30 * time.Second

// A fleetOfEtcd is two groups of etcd's peer, and their engine.
type fleetOfEtcd struct {
	*testing.T
	address string
	a, b    *etcdPeer
}

func newFleetOfEtcd(t *testing.T) *fleetOfEtcd {
	e, err := startEngine(t.Context(), nameOfEtcd, 1, false)
	require.NoError(t, err)
	t.Cleanup(e.stop)
	connect := func() *etcdPeer {
		p, err := newEtcd(e.nodes[0])
		require.NoError(t, err)
		t.Cleanup(p.Close)
		return p.(*etcdPeer)
	}
	return &fleetOfEtcd{t, e.nodes[0], connect(), connect()}
}

type result struct {
	v   string
	err error
}

// call makes a call in a goroutine of its own.
func call(ctx context.Context, p peer, fn function) <-chan result {
	got := make(chan result, 1)
	go func() {
		v, err := p.Do(ctx, "key", fn)
		got <- result{string(v), err}
	}()
	return got
}

// awaitWaiting waits until n calls of a and b wait for the result of one flight, which
// runs in one of them if led is 1, and elsewhere if it is 0.
func (f *fleetOfEtcd) awaitWaiting(n, led int) {
	f.Helper()
	require.EventuallyWithT(f, func(c *assert.CollectT) {
		callers, flights := 0, 0
		for _, p := range []*etcdPeer{f.a, f.b} {
			for _, flight := range p.local.InFlight() {
				callers += flight.Callers
				flights++
			}
		}
		assert.Equal(c, n, callers)
		assert.Equal(c, flights-led, f.watches(c), "those that do not lead watch")
	}, patience, 5*time.Millisecond)
}

// watches returns how many watches etcd has.
func (f *fleetOfEtcd) watches(t require.TestingT) (n int) {
	r, err := http.Get(f.address + "/metrics")
	require.NoError(t, err)
	defer http.DefaultClient.CloseIdleConnections()
	defer r.Body.Close()
	for lines := bufio.NewScanner(r.Body); lines.Scan(); {
		if _, err := fmt.Sscanf(lines.Text(), "etcd_debugging_mvcc_watcher_total %d", &n); err == nil {
			return n
		}
	}
	require.Fail(t, "no such metric")
	return 0
}

// A gate is a function that tells when it runs, and returns when it may.
type gate struct {
	led   chan uint64 // gets the token
	open  chan result
	ended chan error // gets the cause of the end of fn's context
}

func newGate() gate { return gate{make(chan uint64, 1), make(chan result, 1), make(chan error, 1)} }

func (g gate) fn(ctx context.Context, token uint64) ([]byte, error) {
	g.led <- token
	select {
	case r := <-g.open:
		return []byte(r.v), r.err
	case <-ctx.Done():
		g.ended <- context.Cause(ctx)
		return nil, ctx.Err()
	}
}

func never(context.Context, uint64) ([]byte, error) { return nil, errors.New("must not run") }

func TestEtcdRunsOneFunctionForManyCallers(t *testing.T) {
	f := newFleetOfEtcd(t)
	for _, want := range []result{{v: "result"}, {err: errors.New("failure")}} {
		leading := newGate()
		got := []<-chan result{call(t.Context(), f.a, leading.fn)}
		assert.Positive(t, <-leading.led)
		for range 10 {
			got = append(got, call(t.Context(), f.a, never), call(t.Context(), f.b, never))
		}
		f.awaitWaiting(len(got), 1)
		leading.open <- want
		for _, got := range got {
			assert.Equal(t, want, <-got)
		}
	}
}

func TestEtcdTakesOverWhenTheLeaseEnds(t *testing.T) {
	f := newFleetOfEtcd(t)
	killed, err := start(t.Context(), "leader", nameOfEtcd, f.address, "1", "key")
	require.NoError(t, err)
	second := newGate()
	got := call(t.Context(), f.a, second.fn)
	f.awaitWaiting(1, 0)
	killed.kill()
	killed.stop()
	<-second.led
	second.open <- result{v: "second"}
	assert.Equal(t, result{v: "second"}, <-got)
}

// The call of the group that has lost its lease joins the flight that has replaced its
// own.
func TestEtcdDropsTheResultOfALostLease(t *testing.T) {
	f := newFleetOfEtcd(t)
	first, second := newGate(), newGate()
	gotFirst := call(t.Context(), f.a, first.fn)
	token := <-first.led
	gotSecond := call(t.Context(), f.b, second.fn)
	f.awaitWaiting(2, 1)
	_, err := f.a.client.Revoke(t.Context(), f.a.own.id)
	require.NoError(t, err)
	assert.Greater(t, <-second.led, token)
	assert.Equal(t, errLeaseLost, <-first.ended)
	f.awaitWaiting(2, 1)
	second.open <- result{v: "second"}
	assert.Equal(t, result{v: "second"}, <-gotSecond)
	assert.Equal(t, result{v: "second"}, <-gotFirst)
}

func TestEtcdBeginsAnewWhenTheCallersOfTheLeaderHaveLeft(t *testing.T) {
	f := newFleetOfEtcd(t)
	first, second := newGate(), newGate()
	ctx, leave := context.WithCancel(t.Context())
	gotFirst := call(ctx, f.a, first.fn)
	<-first.led
	gotSecond := call(t.Context(), f.b, second.fn)
	f.awaitWaiting(2, 1)
	leave()
	assert.Equal(t, result{err: context.Canceled}, <-gotFirst)
	assert.Equal(t, singleflight.ErrAbandoned, <-first.ended)
	<-second.led
	second.open <- result{v: "second"}
	assert.Equal(t, result{v: "second"}, <-gotSecond)
}

// Every result is the number of a function's run. A call must not get one that had been
// returned before the call began.
func TestNoPeerGivesStaleResults(t *testing.T) {
	for _, name := range []string{nameOfEtcd, nameOfNats} {
		t.Run(name, func(t *testing.T) {
			e, err := startEngine(t.Context(), name, 1, false)
			require.NoError(t, err)
			defer e.stop()
			f, err := newFleet(name, e.nodes, 2)
			require.NoError(t, err)
			defer f.close()
			var runs, returned, running atomic.Int64
			fn := func(context.Context, uint64) ([]byte, error) {
				assert.EqualValues(t, 1, running.Add(1), "functions run at the same time")
				defer running.Add(-1)
				time.Sleep(time.Millisecond) // so that calls join
				return strconv.AppendInt(nil, runs.Add(1), 10), nil
			}
			const calls = 300 // of each caller
			var callers sync.WaitGroup
			for i := range 8 {
				callers.Go(func() {
					for n := range calls {
						before := returned.Load()
						v, err := f.group(i+n).Do(t.Context(), "key", fn)
						if !assert.NoError(t, err) {
							return
						}
						of, err := strconv.ParseInt(string(v), 10, 64)
						assert.NoError(t, err)
						assert.Greater(t, of, before, "stale")
						for old := returned.Load(); old < of && !returned.CompareAndSwap(old, of); old = returned.Load() {
						}
					}
				})
			}
			callers.Wait()
			assert.Less(t, runs.Load(), int64(8*calls), "no call has joined")
		})
	}
}

func TestParseRefuses(t *testing.T) {
	for _, args := range [][]string{
		{"-rounds", "0"}, {"-calls", "0"}, {"-callers", "0"}, {"-tries", "0"}, {"-groups", "1"},
		{"-nodes", "2"}, {"-nodes", ""}, {"-no-such-flag"}, {"surplus"},
	} {
		_, err := parse(args, io.Discard)
		assert.Error(t, err, args)
	}
}

func TestTable(t *testing.T) {
	r := report{options: options{rounds: 3, nodes: []int{1}}, values: make(map[cell][]float64)}
	for i := range figures {
		r.values[cell{1, figure(i), nameOfEtcd}] = []float64{1e6, 2e6, 4e6}
		r.values[cell{1, figure(i), nameOfNats}] = []float64{4e5, 6e5, 4e5}
	}
	var text bytes.Buffer
	r.print(&text)
	for _, row := range []string{
		"| lone call | 2ms (1ms–4ms) | 400µs (400µs–600µs) | 0.30 (0.10–0.40) | ratio ≤ 0.20: missed |  |",
		"| joined call | 2ms (1ms–4ms) | 400µs (400µs–600µs) | 0.30 (0.10–0.40) | ratio ≤ 0.60: met |  |",
		"| flights/s | 2000000 (1000000–4000000) | 400000 (400000–600000) | 0.30 (0.10–0.40) |  |  |",
		"| takeover, max | 4ms | 600µs | 0.30 (0.10–0.40) | ≤ 500ms: met |  |",
	} {
		assert.Contains(t, text.String(), row)
	}
}

func TestRun(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	var table bytes.Buffer
	require.NoError(t, run(t.Context(), []string{"-rounds=1", "-calls=10", "-tries=1"}, &table, io.Discard))
	for _, f := range figures {
		assert.Regexp(t, `(?s)nodes: 1 (.*\n)\| `+f.name+` \| \d.*nodes: 3 (.*\n)\| `+f.name+` \| \d`, table.String())
	}
	assertEmpty(t, dir)
}

func TestInterruptedRunLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	ctx, interrupt := context.WithCancel(t.Context())
	progress := writer(func(text string) {
		if strings.Contains(text, "joined calls") {
			interrupt()
		}
	})
	err := run(ctx, []string{"-rounds=2", "-calls=10", "-nodes=1"}, io.Discard, progress)
	assert.EqualError(t, err, "interrupted")
	assertEmpty(t, dir)
}

type writer func(text string)

func (w writer) Write(text []byte) (int, error) {
	w(string(text))
	return len(text), nil
}

func assertEmpty(t *testing.T, dir string) {
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Empty(t, left)
}
