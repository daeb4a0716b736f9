package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/actorflight/singleflight"
	"github.com/actorflight/singleflight/examples/internal/program"
	"github.com/actorflight/singleflight/natsflight"
)

// The rounds.
const (
	alone      = "no coalescing"
	perProcess = "singleflight in each process"
	fleetwide  = "natsflight"
)

// variable is the environment variable that makes this program one of the processes: its
// value is the JSON of a spec.
const variable = "FLEET_PROCESS"

// A spec is what a process is told.
type spec struct {
	Number   int
	Round    string
	Database string // URL
	NATS     string // URL
	Name     string // of the stream for natsflight, and of the bucket
}

// A child is the parent's handle of a process.
type child struct {
	command *exec.Cmd
	stdin   io.Closer // the process ends when it is closed
	stdout  *bufio.Reader
	killed  atomic.Bool
}

// start starts a process, which must be stopped.
func start(s spec) (*child, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	value, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	c := &child{command: exec.Command(program)}
	c.command.Env = append(os.Environ(), variable+"="+string(value))
	c.command.Stderr = os.Stderr
	stdout, err := c.command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c.stdout = bufio.NewReader(stdout)
	if c.stdin, err = c.command.StdinPipe(); err != nil {
		return nil, err
	}
	return c, c.command.Start()
}

// url waits until the process serves, and returns its URL.
func (c *child) url() (string, error) {
	line, err := c.stdout.ReadString('\n')
	if err != nil {
		return "", errors.New("a process did not start")
	}
	return strings.TrimSpace(line), nil
}

// kill does what kill -9 does.
func (c *child) kill() {
	c.killed.Store(true)
	c.command.Process.Kill() // it fails only if the process has ended
}

// stop ends processes and waits for them.
func stop(fleet []*child) error {
	for _, c := range fleet {
		c.stdin.Close()
	}
	var errs []error
	for _, c := range fleet {
		late := time.AfterFunc(10*time.Second, func() { c.command.Process.Kill() })
		err := c.command.Wait()
		late.Stop()
		if !c.killed.Load() {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// beProcess is the program of a process, with its exit status. It serves until stdin ends,
// as it does when the parent dies.
func beProcess(value string) int {
	signal.Ignore(os.Interrupt, syscall.SIGTERM) // a terminal sends Ctrl-C to all; the parent decides
	var s spec
	if err := errors.Join(json.Unmarshal([]byte(value), &s), s.serve(os.Stdin, os.Stdout)); err != nil {
		fmt.Fprintf(os.Stderr, "fleet: process %d: %v\n", s.Number, err)
		return program.Failed
	}
	return program.Succeeded
}

// serve serves until stdin ends. It prints its URL when it is ready.
func (s spec) serve(stdin io.Reader, stdout io.Writer) error {
	connection, err := nats.Connect(s.NATS)
	if err != nil {
		return err
	}
	defer connection.Close()
	js, err := jetstream.New(connection)
	if err != nil {
		return err
	}
	shared, err := js.KeyValue(context.Background(), s.Name)
	if err != nil {
		return err
	}
	coalesce, end, err := s.coalescer(js)
	if err != nil {
		return err
	}
	defer end()

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	p := &process{query: s.query, shared: shared, coalesce: coalesce}
	server := http.Server{Handler: p.handler()}
	defer server.Close()
	go server.Serve(listener)
	fmt.Fprintf(stdout, "http://%s\n", listener.Addr())
	_, err = io.Copy(io.Discard, stdin)
	return err
}

// query asks the database.
func (s spec) query(ctx context.Context, product string) (answer, error) {
	var a answer
	at := fmt.Sprintf("%s/products/%s/sales?process=%d", s.Database, url.PathEscape(product), s.Number)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return a, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return a, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return a, fmt.Errorf("the database: %s", response.Status)
	}
	return a, json.NewDecoder(response.Body).Decode(&a)
}

// A coalescer runs fn, or waits for the fn of another call for the product.
type coalescer func(ctx context.Context, product string, fn func(context.Context) (answer, error)) (answer, error)

// coalescer returns the coalescer of the round, and what ends it.
func (s spec) coalescer(js jetstream.JetStream) (coalescer, func(), error) {
	switch s.Round {
	case perProcess:
		var flights singleflight.GroupOf[string, answer]
		return func(ctx context.Context, product string, fn func(context.Context) (answer, error)) (answer, error) {
			a, err, _ := flights.DoContext(ctx, product, fn)
			return a, err
		}, func() {}, nil
	case fleetwide:
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		group, err := natsflight.New(ctx, js, natsflight.Config{Stream: s.Name, Process: "process " + strconv.Itoa(s.Number)})
		if err != nil {
			return nil, nil, err
		}
		flights := natsflight.Of[answer](group, nil)
		return func(ctx context.Context, product string, fn func(context.Context) (answer, error)) (answer, error) {
			// No token is needed: two queries at once would be a waste, not a fault.
			a, err, _ := flights.Do(ctx, product, func(ctx context.Context, _ uint64) (answer, error) { return fn(ctx) })
			return a, err
		}, func() { _ = group.Close(context.Background()) }, nil
	default:
		return func(ctx context.Context, _ string, fn func(context.Context) (answer, error)) (answer, error) {
			return fn(ctx)
		}, func() {}, nil
	}
}

// A process answers GET /products/{id}/sales from two caches in front of a query.
type process struct {
	own      sync.Map // answers by product
	shared   cache
	coalesce coalescer
	query    func(ctx context.Context, product string) (answer, error)
}

// A cache is the part of a jetstream.KeyValue that processes use.
type cache interface {
	Get(ctx context.Context, key string) (jetstream.KeyValueEntry, error)
	Put(ctx context.Context, key string, value []byte) (uint64, error)
}

func (p *process) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /products/{id}/sales", func(w http.ResponseWriter, r *http.Request) {
		a, err := p.sales(r.Context(), r.PathValue("id"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		json.NewEncoder(w).Encode(a) // it fails only if the client has gone
	})
	return mux
}

func (p *process) sales(ctx context.Context, product string) (answer, error) {
	if a, ok := p.own.Load(product); ok && a.(answer).valid() {
		return a.(answer), nil
	}
	a, err := p.coalesce(ctx, product, func(ctx context.Context) (answer, error) {
		// Another flight may have landed since this request looked, in this process
		// or in another.
		if a, err := p.fromShared(ctx, product); err != nil || a.valid() {
			return a, err
		}
		a, err := p.query(ctx, product)
		if err != nil {
			return a, err
		}
		return a, p.toShared(ctx, product, a)
	})
	if err == nil {
		p.own.Store(product, a)
	}
	return a, err
}

// fromShared returns an answer that is not valid if there is none.
func (p *process) fromShared(ctx context.Context, product string) (a answer, err error) {
	entry, err := p.shared.Get(ctx, product)
	switch {
	case errors.Is(err, jetstream.ErrKeyNotFound):
		return a, nil
	case err != nil:
		return a, err
	}
	return a, json.Unmarshal(entry.Value(), &a)
}

func (p *process) toShared(ctx context.Context, product string, a answer) error {
	value, err := json.Marshal(a)
	if err != nil {
		return err
	}
	_, err = p.shared.Put(ctx, product, value)
	return err
}
