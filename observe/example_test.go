package observe_test

import (
	"context"
	"encoding/json"
	"expvar"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"time"

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

// With expvar, the figures are in JSON at /debug/vars. Times are in nanoseconds.
func ExampleGroupOf_Stats_expvar() {
	users := &observe.GroupOf[int64, *user]{Name: "users"}
	expvar.Publish("users", expvar.Func(func() any { return users.Stats() }))

	users.Do(7, func() (*user, error) { return &user{"Ada"}, nil })
	var stats observe.Stats
	err := json.Unmarshal([]byte(expvar.Get("users").String()), &stats)
	fmt.Println(stats.Calls, stats.Flights, stats.Failures.Total(), err)

	// Output: 1 1 0 <nil>
}

// A program that has no Prometheus can log the figures, for instance every minute.
func ExampleGroupOf_Stats_slog() {
	log := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{ReplaceAttr: withoutTime}))
	users := &observe.GroupOf[int64, *user]{Name: "users"}
	logStats := func() {
		s := users.Stats()
		log.Info("singleflight", "group", s.Name, "calls", s.Calls, "spared", s.Spared(),
			"failed", s.Failures.Total(), "in flight", s.InFlight, "oldest", s.Oldest)
	}

	users.Do(7, func() (*user, error) { return &user{"Ada"}, nil })
	logStats()

	// Output: level=INFO msg=singleflight group=users calls=1 spared=0 failed=0 "in flight"=0 oldest=0s
}

// A flight whose function takes too long is logged while it still runs.
func ExampleGroupOf_slow() {
	logged := make(chan bool)
	users := &observe.GroupOf[int64, *user]{
		SlowAfter: 10 * time.Millisecond,
		Slow: func(ctx context.Context, key int64, age time.Duration) {
			id, _ := ctx.Value(requestID{}).(string)
			fmt.Println("slow:", key, id, age >= 10*time.Millisecond)
			close(logged)
		},
	}

	ctx := context.WithValue(context.Background(), requestID{}, "request 4711")
	users.DoContext(ctx, 7, func(context.Context) (*user, error) {
		<-logged // a query that hangs
		return &user{"Ada"}, nil
	})

	// Output: slow: 7 request 4711 true
}

// withoutTime makes what is logged the same in each run.
func withoutTime(_ []string, a slog.Attr) slog.Attr {
	if a.Key == slog.TimeKey {
		return slog.Attr{}
	}
	return a
}
