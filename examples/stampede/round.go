package main

import (
	"context"
	"errors"
	"net"
	"net/http"

	"golang.org/x/sync/singleflight"

	actorflight "github.com/actorflight/singleflight"
)

// A round is a load with one way to coalesce.
type round struct {
	name      string
	coalesces bool
	coalesce  coalescer
}

func rounds() []round {
	return []round{
		{"no coalescing", false, func(_ string, fn func() (any, error)) (any, error) { return fn() }},
		{"x/sync", true, coalescing(new(singleflight.Group))},
		{"actorflight", true, coalescing(new(actorflight.Group))},
	}
}

func coalescing(group interface {
	Do(key string, fn func() (any, error)) (any, error, bool)
}) coalescer {
	return func(key string, fn func() (any, error)) (any, error) {
		v, err, _ := group.Do(key, fn)
		return v, err
	}
}

// run does the round, with a cache and a server on loopback of its own.
func (r round) run(ctx context.Context, o options, q query) (outcome, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return outcome{}, err
	}
	s := newServer(q, o.ttl, r.coalesce)
	server := http.Server{Handler: s.handler()}
	defer server.Close()
	go server.Serve(listener)
	t := o.put(ctx, "http://"+listener.Addr().String())

	// A query whose client has given up is still this round's.
	err = errors.Join(server.Shutdown(ctx), ctx.Err())
	return newOutcome(r, t, s.gauge.read()), err
}
