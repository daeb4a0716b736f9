package main

import (
	"context"
	"database/sql/driver"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"modernc.org/sqlite"
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
	server := newServer(s.sales, time.Hour, stages(bare())[1][1].coalesce)

	for range 2 { // the second time from the cache
		for _, test := range []struct {
			path   string
			status int
			body   string
		}{
			{"/products/1/sales", http.StatusOK, `{"product":"Product 1","months":[{"month":"2026-01","units":3,"cents":1500},{"month":"2026-02","units":1,"cents":500}],"last_order":4}` + "\n"},
			{"/products/3/sales", http.StatusNotFound, "no such product\n"},
			{"/products/one/sales", http.StatusBadRequest, "the product must be a number\n"},
		} {
			recorder := httptest.NewRecorder()
			server.handler().ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, test.path, nil))
			assert.Equal(t, test.status, recorder.Code, test.path)
			assert.Equal(t, test.body, recorder.Body.String(), test.path)
		}
	}
	assert.Equal(t, 3, server.gauge.read().Queries, "one for product 1; an error is not cached")
}

func TestEntryExpiresThoughItIsRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		queries := 0
		q := func(context.Context, int64) (*Sales, error) { queries++; return new(Sales), nil }
		server := newServer(q, 5*time.Second, stages(bare())[1][1].coalesce)
		for _, want := range []int{1, 1, 2, 2} { // after 0, 3, 6 and 9 seconds
			_, err := server.sales(t.Context(), 1)
			require.NoError(t, err)
			assert.Equal(t, want, queries)
			time.Sleep(3 * time.Second)
		}
		assert.Equal(t, counts{Queries: 2, Expiries: 2}, server.gauge.read())
	})
}

func TestOrder(t *testing.T) {
	s, err := openShop(t.Context(), t.TempDir(), 2, 0, 1, nil)
	require.NoError(t, err)
	defer s.Close()
	for _, r := range writing(bare()) {
		t.Run(r.name, func(t *testing.T) {
			_, err = s.db.ExecContext(t.Context(), `
				DELETE FROM orders;
				INSERT INTO orders (product_id, month, units, cents) VALUES (1, '2026-12', 2, 1000)`)
			require.NoError(t, err)
			server := newServer(s.sales, time.Hour, r.coalesce)
			server.write, server.reread = s.order, r.reread
			const before = `{"product":"Product 1","months":[{"month":"2026-12","units":2,"cents":1000}],"last_order":1}`
			const after = `{"product":"Product 1","months":[{"month":"2026-12","units":3,"cents":1510}],"last_order":2}`
			for _, test := range []struct {
				method, path string
				status       int
				body         string
			}{
				{http.MethodGet, "/products/1/sales", http.StatusOK, before},
				{http.MethodPost, "/products/1/orders", http.StatusOK, `{"order":2,"sales":` + after + `}`},
				{http.MethodGet, "/products/1/sales", http.StatusOK, after},
				{http.MethodPost, "/products/3/orders", http.StatusNotFound, "no such product"},
				{http.MethodPost, "/products/one/orders", http.StatusBadRequest, "the product must be a number"},
			} {
				recorder := httptest.NewRecorder()
				server.handler().ServeHTTP(recorder, httptest.NewRequest(test.method, test.path, nil))
				assert.Equal(t, test.status, recorder.Code, test.path)
				assert.Equal(t, test.body+"\n", recorder.Body.String(), test.path)
			}
			assert.Equal(t, counts{Queries: 2, Expiries: 2}, server.gauge.read())
		})
	}
}

// A query sees what has been committed when it begins.
func TestReadAfterAWriteDuringAQuery(t *testing.T) {
	for i, want := range []struct {
		stale bool
		entry int64 // the last order that the cache entry includes at the end
		counts
	}{
		{true, 0, counts{Queries: 1, Expiries: 1}},               // x/sync Do
		{false, 0, counts{Queries: 2, Expiries: 1, Overlaps: 1}}, // x/sync Forget+Do
		{true, 0, counts{Queries: 1, Expiries: 1}},               // actorflight DoContext
		{false, 1, counts{Queries: 2, Expiries: 1}},              // actorflight DoFresh
	} {
		r := writing(bare())[i]
		t.Run(r.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var committed atomic.Int64
				unblock := make(chan struct{})
				server := newServer(func(context.Context, int64) (*Sales, error) {
					sales := &Sales{LastOrder: committed.Load()}
					if sales.LastOrder == 0 {
						<-unblock
					}
					return sales, nil
				}, time.Hour, r.coalesce)
				server.write, server.reread = func(context.Context, int64) (int64, error) { return committed.Add(1), nil }, r.reread
				go server.sales(t.Context(), 1)
				synctest.Wait()
				ordered := make(chan Ordered, 1)
				go func() {
					o, err := server.order(t.Context(), 1)
					assert.NoError(t, err)
					ordered <- o
				}()
				synctest.Wait()
				close(unblock)
				synctest.Wait()
				o := <-ordered
				assert.Equal(t, int64(1), o.Order)
				assert.Equal(t, want.stale, o.stale())
				assert.Equal(t, want.entry, server.cache.Get(1).Value().LastOrder)
				assert.Equal(t, want.counts, server.gauge.read())
			})
		})
	}
}

