// Command observe uses the module as a program does that has installed it.
package main

import (
	"log"
	"net/http/httptest"
	"strings"

	"github.com/actorflight/singleflight/observe"
	"github.com/prometheus/client_golang/prometheus"
)

func main() {
	users := &observe.Group{Name: "users"}
	users.Do("key", func() (any, error) { return 42, nil })

	registry := prometheus.NewRegistry()
	registry.MustRegister(observe.Collector(users))
	if families, err := registry.Gather(); err != nil || len(families) == 0 {
		log.Fatal(families, err)
	}
	page := httptest.NewRecorder()
	observe.Handler(users).ServeHTTP(page, httptest.NewRequest("GET", "/", nil))
	if page.Code != 200 || !strings.Contains(page.Body.String(), "users") {
		log.Fatal(page)
	}
}
