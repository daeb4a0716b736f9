package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"time"
)

const (
	// thinking is the mean time between an answer and the client's next request.
	thinking = 100 * time.Millisecond

	patience = 20 * time.Second // for one answer
	products = 5
	skew     = 1.2 // of the products that are asked for; Zipf's s
)

// A load is the work that clients give a fleet: again and again, each thinks for a while, asks
// any process for a product, and waits for the answer. The clients are the same each time.
type load struct {
	clients  int
	duration time.Duration
}

// put puts the load on the processes at urls, and returns the latencies of all requests, in
// ascending order, and the number of those that failed. It waits for the requests that have
// begun when the duration is over, unless ctx is done.
func (l load) put(ctx context.Context, urls []string) (latencies []time.Duration, errors int) {
	over, cancel := context.WithTimeout(ctx, l.duration)
	defer cancel()
	transport := &http.Transport{MaxIdleConnsPerHost: l.clients}
	defer transport.CloseIdleConnections()

	type result struct {
		latency time.Duration
		err     error
	}
	results := make(chan result)
	var busy sync.WaitGroup
	for i := range l.clients {
		random := rand.New(rand.NewPCG(1, uint64(i)))
		c := client{
			http:   http.Client{Timeout: patience, Transport: transport},
			urls:   urls,
			random: random,
			choose: rand.NewZipf(random, skew, 1, products-1),
		}
		busy.Go(func() {
			for sleep(over, c.thinks()) == nil {
				began := time.Now()
				err := c.ask(ctx)
				results <- result{time.Since(began), err}
			}
		})
	}
	go func() {
		busy.Wait()
		close(results)
	}()
	for r := range results {
		latencies = append(latencies, r.latency)
		if r.err != nil {
			errors++
		}
	}
	slices.Sort(latencies)
	return latencies, errors
}

type client struct {
	http   http.Client
	urls   []string
	random *rand.Rand
	choose *rand.Zipf
}

func (c *client) thinks() time.Duration {
	return time.Duration(c.random.ExpFloat64() * float64(thinking))
}

// ask asks any process, and the next ones if that has died.
func (c *client) ask(ctx context.Context) (err error) {
	product, first := 1+c.choose.Uint64(), c.random.IntN(len(c.urls))
	for i := range c.urls {
		var status int
		url := c.urls[(first+i)%len(c.urls)]
		status, err = c.get(ctx, fmt.Sprintf("%s/products/%d/sales", url, product))
		switch {
		case status == http.StatusOK:
			return err
		case err == nil:
			return fmt.Errorf("%s: %s", url, http.StatusText(status))
		}
	}
	return err
}

// get returns an error, and no status, if there is no answer.
func (c *client) get(ctx context.Context, url string) (status int, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	response, err := c.http.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	// A connection is kept only if its answer has been read.
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return 0, err
	}
	return response.StatusCode, nil
}