// An entry that an older query sets when the write has deleted it is no answer to a read
// that must be fresh.
func TestFreshReadDoesNotLookAtTheCache(t *testing.T) {
	q := func(context.Context, int64) (*Sales, error) { return &Sales{LastOrder: 1}, nil }
	late := func(server *server, c coalescer) coalescer {
		return func(ctx context.Context, key string, fn func(context.Context) (any, error)) (any, error) {
			server.cache.Set(1, new(Sales), time.Hour)
			return c(ctx, key, fn)
		}
	}
	for _, r := range writing(bare()) {
		server := newServer(q, time.Hour, nil)
		server.write = func(context.Context, int64) (int64, error) { return 1, nil }
		if server.coalesce = late(server, r.coalesce); r.reread != nil {
			server.reread = late(server, r.reread)
		}
		o, err := server.order(t.Context(), 1)
		require.NoError(t, err)
		assert.Equal(t, r.reread == nil, o.stale(), r.name)
	}
}

func TestOrderFails(t *testing.T) {
	broken := errors.New("broken")
	server := newServer(func(context.Context, int64) (*Sales, error) { return nil, broken }, time.Hour, alone)
	server.write = func(context.Context, int64) (int64, error) { return 1, nil }
	for _, server.reread = range []coalescer{nil, alone} {
		_, err := server.order(t.Context(), 1)
		assert.Equal(t, broken, err)
	}
}

// A coalescer that runs fn again is like a second flight that begins just when
// the first has landed.
func TestFreshEntryIsNotQueriedAgain(t *testing.T) {
	q := func(context.Context, int64) (*Sales, error) { return new(Sales), nil }
	again := func(ctx context.Context, _ string, fn func(context.Context) (any, error)) (any, error) {
		if v, err := fn(ctx); err != nil {
			return v, err
		}
		return fn(ctx)
	}
	server := newServer(q, time.Hour, again)
	_, err := server.sales(t.Context(), 1)
	require.NoError(t, err)
	assert.Equal(t, 1, server.gauge.read().Queries)
}

// slow returns a query that takes an hour, and calls begun first.
func slow(begun func()) query {
	return func(ctx context.Context, _ int64) (*Sales, error) {
		begun()
		select {
		case <-time.After(time.Hour):
			return new(Sales), nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func TestRequestLeavesInTheMiddleOfItsQuery(t *testing.T) {
	for i, want := range []counts{
		{Queries: 1, Expiries: 1, Cancelled: 1}, // no coalescing
		{Queries: 1, Expiries: 1, Wasted: 1},    // x/sync
		{Queries: 1, Expiries: 1, Cancelled: 1}, // actorflight
	} {
		r := impatient(bare())[i]
		t.Run(r.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, leave := context.WithCancel(t.Context())
				server := newServer(slow(leave), time.Hour, r.coalesce)
				began := time.Now()
				_, err := server.sales(ctx, 1)
				assert.ErrorIs(t, err, context.Canceled)
				assert.Zero(t, time.Since(began), "it does not wait for the query")
				assert.Equal(t, want, server.gauge.read())
			})
		})
	}
}

func TestQueryGoesOnForARequestThatStays(t *testing.T) {
	for _, r := range impatient(bare())[1:] {
		t.Run(r.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := newServer(slow(func() {}), time.Hour, r.coalesce)
				ctx, leave := context.WithCancel(t.Context())
				go server.sales(ctx, 1)
				synctest.Wait()
				time.AfterFunc(time.Minute, leave)
				sales, err := server.sales(t.Context(), 1)
				require.NoError(t, err)
				assert.NotNil(t, sales)
				assert.Equal(t, counts{Queries: 1, Expiries: 1}, server.gauge.read())
			})
		})
	}
}

// querying is what the SQL function of that name calls.
var querying func()

func init() {
	sqlite.MustRegisterScalarFunction("querying", 1, func(_ *sqlite.FunctionContext, args []driver.Value) (driver.Value, error) {
		querying()
		return args[0], nil
	})
}

// A query that never ends by itself ends when its context does.
func TestDatabaseCancels(t *testing.T) {
	var ctx context.Context
	ctx, querying = context.WithCancel(t.Context())
	s, err := openShop(t.Context(), t.TempDir(), 1, 0, 1, nil)
	require.NoError(t, err)
	defer s.Close()
	_, err = s.db.ExecContext(t.Context(), `
		DROP TABLE orders;
		CREATE VIEW orders AS
			WITH RECURSIVE endless (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM endless)
			SELECT n AS id, querying(1) AS product_id, '2026-01' AS month, n AS units, n AS cents FROM endless`)
	require.NoError(t, err)

	_, err = s.sales(ctx, 1)
	assert.ErrorIs(t, err, context.Canceled)
	assert.Zero(t, s.db.Stats().InUse)
}

func TestServerFails(t *testing.T) {
	s, err := openShop(t.Context(), t.TempDir(), 1, 0, 1, nil)
	require.NoError(t, err)
	require.NoError(t, s.Close())
	recorder := httptest.NewRecorder()
	newServer(s.sales, time.Hour, stages(bare())[1][1].coalesce).handler().
		ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, "/products/1/sales", nil))
	assert.Equal(t, http.StatusInternalServerError, recorder.Code)
}
