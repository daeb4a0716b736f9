package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestDatabaseCounts(t *testing.T) {
	const ttl = time.Minute
	for name, test := range map[string]struct {
		second time.Duration // after the first query has begun
		of     string        // the second query
		want   counts
	}{
		"of different products":              {0, "2", counts{queries: 2, expiries: 2}},
		"one during another":                 {takes - 1, "1", counts{queries: 2, expiries: 1}},
		"one while the answer is valid":      {takes + ttl - 1, "1", counts{queries: 2, expiries: 1}},
		"one when the answer has expired":    {takes + ttl, "1", counts{queries: 2, expiries: 2}},
		"of different products, in sequence": {takes, "2", counts{queries: 2, expiries: 2}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDatabase(ttl)
				go d.query(t.Context(), "1", 1)
				synctest.Wait()
				time.Sleep(test.second)
				began := time.Now()
				a, err := d.query(t.Context(), test.of, 2)
				assert.NoError(t, err)
				assert.Equal(t, test.of, a.Product)
				assert.True(t, a.Until.Equal(began.Add(takes+ttl)))
				seen, _ := d.seen()
				assert.Equal(t, test.want, seen)
			})
		})
	}
}

func TestDatabaseAnswersFewQueriesAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDatabase(time.Minute)
		for range connections {
			go d.query(t.Context(), "1", 1)
		}
		synctest.Wait()
		began := time.Now()
		d.query(t.Context(), "2", 1)
		assert.Equal(t, 2*takes, time.Since(began))
	})
}

func TestTakeover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDatabase(time.Minute)
		ctx, die := context.WithCancel(t.Context())
		d.killNext(func(process int) {
			assert.Equal(t, 3, process)
			die()
		})
		d.query(t.Context(), "2", 2)
		_, seen := d.seen()
		assert.Zero(t, seen, "the product is not the most popular one")

		_, err := d.query(ctx, popular, 3)
		assert.ErrorIs(t, err, context.Canceled)
		time.Sleep(time.Second)
		d.query(t.Context(), "2", 2)
		d.query(t.Context(), popular, 4)
		d.query(t.Context(), popular, 1)
		counts, seen := d.seen()
		assert.Equal(t, takeover{killed: 3, by: 4, after: time.Second + takes}, seen)
		assert.Equal(t, 3, counts.expiries, "both queries of the killed flight had to be made")
	})
}

func TestDatabaseWantsAProcess(t *testing.T) {
	recorder := httptest.NewRecorder()
	newDatabase(0).handler().ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, "/products/1/sales", nil))
	assert.Equal(t, http.StatusBadRequest, recorder.Code)
}
