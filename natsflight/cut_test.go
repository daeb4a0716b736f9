package natsflight

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A proxy stands between a client and a node.
type proxy struct {
	listener net.Listener
	target   string
	pipes    sync.WaitGroup

	mu      sync.Mutex
	changed sync.Cond
	broken  breakage
	held    int // pipes that hold back data
	conns   map[net.Conn]bool
	closed  bool
}

// A breakage is what is wrong with the network.
type breakage string

const (
	intact breakage = ""
	cut    breakage = "cut"    // connections are closed, and new ones, too
	silent breakage = "silent" // data is held back, in both directions, until it is healed
)

func startProxy(t *testing.T, target string) *proxy {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &proxy{listener: listener, target: strings.TrimPrefix(target, "nats://"), conns: map[net.Conn]bool{}}
	p.changed.L = &p.mu
	p.pipes.Go(p.accept)
	t.Cleanup(func() {
		_ = listener.Close()
		p.mu.Lock()
		p.closed = true
		p.mu.Unlock()
		p.set(cut)
		p.pipes.Wait()
	})
	return p
}

func (p *proxy) url() string { return "nats://" + p.listener.Addr().String() }

// set breaks the network, or heals it.
func (p *proxy) set(b breakage) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.broken = b
	p.changed.Broadcast()
	if b == cut {
		for conn := range p.conns {
			_ = conn.Close()
		}
	}
}

// holds reports whether data is held back.
func (p *proxy) holds() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.held > 0
}

func (p *proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		node, err := net.Dial("tcp", p.target)
		if err != nil {
			_ = client.Close()
			continue
		}
		p.mu.Lock()
		if p.broken == cut || p.closed {
			_, _ = client.Close(), node.Close()
		} else {
			p.conns[client], p.conns[node] = true, true
			p.pipes.Go(func() { p.pipe(client, node) })
			p.pipes.Go(func() { p.pipe(node, client) })
		}
		p.mu.Unlock()
	}
}

