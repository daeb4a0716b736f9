package observe_test

import (
	"context"
	"fmt"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/actorflight/singleflight/observe"
)

type user struct{ name string }

// The five lines: a group with a name, its metrics, and its page.
func Example() {
	users := &observe.GroupOf[int64, *user]{Name: "users"}
	prometheus.MustRegister(observe.Collector(users))
	admin := http.NewServeMux() // only operators reach it
	admin.Handle("GET /debug/singleflight", observe.Handler(users))

	u, err, shared := users.Do(7, func() (*user, error) { return &user{"Ada"}, nil })
	fmt.Println(u.name, err, shared)

	// Output: Ada <nil> false
}

type requestID struct{}

// Whose a flight is, is what its context says.
func ExampleGroupOf_whose() {
	users := &observe.GroupOf[int64, *user]{
		Name: "users",
		Whose: func(ctx context.Context) string {
			id, _ := ctx.Value(requestID{}).(string)
			return id
		},
	}

	ctx := context.WithValue(context.Background(), requestID{}, "request 4711")
	users.DoContext(ctx, 7, func(ctx context.Context) (*user, error) {
		for _, f := range users.InFlight() { // or the page
			fmt.Println(f.Key, f.State, users.Whose(f.Context))
		}
		return &user{"Ada"}, nil
	})

	// Output: 7 flying request 4711
}
