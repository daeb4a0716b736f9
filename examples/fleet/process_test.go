package main

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A memory is a cache for tests without concurrency.
type memory map[string][]byte

type entry struct {
	jetstream.KeyValueEntry
	value []byte
}

func (e entry) Value() []byte { return e.value }

func (m memory) Get(_ context.Context, key string) (jetstream.KeyValueEntry, error) {
	value, ok := m[key]
	if !ok {
		return nil, jetstream.ErrKeyNotFound
	}
	return entry{value: value}, nil
}

func (m memory) Put(_ context.Context, key string, value []byte) (uint64, error) {
	m[key] = value
	return 0, nil
}

func newProcess(t *testing.T, round string, shared cache, query func(context.Context, string) (answer, error)) *process {
	t.Helper()
	coalesce, _, err := spec{Round: round}.coalescer(nil)
	require.NoError(t, err)
	return &process{shared: shared, coalesce: coalesce, query: query}
}

func TestProcessesShareAnswersWhileTheyAreValid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		queries := 0
		query := func(_ context.Context, product string) (answer, error) {
			queries++
			return answer{product, 7, time.Now().Round(0).Add(5 * time.Second)}, nil
		}
		shared := make(memory)
		one, other := newProcess(t, alone, shared, query), newProcess(t, perProcess, shared, query)
		for _, want := range []int{1, 1, 2, 2} { // after 0, 3, 6 and 9 seconds
			for _, p := range []*process{one, other} {
				a, err := p.sales(t.Context(), "1")
				require.NoError(t, err)
				assert.Equal(t, 7, a.Units)
				assert.True(t, a.valid())
				assert.Equal(t, want, queries)
			}
			time.Sleep(3 * time.Second)
		}
	})
}

func TestProcessFails(t *testing.T) {
	p := newProcess(t, alone, make(memory), func(context.Context, string) (answer, error) { return answer{}, errors.New("broken") })
	recorder := httptest.NewRecorder()
	p.handler().ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, "/products/1/sales", nil))
	assert.Equal(t, http.StatusInternalServerError, recorder.Code)
	assert.Equal(t, "broken\n", recorder.Body.String())
}
