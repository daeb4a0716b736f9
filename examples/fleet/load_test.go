package main

import (
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestClientsLeaveADeadProcess(t *testing.T) {
	dead := httptest.NewServer(http.NotFoundHandler())
	dead.Close()
	var asked atomic.Int64
	alive := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	defer alive.Close()
	latencies, errors := load{8, 300 * time.Millisecond}.put(t.Context(), []string{dead.URL, alive.URL})
	assert.Zero(t, errors)
	assert.NotEmpty(t, latencies)
	assert.EqualValues(t, len(latencies), asked.Load())
	assert.IsNonDecreasing(t, latencies)
}

func TestClientsCountErrors(t *testing.T) {
	broken := httptest.NewServer(http.NotFoundHandler())
	defer broken.Close()
	dead := httptest.NewServer(http.NotFoundHandler())
	dead.Close()
	for _, url := range []string{broken.URL, dead.URL} {
		latencies, errors := load{8, 300 * time.Millisecond}.put(t.Context(), []string{url, url})
		assert.NotEmpty(t, latencies)
		assert.Len(t, latencies, errors)
	}
}