func (p *proxy) pipe(to, from net.Conn) {
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		p.mu.Lock()
		for p.broken == silent {
			p.held++
			p.changed.Wait()
			p.held--
		}
		p.mu.Unlock()
		if _, failed := to.Write(buffer[:n]); err != nil || failed != nil {
			break
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, conn := range []net.Conn{to, from} {
		_ = conn.Close()
		delete(p.conns, conn)
	}
}

// A pair is two processes of a fleet. The first is behind a proxy.
type pair struct {
	t        *testing.T
	proxy    *proxy
	broken   breakage
	c        Config
	nc1, nc2 *nats.Conn
	g1, g2   *Group
	f1, f2   *gate
}

// lead1 and lead2 make a call of the first or second process lead.
func (p *pair) lead1() (returned <-chan result) {
	p.f1, returned = lead(p.t, p.g1, "key", "first")
	return returned
}

func (p *pair) lead2() (returned <-chan result) {
	p.f2, returned = lead(p.t, p.g2, "key", "second")
	return returned
}

// join1 and join2 make a call in the other process, which waits.
func (p *pair) join1() <-chan result {
	return awaitPings(p.t, p.nc1, func() <-chan result { return do(p.t.Context(), p.g1, "key", p.f1.fn) })
}

func (p *pair) join2() <-chan result {
	return awaitPings(p.t, p.nc2, func() <-chan result { return do(p.t.Context(), p.g2, "key", p.f2.fn) })
}

// breakNow breaks the connection of the first process, and waits until that has an effect.
func (p *pair) breakNow() {
	p.t.Helper()
	p.proxy.set(p.broken)
	eventually(p.t, "the connection is broken", func() bool {
		return p.broken == cut && !p.nc1.IsConnected() || p.proxy.holds()
	})
}

func (p *pair) heal() { p.proxy.set(intact) }

// check checks what a call has returned: the result of a run, or what Config.OnOutage says.
func (p *pair) check(got result) {
	p.t.Helper()
	if p.c.OnOutage == Fail && errors.Is(got.err, ErrUnavailable) {
		return
	}
	assert.NoError(p.t, got.err)
	var known []string
	for _, f := range []*gate{p.f1, p.f2} {
		for n := range int(f.runs.Load()) {
			known = append(known, f.value(n+1))
		}
	}
	assert.Contains(p.t, known, got.v)
}

// checkLocal checks what a call of the first process has returned that could not ask the
// engine.
func (p *pair) checkLocal(got result) {
	p.t.Helper()
	p.check(got)
	if p.c.OnOutage == Fail {
		assert.Error(p.t, got.err)
		return
	}
	assert.Equal(p.t, p.f1.value(1), got.v)
	assert.Zero(p.t, receive(p.t, p.f1.led), "without the engine, there is no token")
}

const (
	short = time.Second      // a lease that is to run out
	long  = 20 * time.Second // one that is not
)

var cuts = []struct {
	name  string
	lease time.Duration
	run   func(p *pair)
}{
	{"before the publish", long, func(p *pair) {
		p.proxy.set(p.broken)
		p.f1.open()
		p.checkLocal(receive(p.t, do(p.t.Context(), p.g1, "key", p.f1.fn)))
		p.f2.open() // the other process is not affected
		p.check(receive(p.t, do(p.t.Context(), p.g2, "key", p.f2.fn)))
		p.heal()
	}},
	{"while fn runs, briefly", long, func(p *pair) {
		first := p.lead1()
		second := p.join2()
		p.breakNow()
		p.heal()
		p.f1.open()
		p.f2.open()
		p.check(receive(p.t, first))
		p.check(receive(p.t, second))
	}},
	{"while fn runs, for longer than the lease", short, func(p *pair) {
		first := p.lead1()
		second := p.join2()
		p.breakNow()
		// The other process does not wait longer than the lease. The first does not wait
		// for the engine to learn that it has lost it.
		eventually(p.t, "the waiter leads or fails", func() bool { return len(p.f2.led) > 0 || len(second) > 0 })
		assert.Equal(p.t, ErrLeaseLost, receive(p.t, p.f1.ended))
		p.heal()
		p.f1.open()
		p.f2.open()
		got := receive(p.t, first)
		p.check(got)
		assert.NotEqual(p.t, p.f1.value(1), got.v, "the result of a flight that has lost its lease")
		got = receive(p.t, second)
		p.check(got)
		assert.NotEqual(p.t, p.f1.value(1), got.v, "the result of a flight that has lost its lease")
	}},
	{"while waiting, briefly", long, func(p *pair) {
		second := p.lead2()
		first := p.join1()
		p.breakNow()
		p.heal()
		p.f2.open()
		assert.Equal(p.t, p.f2.value(1), receive(p.t, second).v)
		p.f1.open()
		p.check(receive(p.t, first))
	}},
	{"while waiting, and the flight lands meanwhile", long, func(p *pair) {
		second := p.lead2()
		first := p.join1()
		p.breakNow()
		p.f2.open()
		assert.Equal(p.t, p.f2.value(1), receive(p.t, second).v)
		p.heal()
		p.f1.open()
		p.check(receive(p.t, first))
	}},
	{"while waiting, for long", long, func(p *pair) {
		second := p.lead2()
		first := p.join1()
		p.breakNow()
		p.f1.open()
		p.checkLocal(receive(p.t, first))
		p.f2.open()
		assert.Equal(p.t, p.f2.value(1), receive(p.t, second).v)
		p.heal()
	}},
	{"before the landing", short, func(p *pair) {
		first := p.lead1()
		second := p.join2()
		p.breakNow()
		p.f1.open()
		p.check(receive(p.t, first))
		p.f2.open()
		p.check(receive(p.t, second))
		p.heal()
	}},
	{"before the landing, and a call begins", long, func(p *pair) {
		first := p.lead1()
		p.proxy.set(p.broken)
		p.f1.open()
		assert.Equal(p.t, result{p.f1.value(1), nil, false}, receive(p.t, first))
		asked := p.nc2.Stats().OutMsgs + 3
		second := do(p.t.Context(), p.g2, "key", p.f2.fn)
		awaitSent(p.t, p.nc2, asked)
		p.heal()
		p.f2.open()
		got := receive(p.t, second)
		p.check(got)
		assert.NotEqual(p.t, p.f1.value(1), got.v, "the call began after another one had returned this")
	}},
}

// The connection of a process is broken in every state of a call. All calls return, and
// when it is healed, the processes share flights again, both ways.
func TestBrokenConnection(t *testing.T) {
	type network struct {
		broken breakage
		outage Outage
	}
	for _, test := range []struct {
		nodes    int
		networks []network
	}{
		{1, []network{{cut, RunLocally}, {cut, Fail}, {silent, RunLocally}, {silent, Fail}}},
		{3, []network{{cut, RunLocally}, {silent, Fail}}},
	} {
		t.Run(fmt.Sprintf("%d nodes", test.nodes), func(t *testing.T) {
			if test.nodes > 1 && testing.Short() {
				t.Skip("takes seconds")
			}
			e := startServers(t, test.nodes)
			for _, at := range cuts {
				for _, n := range test.networks {
					t.Run(fmt.Sprintf("%s, %s, outage %d", at.name, n.broken, n.outage), func(t *testing.T) {
						t.Parallel()
						testBroken(t, e, n.broken, Config{Replicas: test.nodes, Lease: at.lease, OnOutage: n.outage}, at.run)
					})
				}
			}
		})
	}
}

func testBroken(t *testing.T, e *servers, broken breakage, c Config, run func(*pair)) {
	proxy := startProxy(t, e.nodes[0].url)
	nc1, js1 := connect(t, proxy.url())
	nc2, js2 := connect(t, e.urls()...)
	p := &pair{t, proxy, broken, c, nc1, nc2, newGroup(t, js1, c), newGroup(t, js2, c), newGate(t, "first"), newGate(t, "second")}
	run(p)
	eventually(t, "flights are shared again", func() bool {
		return share(t, p.g1, p.g2, nc2, "key") && share(t, p.g2, p.g1, nc1, "key")
	})
	awaitEmpty(t, e, streamOf(t))
}
