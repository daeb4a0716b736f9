package natsflight

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

const (
	timeout = 40 * time.Second // how long a test waits for what must happen
	poll    = 20 * time.Millisecond
)

// Servers are a NATS server with JetStream, or a cluster of three, on loopback. Each
// node is a process of its own, so that it can be killed.
type servers struct {
	t     *testing.T
	nodes []*node
}

type node struct {
	serverSettings
	process *process
	url     string
}

// serverSettings is what the process of a node is told.
type serverSettings struct {
	Name        string
	StoreDir    string
	Port        int      // -1: any
	ClusterPort int      // 0: no cluster
	Routes      []string // to all nodes of the cluster
}

// startServer starts one node.
func startServer(t *testing.T) *servers { return startServers(t, 1) }

// startCluster starts three nodes, and returns when they hold streams together.
func startCluster(t *testing.T) *servers { return startServers(t, 3) }

func startServers(t *testing.T, size int) *servers {
	t.Cleanup(func() { goleak.VerifyNone(t) })
	e := &servers{t: t}
	ports := make([]int, size)
	var routes []string
	if size > 1 {
		ports = freePorts(t, size)
		for _, port := range ports {
			routes = append(routes, fmt.Sprintf("nats://127.0.0.1:%d", port))
		}
	}
	for i, port := range ports {
		n := &node{serverSettings: serverSettings{
			Name: fmt.Sprintf("node%d", i), StoreDir: t.TempDir(), Port: -1, ClusterPort: port, Routes: routes,
		}}
		e.nodes = append(e.nodes, n)
		n.process = spawn(t, "server", n.serverSettings)
	}
	for i := range e.nodes {
		e.awaitReady(i)
	}
	if size > 1 {
		_, js := connect(t, e.urls()...)
		e.awaitStream(js, jetstream.StreamConfig{Name: "probe", Replicas: size})
		require.NoError(t, js.DeleteStream(t.Context(), "probe"))
	}
	return e
}

// freePorts returns ports on which nothing listens.
func freePorts(t *testing.T, n int) []int {
	ports := make([]int, n)
	for i := range ports {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer l.Close()
		ports[i] = l.Addr().(*net.TCPAddr).Port
	}
	return ports
}

func (e *servers) awaitReady(i int) {
	n := e.nodes[i]
	_, n.url, _ = strings.Cut(n.process.await("ready"), " ")
	_, port, err := net.SplitHostPort(strings.TrimPrefix(n.url, "nats://"))
	require.NoError(e.t, err)
	_, err = fmt.Sscan(port, &n.Port) // for restart
	require.NoError(e.t, err)
}

// urls returns the addresses of all nodes, those of the nodes given before the others.
func (e *servers) urls(first ...int) (urls []string) {
	for _, i := range first {
		urls = append(urls, e.nodes[i].url)
	}
	for _, n := range e.nodes {
		if !slices.Contains(urls, n.url) {
			urls = append(urls, n.url)
		}
	}
	return urls
}

// kill ends the process of node i with SIGKILL.
func (e *servers) kill(i int) { e.nodes[i].process.kill() }

// restart starts node i again, at its old address and with what it has stored.
func (e *servers) restart(i int) {
	n := e.nodes[i]
	n.process = spawn(e.t, "server", n.serverSettings)
	e.awaitReady(i)
}

// awaitStream creates the stream if it does not exist, and waits until all its nodes
// are current.
func (e *servers) awaitStream(js jetstream.JetStream, c jetstream.StreamConfig) {
	e.t.Helper()
	eventually(e.t, "the stream's nodes must become current", func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		stream, err := js.Stream(ctx, c.Name)
		if err != nil {
			_, _ = js.CreateStream(ctx, c)
			return false
		}
		cluster := stream.CachedInfo().Cluster
		if len(e.nodes) == 1 {
			return true
		}
		if cluster == nil || cluster.Leader == "" || len(cluster.Replicas) != len(e.nodes)-1 {
			return false
		}
		for _, peer := range cluster.Replicas {
			if !peer.Current || peer.Offline {
				return false
			}
		}
		return true
	})
}

