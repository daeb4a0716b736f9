package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

const (
	thinking = 25 * time.Millisecond // the mean, between an answer and the next request
	patience = 30 * time.Second      // for one answer
	skew     = 1.2                   // of the products that are asked for; Zipf's s
)

// A load is what clients do to a server: again and again, each thinks a while,
// asks for a product, and waits for the answer. So when answers are slow there
// are fewer requests. The same seed makes the same clients.
type load struct {
	clients  int
	products int
	duration time.Duration
	seed     uint64
}

// A tally is what clients have seen.
type tally struct {
	errors    int64
	latencies *hdrhistogram.Histogram // of all requests, in microseconds
}

func newTally() *tally {
	return &tally{latencies: hdrhistogram.New(1, 2*patience.Microseconds(), 3)}
}

// put puts the load on the server at url. Requests that have begun when the
// duration is over are waited for; when ctx is done, they are not.
func (l load) put(ctx context.Context, url string) *tally {
	client := &http.Client{
		Timeout:   patience,
		Transport: &http.Transport{MaxIdleConnsPerHost: l.clients},
	}
	defer client.CloseIdleConnections()
	over, cancel := context.WithTimeout(ctx, l.duration)
	defer cancel()

	tallies := make([]*tally, l.clients)
	var clients sync.WaitGroup
	for i := range tallies {
		tallies[i] = newTally()
		clients.Go(func() {
			random := rand.New(rand.NewPCG(l.seed, uint64(i)))
			product := rand.NewZipf(random, skew, 1, uint64(l.products-1))
			for {
				select {
				case <-time.After(time.Duration(random.ExpFloat64() * float64(thinking))):
				case <-over.Done():
					return
				}
				tallies[i].request(ctx, client, fmt.Sprintf("%s/products/%d/sales", url, 1+product.Uint64()))
			}
		})
	}
	clients.Wait()

	sum := newTally()
	for _, t := range tallies {
		sum.errors += t.errors
		sum.latencies.Merge(t.latencies)
	}
	return sum
}

func (t *tally) request(ctx context.Context, client *http.Client, url string) {
	began := time.Now()
	if err := get(ctx, client, url); err != nil {
		t.errors++
	}
	// It fails only above the highest value, which patience keeps from us.
	_ = t.latencies.RecordValue(time.Since(began).Microseconds())
}

func get(ctx context.Context, client *http.Client, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, response.Status)
	}
	return nil
}
