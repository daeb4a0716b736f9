package main

import (
	"context"
	"net"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/actorflight/singleflight/observe"
)

// This file is for -http: a window through which to watch the rounds of this library.

// A window has the groups of the rounds of this library, and serves what is in
// flight in them: a page at /, and metrics for Prometheus at /metrics.
type window struct {
	patient, impatient, writing observe.Group
	server                      http.Server
}

// openWindow serves at a TCP address, which it returns as well.
func openWindow(address string) (*window, net.Addr, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, nil, err
	}
	w := &window{
		patient:   observe.Group{Name: "patient clients", Whose: asker},
		impatient: observe.Group{Name: "impatient clients", Whose: asker},
		writing:   observe.Group{Name: "clients that write", Whose: asker},
	}
	w.server.Handler = w.handler()
	go w.server.Serve(listener)
	return w, listener.Addr(), nil
}

func (w *window) handler() http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(observe.Collector(&w.patient, &w.impatient, &w.writing))
	mux := http.NewServeMux()
	mux.Handle("/{$}", observe.Handler(&w.patient, &w.impatient, &w.writing))
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	return mux
}

// Close stops the server, and closes its connections.
func (w *window) Close() error { return w.server.Close() }

type askerKey struct{}

// withAsker returns the context of a request, with the client that asks.
func withAsker(r *http.Request) context.Context {
	return context.WithValue(r.Context(), askerKey{}, r.RemoteAddr)
}

// asker returns the client that began the flight whose fn got ctx.
func asker(ctx context.Context) string {
	address, _ := ctx.Value(askerKey{}).(string)
	return address
}
