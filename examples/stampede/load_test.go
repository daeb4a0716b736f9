package main

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// under puts a small load on a handler.
func under(t *testing.T, handler http.HandlerFunc) *tally {
	t.Helper()
	server := httptest.NewServer(handler)
	defer server.Close()
	seen := newTally()
	small().put(t.Context(), server.URL, seen)
	return seen
}

func TestLoadCountsErrors(t *testing.T) {
	seen := under(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusInternalServerError)
	})
	assert.Positive(t, seen.errors)
	assert.Equal(t, seen.latencies.TotalCount(), seen.errors)
}

func TestImpatientClientsGiveUp(t *testing.T) {
	var asked, ended, connected atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/" {
			asked.Add(1)
			<-r.Context().Done()
			ended.Add(1)
		} else {
			connected.Add(1)
		}
	}))
	o := small().inHaste()
	o.duration = time.Second
	seen := newTally()
	o.put(t.Context(), server.URL, seen)
	server.Close() // waits for the requests
	assert.Positive(t, asked.Load())
	assert.Equal(t, asked.Load(), ended.Load())
	assert.Equal(t, seen.latencies.TotalCount(), seen.gaveUp)
	assert.Equal(t, int64(o.clients)+seen.gaveUp, connected.Load(), "a client that gives up connects again")
	assert.Zero(t, seen.errors)
}

func TestEntriesExpireSoonInHaste(t *testing.T) {
	assert.Equal(t, minTTL, small().inHaste().ttl)
}

func TestImpatientClientsFail(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	seen := newTally()
	small().inHaste().put(t.Context(), server.URL, seen)
	assert.Positive(t, seen.errors)
	assert.Equal(t, seen.latencies.TotalCount(), seen.errors+seen.gaveUp)
}

// One of eight clients orders. Every other answer to it is stale.
func TestSomeClientsOrder(t *testing.T) {
	var orders, others atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			assert.Equal(t, "/products/1/orders", r.URL.Path)
			order := orders.Add(1)
			json.NewEncoder(w).Encode(Ordered{Order: order, Sales: &Sales{LastOrder: order - order%2}})
		} else if r.URL.Path != "/" {
			others.Add(1)
		}
	}))
	defer server.Close()
	l := small().load
	l.writes = true
	seen := newTally()
	l.put(t.Context(), server.URL, seen)
	assert.Positive(t, others.Load())
	assert.Positive(t, orders.Load())
	assert.Equal(t, orders.Load()+others.Load(), seen.latencies.TotalCount())
	assert.Equal(t, orders.Load(), seen.writes)
	assert.Equal(t, (orders.Load()+1)/2, seen.stale)
	assert.Zero(t, seen.errors)
}

func TestOrdersThatFailAreNoWrites(t *testing.T) {
	for _, answer := range []http.HandlerFunc{
		http.NotFound,
		func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "no JSON") },
	} {
		server := httptest.NewServer(answer)
		defer server.Close()
		l := small().load
		l.clients, l.writes = 1, true
		seen := newTally()
		l.put(t.Context(), server.URL, seen)
		assert.Positive(t, seen.errors)
		assert.Equal(t, seen.latencies.TotalCount(), seen.errors)
		assert.Zero(t, seen.writes)
		assert.Zero(t, seen.stale)
	}
}

func TestLoadWaitsForAnswers(t *testing.T) {
	seen := under(t, func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/" {
			time.Sleep(small().duration) // longer than what is left of the round
		}
	})
	assert.Positive(t, seen.latencies.TotalCount())
	assert.Zero(t, seen.errors)
}

func TestClientsConnectOnceAndBeforeTheRound(t *testing.T) {
	var opened, asked atomic.Int64
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/" {
			asked.Add(1)
			assert.EqualValues(t, small().clients, opened.Load())
		}
	}))
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			opened.Add(1)
		}
	}
	server.Start()
	defer server.Close()
	seen := newTally()
	small().put(t.Context(), server.URL, seen)
	assert.Positive(t, asked.Load())
	assert.Equal(t, asked.Load(), seen.latencies.TotalCount(), "connecting is not counted")
}
