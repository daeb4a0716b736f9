// Quickstart lets nine requests ask for one missing cache entry at once. One of
// them sets the cache, which takes three seconds, and all nine print the value.
//
//	go -C examples run ./quickstart
package main

import (
	"fmt"
	"log"
	"sync"
	"time"

	"github.com/jellydator/ttlcache/v3"

	"github.com/actorflight/singleflight"
)

var (
	cache   = ttlcache.New[string, string]()
	flights singleflight.GroupOf[string, string]
)

// getOrSet returns the cache entry of key. If there is none, it sets one, or waits for
// the request that is doing so.
func getOrSet(request int, key string) (string, error) {
	if entry := cache.Get(key); entry != nil {
		return entry.Value(), nil
	}
	value, err, _ := flights.Do(key, func() (string, error) {
		// Another flight may have landed since this request looked.
		if entry := cache.Get(key); entry != nil {
			return entry.Value(), nil
		}
		fmt.Printf("request %d is setting cache...\n", request)
		time.Sleep(3 * time.Second) // in practice, a query
		cache.Set(key, "VALUE", ttlcache.DefaultTTL)
		fmt.Printf("request %d set cache success!\n", request)
		return "VALUE", nil
	})
	return value, err
}

func main() {
	var requests sync.WaitGroup
	for request := 1; request <= 9; request++ {
		requests.Go(func() {
			fmt.Printf("request %d start to get and set cache...\n", request)
			value, err := getOrSet(request, "key")
			if err != nil {
				log.Fatal(err)
			}
			fmt.Printf("request %d get value: %s\n", request, value)
		})
	}
	requests.Wait()
}