// leader returns the node that leads the stream.
func (e *servers) leader(js jetstream.JetStream, stream string) (leader int) {
	e.t.Helper()
	eventually(e.t, "the stream must have a leader", func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		s, err := js.Stream(ctx, stream)
		if err != nil || s.CachedInfo().Cluster == nil {
			return false
		}
		for i, n := range e.nodes {
			if n.Name == s.CachedInfo().Cluster.Leader {
				leader = i
				return true
			}
		}
		return false
	})
	return leader
}

// serve is what the process of a node does, until its standard input ends. The command
// "max_payload BYTES" changes its configuration.
func serve(settings string) {
	var s serverSettings
	must(json.Unmarshal([]byte(settings), &s))
	options := &server.Options{
		ServerName: s.Name, Host: "127.0.0.1", Port: s.Port, NoSigs: true, NoLog: true,
		JetStream: true, StoreDir: s.StoreDir, JetStreamMaxMemory: 1 << 28, JetStreamMaxStore: 1 << 30,
	}
	if s.ClusterPort != 0 {
		options.Cluster = server.ClusterOpts{Name: "fleet", Host: "127.0.0.1", Port: s.ClusterPort}
		for _, route := range s.Routes {
			u, err := url.Parse(route)
			must(err)
			options.Routes = append(options.Routes, u)
		}
	}
	srv, err := server.NewServer(options)
	must(err)
	srv.Start()
	if !srv.ReadyForConnections(timeout) {
		must(fmt.Errorf("node %s is not ready", s.Name))
	}
	fmt.Println("ready", srv.ClientURL())
	for command := range commands() {
		changed := options.Clone()
		_, err := fmt.Sscanf(command, "max_payload %d", &changed.MaxPayload)
		must(err)
		must(srv.ReloadOptions(changed))
		fmt.Println(command)
	}
	os.Exit(0)
}

// connect connects to the first of the URLs that answers, and to no server but these.
func connect(t *testing.T, urls ...string) (*nats.Conn, jetstream.JetStream) {
	t.Helper()
	nc, js, err := dial(urls...)
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	return nc, js
}

func dial(urls ...string) (*nats.Conn, jetstream.JetStream, error) {
	nc, err := nats.Connect(strings.Join(urls, ","), nats.DontRandomize(), nats.IgnoreDiscoveredServers(),
		nats.Timeout(timeout), nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond), nats.ReconnectJitter(0, 0),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	if err != nil {
		return nil, nil, err
	}
	js, err := jetstream.New(nc)
	return nc, js, err
}

var openGroups atomic.Int32

// newGroup returns a Group that is closed at the end of the test. Its stream is, by
// default, the test's. When the last Group is closed, no goroutine of a Group may be
// left, although connections are still open.
func newGroup(t *testing.T, js jetstream.JetStream, c Config) *Group {
	t.Helper()
	if c.Stream == "" {
		c.Stream = streamOf(t)
	}
	var g *Group
	eventually(t, "New must succeed, after an election at the latest", func() bool {
		var err error
		if g, err = open(js, c); err != nil {
			t.Log("New:", err)
		}
		return err == nil
	})
	openGroups.Add(1)
	t.Cleanup(func() {
		closeGroup(t, g)
		if openGroups.Add(-1) == 0 {
			eventually(t, "no goroutine of a closed Group is left", func() bool {
				return len(lingering()) == 0 || openGroups.Load() > 0
			})
		}
	})
	return g
}

// open calls New, and gives it some seconds.
func open(js jetstream.JetStream, c Config) (*Group, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return New(ctx, js, c)
}

// closeGroup calls Close, which must succeed in time.
func closeGroup(t *testing.T, g *Group) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	if err := g.Close(ctx); err != nil {
		assert.NoError(t, err)
		t.Logf("goroutines:\n%s", stacks())
	}
}

// streamOf returns a stream's name that is the test's own.
func streamOf(t *testing.T) string {
	return regexp.MustCompile(`[^A-Za-z0-9_-]`).ReplaceAllString(t.Name(), "_")
}

// lingering returns the stacks of goroutines that execute, or were started by, this
// package's code, other than its tests.
func lingering() (found []string) {
	for stack := range strings.SplitSeq(string(stacks()), "\n\n") {
		if ours.MatchString(stack) {
			found = append(found, stack)
		}
	}
	return found
}

var ours = regexp.MustCompile(`/natsflight/[a-z]+\.go:`)

