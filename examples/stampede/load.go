package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

const (
	// thinking is the mean time between an answer and the client's next
	// request. At the default size a coalesced round then leaves one of two
	// processors idle: its latencies are not those of an overload.
	thinking = 50 * time.Millisecond

	patience = 20 * time.Second // for one answer
	skew     = 1.2              // of the products that are asked for; Zipf's s
)

// perWriter is how many clients there are for each that writes, if any do. All of these
// order the product in greatest demand. At the default size it is then queried nearly
// always.
const perWriter = 10

// For impatient clients:
const (
	// demand is the mean time from one request to the next, of all clients
	// together. At the default size the queries then take one of two processors,
	// even if all of them run to the end.
	demand = 25 * time.Millisecond

	// haste is the mean patience. At the default size a query takes longer.
	haste = 20 * time.Millisecond
)

// errGaveUp is the error of an answer that an impatient client did not wait for.
var errGaveUp = errors.New("gave up")

// A load is what clients do to a server: again and again, each thinks for a while,
// asks for a product, and waits for the answer. So there are fewer requests when
// answers are slow. The same seed makes the same clients.
type load struct {
	clients  int
	products int
	duration time.Duration
	seed     uint64

	// impatient clients give up soon, and ask rarely.
	impatient bool

	// Some clients write.
	writes bool
}

// put puts the load on the server at url, and adds the answers to t. It waits for the
// requests that have begun when the duration is over, unless ctx is done.
func (l load) put(ctx context.Context, url string, t *tally) {
	clients := make([]*client, l.clients)
	for i := range clients {
		clients[i] = l.newClient(uint64(i), url)
		defer clients[i].http.CloseIdleConnections()
		clients[i].connect(ctx)
	}

	over, cancel := context.WithTimeout(ctx, l.duration)
	defer cancel()
	answers := make(chan answer)
	var busy sync.WaitGroup
	for _, c := range clients {
		busy.Go(func() {
			for c.think(over) {
				answers <- c.ask(ctx)
			}
		})
	}
	go func() {
		busy.Wait()
		close(answers)
	}()
	for a := range answers {
		t.add(a)
	}
}

// A tally adds up the turns of one round.
type tally struct {
	errors    int64
	gaveUp    int64
	writes    int64                   // that did not fail
	stale     int64                   // of the reads after these
	latencies *hdrhistogram.Histogram // of all requests, in microseconds
	counts
}

func newTally() *tally {
	return &tally{latencies: hdrhistogram.New(1, 2*patience.Microseconds(), 3)}
}

func (t *tally) add(a answer) {
	switch {
	case errors.Is(a.err, errGaveUp):
		t.gaveUp++
	case a.err != nil:
		t.errors++
	}
	if a.written && a.err == nil {
		t.writes++
	}
	if a.stale {
		t.stale++
	}
	// It fails only above the highest value, which patience rules out.
	_ = t.latencies.RecordValue(a.latency.Microseconds())
}

// An answer is the outcome of one request.
type answer struct {
	latency time.Duration
	err     error
	written bool // the request was a write
	stale   bool // it was, and the read after it did not see it
}

// A client has one connection, and keeps it until it gives up.
type client struct {
	http      http.Client
	url       string
	random    *rand.Rand
	choose    *rand.Zipf
	thinking  time.Duration // mean
	impatient bool
	writes    bool
}

func (l load) newClient(i uint64, url string) *client {
	random := rand.New(rand.NewPCG(l.seed, i))
	c := &client{
		http:      http.Client{Timeout: patience, Transport: &http.Transport{}},
		url:       url,
		random:    random,
		choose:    rand.NewZipf(random, skew, 1, uint64(l.products-1)),
		thinking:  thinking,
		impatient: l.impatient,
		writes:    l.writes && i%perWriter == 0,
	}
	if l.impatient {
		c.thinking = time.Duration(l.clients) * demand
	}
	return c
}

// about returns a random time with this mean.
func (c *client) about(mean time.Duration) time.Duration {
	return time.Duration(c.random.ExpFloat64() * float64(mean))
}

// connect opens the connection, so that no request that is measured has to.
func (c *client) connect(ctx context.Context) {
	_ = c.do(ctx, http.MethodGet, c.url, nil) // any answer will do
}

// think reports whether there is time for another request afterwards.
func (c *client) think(over context.Context) bool {
	select {
	case <-time.After(c.about(c.thinking)):
		return true
	case <-over.Done():
		return false
	}
}

func (c *client) ask(ctx context.Context) answer {
	if c.writes {
		return c.order(ctx)
	}
	url := fmt.Sprintf("%s/products/%d/sales", c.url, 1+c.choose.Uint64())
	if c.impatient {
		return c.askInHaste(ctx, url)
	}
	began := time.Now()
	err := c.do(ctx, http.MethodGet, url, nil)
	return answer{latency: time.Since(began), err: err}
}

// order orders, and looks whether the answer includes the order.
func (c *client) order(ctx context.Context) answer {
	var ordered Ordered
	began := time.Now()
	err := c.do(ctx, http.MethodPost, c.url+"/products/1/orders", &ordered)
	return answer{latency: time.Since(began), err: err, written: true, stale: err == nil && ordered.stale()}
}

// askInHaste asks with a deadline. It connects again if it gives up, because that
// ends the connection.
func (c *client) askInHaste(ctx context.Context, url string) answer {
	waiting, cancel := context.WithTimeout(ctx, c.about(haste))
	defer cancel()
	began := time.Now()
	err := c.do(waiting, http.MethodGet, url, nil)
	a := answer{latency: time.Since(began), err: err}
	if err != nil && waiting.Err() != nil {
		a.err = errGaveUp
		c.connect(ctx)
	}
	return a
}

// do makes a request, and puts the answer into v unless v is nil.
func (c *client) do(ctx context.Context, method, url string, v any) error {
	request, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return err
	}
	response, err := c.http.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	// A connection is kept only if its answer has been read.
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, response.Status)
	}
	if v == nil {
		return nil
	}
	return json.Unmarshal(body, v)
}
