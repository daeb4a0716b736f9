package main

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/actorflight/singleflight"
	"github.com/actorflight/singleflight/natsflight"
)

// A peer coalesces the calls of one process with those of the other processes of a
// fleet.
type peer interface {
	Do(ctx context.Context, key string, fn function) ([]byte, error)
	Close()
}

// A function gets a token that is larger than that of every earlier flight of its key.
type function = func(ctx context.Context, token uint64) ([]byte, error)

// The peers' names, in the tables too.
const (
	nameOfEtcd  = "etcd"
	nameOfNats  = "natsflight"
	nameOfLocal = "no coordination"
)

// connect returns a peer that uses a node of an engine, by its address.
func connect(name, address string, replicas int) (peer, error) {
	switch name {
	case nameOfEtcd:
		return newEtcd(address)
	case nameOfNats:
		return newNats(address, replicas)
	case nameOfLocal:
		return new(local), nil
	default:
		return nil, fmt.Errorf("no peer has the name %q", name)
	}
}

// A natsPeer is a natsflight.Group with a connection of its own.
type natsPeer struct {
	*natsflight.Group
	conn *nats.Conn
}

func newNats(address string, replicas int) (peer, error) {
	conn, err := nats.Connect(address)
	if err != nil {
		return nil, fmt.Errorf("nats: %w", err)
	}
	js, err := jetstream.New(conn)
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("nats: %w", err)
	}
	c := natsflight.Config{Stream: "bench", Replicas: replicas, OnOutage: natsflight.Fail}
	ctx, cancel := context.WithTimeout(context.Background(), 25*time.Second) // a cluster that has just begun may be slow
	defer cancel()
	g, err := natsflight.New(ctx, js, c)
	if err != nil {
		conn.Close()
		return nil, err
	}
	return &natsPeer{g, conn}, nil
}

func (p *natsPeer) Do(ctx context.Context, key string, fn function) ([]byte, error) {
	v, err, _ := p.Group.Do(ctx, key, fn)
	return v, err
}

func (p *natsPeer) Close() {
	_ = p.Group.Close(context.Background())
	p.conn.Close()
}

// A local peer coalesces only the calls of its own process.
type local struct {
	group singleflight.GroupOf[string, []byte]
}

func (p *local) Do(ctx context.Context, key string, fn function) ([]byte, error) {
	v, err, _ := p.group.DoContext(ctx, key, func(ctx context.Context) ([]byte, error) { return fn(ctx, 0) })
	return v, err
}

func (p *local) Close() {}