// eventually waits until the condition holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(timeout); !holds(); time.Sleep(poll) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s; goroutines:\n%s", timeout, what, stacks())
		}
	}
}

func stacks() []byte {
	all := make([]byte, 4<<20)
	return all[:runtime.Stack(all, true)]
}

// receive returns what the channel delivers, or its zero value if it is closed.
func receive[T any](t *testing.T, from <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-from:
	case <-time.After(timeout):
		t.Fatalf("nothing came; goroutines:\n%s", stacks())
	}
	return v
}

// A result is what a call has returned.
type result struct {
	v      string
	err    error
	shared bool
}

type function = func(ctx context.Context, token uint64) ([]byte, error)

// do calls Do in a goroutine of its own.
func do(ctx context.Context, g *Group, key string, fn function) <-chan result {
	returned := make(chan result, 1)
	go func() {
		v, err, shared := g.Do(ctx, key, fn)
		returned <- result{string(v), err, shared}
	}()
	return returned
}

// returning returns an fn that returns v.
func returning(v string) function {
	return func(context.Context, uint64) ([]byte, error) { return []byte(v), nil }
}

// A gate is an fn that tells what happens to it, and returns when the gate is open.
// Each run returns a value of its own.
type gate struct {
	name   string
	led    chan uint64 // gets the token
	ended  chan error  // gets the cause of the end of fn's context
	opened chan struct{}
	open   func()
	runs   atomic.Int32
}

func newGate(t *testing.T, name string) *gate {
	g := &gate{name: name, led: make(chan uint64, 100), ended: make(chan error, 100), opened: make(chan struct{})}
	g.open = sync.OnceFunc(func() { close(g.opened) })
	t.Cleanup(g.open)
	return g
}

func (g *gate) fn(ctx context.Context, token uint64) ([]byte, error) {
	v := g.value(int(g.runs.Add(1)))
	g.led <- token
	stop := context.AfterFunc(ctx, func() { g.ended <- context.Cause(ctx) })
	defer stop()
	<-g.opened
	return []byte(v), nil
}

// value returns what the n-th run returns.
func (g *gate) value(n int) string { return fmt.Sprint(g.name, " ", n) }

// messagesOfWaiter is how many messages a call has sent, at least, when it asks for the
// second time whether the leader lives: do, the question for the last message, the
// question whether the flight can still be joined, the question for the last message that
// follows the subscription, and two pings.
const messagesOfWaiter = 6

// awaitPings returns when the call that begin makes waits for the flight of another
// Group and asks whether its leader lives, or has returned. Nothing else may use nc.
func awaitPings[T any](t *testing.T, nc *nats.Conn, begin func() <-chan T) <-chan T {
	t.Helper()
	enough := nc.Stats().OutMsgs + messagesOfWaiter
	returned := begin()
	eventually(t, "the call waits or returns", func() bool {
		return nc.Stats().OutMsgs >= enough || len(returned) > 0
	})
	return returned
}

// awaitSent returns when the connection has sent so many messages.
func awaitSent(t *testing.T, nc *nats.Conn, messages uint64) {
	t.Helper()
	eventually(t, "messages are sent", func() bool { return nc.Stats().OutMsgs >= messages })
}

// lead makes a call that leads a flight of the fleet, and returns its fn. The call is
// made again if the engine did not answer it in time: not at once, as calls that run
// without the engine would keep a busy machine from answering.
func lead(t *testing.T, g *Group, key, name string) (fn *gate, returned <-chan result) {
	t.Helper()
	eventually(t, "the call leads", func() bool {
		fn = newGate(t, name)
		returned = do(t.Context(), g, key, fn.fn)
		select {
		case token := <-fn.led:
			if token != 0 {
				return true
			}
			fn.open()
			receive(t, returned)
		case <-returned:
		case <-time.After(timeout):
		}
		return false
	})
	return fn, returned
}

// share reports whether the Groups have one flight for the key, and b, whose connection
// is nc, got its result. If not, that may be because b came too late.
func share(t *testing.T, a, b *Group, nc *nats.Conn, key string) bool {
	t.Helper()
	one, first := lead(t, a, key, "one")
	second := awaitPings(t, nc, func() <-chan result { return do(t.Context(), b, key, returning("other")) })
	one.open()
	want := result{one.value(1), nil, true}
	return receive(t, first) == want && receive(t, second) == want
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
