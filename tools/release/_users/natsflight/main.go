// Command natsflight uses the module as a program does that has installed it. It connects
// to no server, and New tells it so.
package main

import (
	"context"
	"errors"
	"log"

	"github.com/actorflight/singleflight/natsflight"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func main() {
	nc, err := nats.Connect("nats://127.0.0.1:1", nats.RetryOnFailedConnect(true))
	if err != nil {
		log.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := natsflight.New(ctx, js, natsflight.Config{Stream: "reports"}); !errors.Is(err, natsflight.ErrUnavailable) {
		log.Fatal(err)
	}
}
