package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"
)

// A fleet is the groups of one kind of peer. They stand for as many processes.
type fleet struct {
	name   string
	nodes  []string // the addresses of the engine's nodes; a group uses one of them
	groups []peer
	keys   int // how many have been used
}

// newFleet connects n groups to an engine's nodes.
func newFleet(name string, nodes []string, n int) (*fleet, error) {
	f := &fleet{name: name, nodes: nodes}
	for i := range n {
		p, err := connect(name, f.node(i), len(nodes))
		if err != nil {
			f.close()
			return nil, err
		}
		f.groups = append(f.groups, p)
	}
	return f, nil
}

func (f *fleet) close() {
	for _, g := range f.groups {
		g.Close()
	}
}

func (f *fleet) node(i int) string { return f.nodes[i%len(f.nodes)] }
func (f *fleet) group(i int) peer  { return f.groups[i%len(f.groups)] }

// key returns a key that no flight had before.
func (f *fleet) key() string {
	f.keys++
	return fmt.Sprintf("%s-%d", f.name, f.keys)
}

// A measurement gives values for some rows of the table.
type measurement struct {
	name  string
	alone bool // a peer that does not coordinate can make it, too
	run   func(context.Context, *fleet, options) (map[figure]float64, error)
}

var measurements = []measurement{
	{"lone calls", true, lone},
	{"joined calls", false, joined},
	{"flights", true, flights},
	{"takeovers", false, takeovers},
}

// measure makes all measurements with engines of n nodes, and shows progress.
func (r *report) measure(ctx context.Context, n int, stderr io.Writer) error {
	fmt.Fprintf(stderr, "nodes: %d; starting\n", n)
	fleets, stop, err := startFleets(ctx, n, r.options)
	defer stop()
	if err != nil {
		return err
	}
	for _, m := range measurements {
		for round := range r.rounds {
			fmt.Fprintf(stderr, "nodes: %d; %s: round %d of %d\n", n, m.name, round+1, r.rounds)
			for i := range fleets {
				f := fleets[(round+i)%len(fleets)]
				if !m.alone && f.name == nameOfLocal {
					continue
				}
				values, err := m.run(ctx, f, r.options)
				if err != nil {
					return fmt.Errorf("%s: %s: %w", f.name, m.name, err)
				}
				for of, v := range values {
					at := cell{n, of, f.name}
					r.values[at] = append(r.values[at], v)
				}
			}
		}
	}
	return nil
}

// startFleets starts a fleet of each kind, with its engine. stop is never nil.
func startFleets(ctx context.Context, n int, o options) (fleets []*fleet, stop func(), err error) {
	var stops []func()
	stop = func() {
		for _, s := range slices.Backward(stops) {
			s()
		}
	}
	for _, name := range []string{nameOfEtcd, nameOfNats, nameOfLocal} {
		nodes := []string{"none"}
		if name != nameOfLocal {
			e, err := startEngine(ctx, name, n, o.sync)
			if err != nil {
				return nil, stop, err
			}
			stops = append(stops, e.stop)
			nodes = e.nodes
		}
		f, err := newFleet(name, nodes, o.groups)
		if err != nil {
			return nil, stop, err
		}
		stops = append(stops, f.close)
		fleets = append(fleets, f)
	}
	return fleets, stop, nil
}

func returnAtOnce(context.Context, uint64) ([]byte, error) { return []byte("result"), nil }

// lone times calls of fresh keys, one after the other.
func lone(ctx context.Context, f *fleet, o options) (map[figure]float64, error) {
	times := make([]time.Duration, o.calls)
	for i := range times {
		g, key, begin := f.group(i), f.key(), time.Now()
		if _, err := g.Do(ctx, key, returnAtOnce); err != nil {
			return nil, err
		}
		times[i] = time.Since(begin)
	}
	return map[figure]float64{loneCall: median(times)}, nil
}

