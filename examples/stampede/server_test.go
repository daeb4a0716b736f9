package main

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestServer(t *testing.T) {
	ordered := 0
	s, err := openShop(t.Context(), t.TempDir(), 2, 10, 1, func() { ordered++ })
	require.NoError(t, err)
	defer s.Close()
	assert.Equal(t, 10, ordered)
	_, err = s.db.ExecContext(t.Context(), `
		DELETE FROM orders;
		INSERT INTO orders (product_id, month, units, cents) VALUES
			(1, '2026-01', 2, 1000), (2, '2026-01', 1, 700), (1, '2026-02', 1, 500), (1, '2026-01', 1, 500)`)
	require.NoError(t, err)
	server := newServer(s, time.Hour, rounds()[2].coalesce)

	for range 2 { // the second time from the cache
		for _, test := range []struct {
			path   string
			status int
			body   string
		}{
			{"/products/1/sales", http.StatusOK, `{"product":"Product 1","months":[{"month":"2026-01","units":3,"cents":1500},{"month":"2026-02","units":1,"cents":500}]}` + "\n"},
			{"/products/3/sales", http.StatusNotFound, "no such product\n"},
			{"/products/one/sales", http.StatusBadRequest, "the product must be a number\n"},
		} {
			recorder := httptest.NewRecorder()
			server.handler().ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, test.path, nil))
			assert.Equal(t, test.status, recorder.Code, test.path)
			assert.Equal(t, test.body, recorder.Body.String(), test.path)
		}
	}
	assert.Equal(t, 3, server.gauge.read().Queries, "one for product 1, and what is not found is not cached")
}

func TestServerFails(t *testing.T) {
	s, err := openShop(t.Context(), t.TempDir(), 1, 0, 1, nil)
	require.NoError(t, err)
	require.NoError(t, s.Close())
	recorder := httptest.NewRecorder()
	newServer(s, time.Hour, rounds()[2].coalesce).handler().
		ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, "/products/1/sales", nil))
	assert.Equal(t, http.StatusInternalServerError, recorder.Code)
}
