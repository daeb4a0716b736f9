// Command singleflight uses the library as a program does that has installed it.
package main

import (
	"context"
	"log"

	"github.com/actorflight/singleflight"
)

func main() {
	var g singleflight.GroupOf[string, int]
	v, err, shared := g.DoContext(context.Background(), "key", func(context.Context) (int, error) { return 42, nil })
	if v != 42 || err != nil || shared {
		log.Fatal(v, err, shared)
	}
}
