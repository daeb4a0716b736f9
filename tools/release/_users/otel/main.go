// Command otel uses the module as a program does that has installed it.
package main

import (
	"log"

	"github.com/actorflight/singleflight/observe"
	flights "github.com/actorflight/singleflight/observe/otel"
	"go.opentelemetry.io/otel"
)

func main() {
	users := &observe.Group{Name: "users"}
	registration, err := flights.Register(otel.Meter("user"), users)
	if err != nil {
		log.Fatal(err)
	}
	if err := registration.Unregister(); err != nil {
		log.Fatal(err)
	}
}