// joined times how much longer than fn a call of another group takes that has joined.
func joined(ctx context.Context, f *fleet, o options) (map[figure]float64, error) {
	times := make([]time.Duration, max(o.calls/5, 3))
	// A call that joins does not say when it has. It gets some time for that, and more
	// if it was too late.
	ample := 20 * time.Millisecond
	for i := 0; i < len(times); {
		t, err := joinOnce(ctx, f.group(i), f.group(i+1), f.key(), ample)
		switch {
		case errors.Is(err, errTooLate) && ample < time.Second:
			ample *= 2
		case err != nil:
			return nil, err
		default:
			times[i] = t
			i++
		}
	}
	return map[figure]float64{joinedCall: median(times)}, nil
}

var errTooLate = errors.New("the call that should have joined led")

func joinOnce(ctx context.Context, leader, joiner peer, key string, ample time.Duration) (time.Duration, error) {
	flying, gate := make(chan struct{}), make(chan struct{})
	var landed, returned time.Time
	calls, ctx := errgroup.WithContext(ctx)
	calls.Go(func() error {
		_, err := leader.Do(ctx, key, func(ctx context.Context, _ uint64) ([]byte, error) {
			close(flying)
			<-gate
			landed = time.Now()
			return []byte("result"), nil
		})
		return err
	})
	calls.Go(func() error {
		select {
		case <-flying:
		case <-ctx.Done():
			return ctx.Err()
		}
		time.AfterFunc(ample, func() { close(gate) })
		_, err := joiner.Do(ctx, key, func(context.Context, uint64) ([]byte, error) { return nil, errTooLate })
		returned = time.Now()
		return err
	})
	err := calls.Wait()
	return returned.Sub(landed), err
}

// flights counts how many flights of fresh keys concurrent callers make in a second.
func flights(ctx context.Context, f *fleet, o options) (map[figure]float64, error) {
	keys := make(chan string, 10*o.calls)
	for range cap(keys) {
		keys <- f.key()
	}
	close(keys)
	begin := time.Now()
	callers, ctx := errgroup.WithContext(ctx)
	for i := range o.callers {
		callers.Go(func() error {
			for key := range keys {
				if _, err := f.group(i).Do(ctx, key, returnAtOnce); err != nil {
					return err
				}
			}
			return nil
		})
	}
	err := callers.Wait()
	return map[figure]float64{flightsPerSecond: float64(cap(keys)) / time.Since(begin).Seconds()}, err
}

// takeovers times how long after a leading process was killed the function of a waiter
// begins.
func takeovers(ctx context.Context, f *fleet, o options) (map[figure]float64, error) {
	times := make([]time.Duration, o.tries)
	tries, ctx := errgroup.WithContext(ctx)
	for i := range times {
		key := f.key()
		tries.Go(func() (err error) {
			times[i], err = takeOver(ctx, f, i, key)
			return err
		})
	}
	err := tries.Wait()
	return map[figure]float64{takeover: median(times), longest: float64(slices.Max(times))}, err
}

func takeOver(ctx context.Context, f *fleet, i int, key string) (time.Duration, error) {
	leader, err := start(ctx, "leader", f.name, f.node(i), strconv.Itoa(len(f.nodes)), key)
	if err != nil {
		return 0, err
	}
	defer leader.stop()
	defer leader.kill()
	killed := make(chan time.Time, 1)
	// The kill comes at another moment of the leader's renewals each time, and long after
	// the waiter has begun to wait.
	kill := time.AfterFunc(300*time.Millisecond+rand.N(700*time.Millisecond), func() {
		killed <- time.Now()
		leader.kill()
	})
	var taken time.Time
	_, err = f.group(i+1).Do(ctx, key, func(context.Context, uint64) ([]byte, error) {
		taken = time.Now()
		return nil, nil
	})
	switch early := kill.Stop(); {
	case err != nil:
		return 0, err
	case early:
		return 0, errors.New("the waiter led before the leader was killed")
	default:
		return taken.Sub(<-killed), nil
	}
}

func median(times []time.Duration) float64 {
	slices.Sort(times)
	last := len(times) - 1
	return float64(times[last/2]+times[(last+1)/2]) / 2
}
