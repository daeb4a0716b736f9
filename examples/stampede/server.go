package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/jellydator/ttlcache/v3"
)

// A coalescer runs fn, or waits for the fn of another call with the same key. The context
// that it gives to fn says when fn is to stop.
type coalescer func(ctx context.Context, key string, fn func(context.Context) (any, error)) (any, error)

// A query looks up the sales of a product. The error is sql.ErrNoRows if there
// is no such product.
type query func(ctx context.Context, product int64) (*Sales, error)

// A server answers GET /products/{id}/sales from a cache in front of a query.
type server struct {
	query    query
	cache    *ttlcache.Cache[int64, *Sales]
	coalesce coalescer
	gauge    *gauge
}

func newServer(q query, ttl time.Duration, coalesce coalescer) *server {
	cache := ttlcache.New(
		ttlcache.WithTTL[int64, *Sales](ttl),
		ttlcache.WithDisableTouchOnHit[int64, *Sales](), // an entry that is read expires, too
	)
	return &server{query: q, cache: cache, coalesce: coalesce, gauge: newGauge(cache.Has)}
}

func (s *server) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /products/{id}/sales", func(w http.ResponseWriter, r *http.Request) {
		product, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
		if err != nil {
			http.Error(w, "the product must be a number", http.StatusBadRequest)
			return
		}
		sales, err := s.sales(withAsker(r), product)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			http.Error(w, "no such product", http.StatusNotFound)
		case err != nil:
			http.Error(w, err.Error(), http.StatusInternalServerError)
		default:
			w.Header().Set("Content-Type", "application/json")
			json.NewEncoder(w).Encode(sales) // it fails only if the client has gone
		}
	})
	return mux
}

func (s *server) sales(ctx context.Context, product int64) (*Sales, error) {
	if item := s.cache.Get(product); item != nil {
		return item.Value(), nil
	}
	defer s.gauge.wait(ctx, product)()
	v, err := s.coalesce(ctx, strconv.FormatInt(product, 10), func(ctx context.Context) (any, error) {
		// Another query may have set the entry since this caller looked: then this
		// flight began too late to join that query, and must not repeat it.
		if item := s.cache.Get(product); item != nil {
			return item.Value(), nil
		}
		return s.gauge.watch(product, func() (*Sales, error) {
			sales, err := s.query(ctx, product)
			if err == nil {
				s.cache.Set(product, sales, ttlcache.DefaultTTL)
			}
			return sales, err
		})
	})
	if err != nil {
		return nil, err
	}
	return v.(*Sales), nil
}
