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

// A write orders a product, and returns the id of the order. The error is sql.ErrNoRows if
// there is no such product.
type write func(ctx context.Context, product int64) (id int64, err error)

// A server answers GET /products/{id}/sales from a cache in front of a query. It answers
// POST /products/{id}/orders with the sales after a write.
type server struct {
	query    query
	write    write // nil if no client writes
	cache    *ttlcache.Cache[int64, *Sales]
	coalesce coalescer
	reread   coalescer // for the read after a write; nil if that is a read like any other
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
	mux.HandleFunc("GET /products/{id}/sales", answering(s.sales))
	mux.HandleFunc("POST /products/{id}/orders", answering(s.order))
	return mux
}

// answering returns a handler that answers with what f returns.
func answering[T any](f func(ctx context.Context, product int64) (T, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		product, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
		if err != nil {
			http.Error(w, "the product must be a number", http.StatusBadRequest)
			return
		}
		v, err := f(withAsker(r), product)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			http.Error(w, "no such product", http.StatusNotFound)
		case err != nil:
			http.Error(w, err.Error(), http.StatusInternalServerError)
		default:
			w.Header().Set("Content-Type", "application/json")
			json.NewEncoder(w).Encode(v) // it fails only if the client has gone
		}
	}
}

func (s *server) sales(ctx context.Context, product int64) (*Sales, error) {
	if item := s.cache.Get(product); item != nil {
		return item.Value(), nil
	}
	return s.load(ctx, s.coalesce, product, func(ctx context.Context) (any, error) {
		// Another query may have set the entry since this caller looked: then this
		// flight began too late to join that query, and must not repeat it. But a read after
		// a write may get the result of this flight, and must not get an entry from before.
		if item := s.cache.Get(product); item != nil && s.reread == nil {
			return item.Value(), nil
		}
		return s.ask(ctx, product)
	})
}

// An Ordered is the answer to a write.
type Ordered struct {
	Order int64  `json:"order"`
	Sales *Sales `json:"sales"`
}

// stale reports whether the sales miss the order, after which they were read.
func (o Ordered) stale() bool { return o.Sales.LastOrder < o.Order }

// order writes, invalidates the cache entry, and reads.
func (s *server) order(ctx context.Context, product int64) (o Ordered, err error) {
	o.Order, err = s.write(ctx, product)
	if err != nil {
		return o, err
	}
	s.cache.Delete(product)
	if s.reread == nil {
		o.Sales, err = s.sales(ctx, product)
		return o, err
	}
	// A query that began before the write may set the entry at any moment. So this read
	// does not look at the cache, neither here nor in its flight.
	o.Sales, err = s.load(ctx, s.reread, product, func(ctx context.Context) (any, error) { return s.ask(ctx, product) })
	return o, err
}

// load coalesces fn, which asks the database.
func (s *server) load(ctx context.Context, coalesce coalescer, product int64, fn func(context.Context) (any, error)) (*Sales, error) {
	defer s.gauge.wait(ctx, product)()
	v, err := coalesce(ctx, strconv.FormatInt(product, 10), fn)
	if err != nil {
		return nil, err
	}
	return v.(*Sales), nil
}

// ask asks the database, and sets the cache entry.
func (s *server) ask(ctx context.Context, product int64) (*Sales, error) {
	return s.gauge.watch(product, func() (*Sales, error) {
		sales, err := s.query(ctx, product)
		if err == nil {
			s.cache.Set(product, sales, ttlcache.DefaultTTL)
		}
		return sales, err
	})
}
