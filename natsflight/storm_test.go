package natsflight

import (
	"context"
	"encoding/gob"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

var stormFor = flag.Duration("storm", 0, "how long each storm blows (default: seconds)")

const (
	stormProcesses = 3
	stormKeys      = 5
	stormCallers   = 4 // of each key in each process
	forgottenKey   = stormKeys - 1
)

// stormSettings is what a process of a storm is told.
type stormSettings struct {
	URLs   []string
	Config Config
	For    time.Duration
	Number uint64 // of the process
	Leave  bool   // some callers leave, and one key is forgotten
	File   string // gets the history
}

// Processes call Do for the same few keys, as fast as they can. No call gets a result
// that another call had returned before it began, and no two functions of a key run at
// the same time, but for a key that is forgotten, or while connections break.
func TestStorm(t *testing.T) {
	e := startServer(t)
	lease := 4 * timeout // longer than any pause of a process
	for _, test := range []struct {
		name   string
		c      Config
		leave  bool
		breaks bool // connections break
	}{
		{"staying", Config{Lease: lease, OnOutage: Fail}, false, false},
		{"leaving", Config{Lease: lease, OnOutage: Fail}, true, false},
		{"breaking", Config{Lease: time.Second}, true, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			if testing.Short() && !test.leave {
				t.Skip("takes seconds")
			}
			duration := *stormFor
			switch {
			case duration > 0:
			case testing.Short():
				duration = time.Second
			default:
				duration = 3 * time.Second
			}
			test.c.Stream = streamOf(t)
			var processes []*process
			proxies := make([]*proxy, stormProcesses)
			files := make([]string, stormProcesses)
			for i := range files {
				files[i] = filepath.Join(t.TempDir(), "history")
				urls := e.urls()
				if test.breaks {
					proxies[i] = startProxy(t, urls[0])
					urls = []string{proxies[i].url()}
				}
				processes = append(processes, spawn(t, "storm", stormSettings{urls, test.c, duration, uint64(i + 1), test.leave, files[i]}))
			}
			for _, p := range processes {
				p.await("ready")
			}
			for i, p := range processes {
				p.tell("go")
				if test.breaks {
					breakAndHeal(t, proxies[i])
				}
			}
			var all history
			var unavailable, left, foreign int
			for i, p := range processes {
				var u, l int
				_, err := fmt.Sscanf(p.awaitFor(duration+timeout, "done"), "done %d %d", &u, &l)
				require.NoError(t, err)
				h := readHistory(t, files[i])
				own := map[uint64]bool{}
				for _, r := range h.Runs {
					own[r.Result] = true
				}
				for _, c := range h.Calls {
					if !own[c.Result] {
						foreign++
					}
				}
				all.Runs, all.Calls = append(all.Runs, h.Runs...), append(all.Calls, h.Calls...)
				unavailable, left = unavailable+u, left+l
			}
			overlaps, stale := all.overlaps(), all.stale()
			t.Logf("%d calls got a result, %d of them another process's; %d left, and %d had no engine; fn ran %d times",
				len(all.Calls), foreign, left, unavailable, len(all.Runs))
			t.Logf("%d runs overlap, and %d results are stale", overlaps, stale)
			assert.Zero(t, stale)
			if !test.breaks {
				assert.Zero(t, overlaps)
			}
			assert.Greater(t, len(all.Calls), len(all.Runs), "flights must be shared")
			assert.Positive(t, foreign, "processes must share flights")
			awaitEmpty(t, e, streamOf(t))
		})
	}
}

// breakAndHeal breaks a network again and again until the end of the test.
func breakAndHeal(t *testing.T, p *proxy) {
	ended := make(chan struct{})
	var breaking sync.WaitGroup
	breaking.Go(func() {
		for {
			for _, b := range []breakage{intact, cut, intact, silent} {
				p.set(b)
				longest := time.Second
				if b != intact {
					longest *= 2 // longer than the engine may be silent
				}
				select {
				case <-time.After(rand.N(longest)):
				case <-ended:
					return
				}
			}
		}
	})
	t.Cleanup(func() { close(ended); breaking.Wait() })
}

func readHistory(t *testing.T, path string) (h history) {
	file, err := os.Open(path)
	require.NoError(t, err)
	defer file.Close()
	require.NoError(t, gob.NewDecoder(file).Decode(&h))
	return h
}

// blow is what a process of a storm does.
func blow(settings string) {
	var s stormSettings
	must(json.Unmarshal([]byte(settings), &s))
	nc, js, err := dial(s.URLs...)
	must(err)
	g, err := open(js, s.Config)
	must(err)

	// The processes start at the same time, and read the wall clock once: after that,
	// their clocks cannot be set.
	start := time.Now()
	now := func() int64 { return start.UnixNano() + int64(time.Since(start)) }
	fmt.Println("ready")
	<-commands()

	var mu sync.Mutex
	var all history
	var results, unavailable, left atomic.Uint64
	stop := time.Now().Add(s.For)
	var calling sync.WaitGroup
	for i := range stormKeys * stormCallers {
		random := rand.New(rand.NewPCG(s.Number, uint64(i)))
		calling.Go(func() {
			var h history
			key := i % stormKeys
			for time.Now().Before(stop) {
				ctx, cancel := context.WithCancel(context.Background())
				takes := time.Duration(random.Int64N(int64(20 * time.Millisecond)))
				if s.Leave && random.IntN(2) == 0 {
					ctx, cancel = context.WithTimeout(ctx, time.Duration(random.Int64N(int64(20*time.Millisecond))))
				}
				if s.Leave && key == forgottenKey && random.IntN(10) == 0 {
					if err := g.Forget(context.Background(), strconv.Itoa(key)); err != nil {
						must(ignore(err, ErrUnavailable))
						unavailable.Add(1)
					}
				}
				c := callOf{Begin: now()}
				v, err, _ := g.Do(ctx, strconv.Itoa(key), func(ctx context.Context, _ uint64) ([]byte, error) {
					r := run{Key: int64(key), Begin: now(), Result: s.Number<<48 | results.Add(1)}
					select {
					case <-time.After(takes):
					case <-ctx.Done():
					}
					r.End = now()
					if s.Leave && key == forgottenKey {
						r.Key = -int64(r.Result) // it may overlap with others of its key
					}
					mu.Lock()
					defer mu.Unlock()
					all.Runs = append(all.Runs, r)
					return strconv.AppendUint(nil, r.Result, 10), ctx.Err()
				})
				c.End = now()
				switch {
				case err == nil:
					c.Result, err = strconv.ParseUint(string(v), 10, 64)
					must(err)
					h.Calls = append(h.Calls, c)
				case ctx.Err() != nil:
					left.Add(1)
				case s.Config.OnOutage == Fail:
					must(ignore(err, ErrUnavailable))
					unavailable.Add(1)
				default:
					must(err)
				}
				cancel()
			}
			mu.Lock()
			defer mu.Unlock()
			all.Calls = append(all.Calls, h.Calls...)
		})
	}
	calling.Wait()
	must(g.Close(context.Background()))
	nc.Close()
	file, err := os.Create(s.File)
	must(err)
	must(gob.NewEncoder(file).Encode(all))
	must(file.Close())
	must(goleak.Find(goleak.IgnoreAnyFunction("github.com/actorflight/singleflight/natsflight.commands.func1")))
	fmt.Println("done", unavailable.Load(), left.Load())
}

// ignore returns nil if err is expected.
func ignore(err, expected error) error {
	if errors.Is(err, expected) {
		return nil
	}
	return fmt.Errorf("unexpected: %w", err)
}
