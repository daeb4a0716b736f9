package singleflight_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/actorflight/singleflight"
)

func ExampleGroupOf_Do() {
	var g singleflight.Group

	v, err, shared := g.Do("user:7", func() (any, error) {
		return "Ada", nil // what a database would return
	})
	fmt.Println(v, err, shared)

	// The flight has landed, and nothing is cached: this is another one.
	v, err, shared = g.Do("user:7", func() (any, error) {
		return nil, errors.New("no such user")
	})
	fmt.Println(v, err, shared)

	// Output:
	// Ada <nil> false
	// <nil> no such user false
}

// The second call gets the result of the first one's function.
func ExampleGroupOf_DoChan() {
	var g singleflight.Group
	answer := make(chan string)

	first := g.DoChan("key", func() (any, error) { return <-answer, nil })
	second := g.DoChan("key", func() (any, error) { return "not called", nil })
	answer <- "the answer"

	fmt.Printf("%+v\n", <-first)
	fmt.Printf("%+v\n", <-second)

	// Output:
	// {Val:the answer Err:<nil> Shared:true}
	// {Val:the answer Err:<nil> Shared:true}
}

// A caller that runs out of time ignores the channel. The function goes on for the other
// callers; after Forget, the next call is a new attempt.
func ExampleGroupOf_DoChan_timeout() {
	var g singleflight.Group
	stuck := make(chan struct{})
	defer close(stuck)

	select {
	case r := <-g.DoChan("key", func() (any, error) { <-stuck; return "too late", nil }):
		fmt.Println(r.Val)
	case <-time.After(10 * time.Millisecond):
		g.Forget("key")
		fmt.Println("timed out")
	}

	v, _, _ := g.Do("key", func() (any, error) { return "second attempt", nil })
	fmt.Println(v)

	// Output:
	// timed out
	// second attempt
}

// When the last caller has left, fn's context ends.
func ExampleGroupOf_DoContext() {
	var g singleflight.Group
	request, leave := context.WithCancel(context.Background())

	_, err, _ := g.DoContext(request, "user:7", func(ctx context.Context) (any, error) {
		leave() // the client disconnects in the middle of the query
		<-ctx.Done()
		fmt.Println("query:", context.Cause(ctx))
		return nil, ctx.Err()
	})
	fmt.Println("caller:", err)
	g.Wait(context.Background())

	// Unordered output:
	// caller: context canceled
	// query: singleflight: all callers have left
}

type requestID struct{}

// The values of the first caller's context reach fn.
func ExampleGroupOf_DoContext_values() {
	var g singleflight.Group
	ctx := context.WithValue(context.Background(), requestID{}, "request 1")

	v, _, _ := g.DoContext(ctx, "user:7", func(ctx context.Context) (any, error) {
		return fmt.Sprintf("loaded for %v", ctx.Value(requestID{})), nil
	})
	fmt.Println(v)

	// Output: loaded for request 1
}

func ExampleGroupOf_DoChanContext() {
	var g singleflight.Group
	ctx, cancel := context.WithCancel(context.Background())
	answer := make(chan string)
	fn := func(context.Context) (any, error) { return <-answer, nil }

	leaves := g.DoChanContext(ctx, "key", fn)
	stays := g.DoChanContext(context.Background(), "key", fn)
	cancel()
	fmt.Printf("%+v\n", <-leaves)
	answer <- "the answer"
	fmt.Printf("%+v\n", <-stays)

	// Output:
	// {Val:<nil> Err:context canceled Shared:false}
	// {Val:the answer Err:<nil> Shared:false}
}

// A caller that has written reads what it has written, even if a flight is in progress that
// has read before.
func ExampleGroupOf_DoFresh() {
	var stock atomic.Int64
	stock.Store(3)
	var pages singleflight.GroupOf[string, string]
	render := func(context.Context) (string, error) {
		return fmt.Sprint(stock.Load(), " in stock"), nil
	}

	hasRead, finish := make(chan struct{}), make(chan struct{})
	before := pages.DoChanContext(context.Background(), "page", func(ctx context.Context) (string, error) {
		page, err := render(ctx)
		close(hasRead)
		<-finish
		return page, err
	})
	<-hasRead

	stock.Add(-1)
	go close(finish) // at any time; DoFresh waits until it is
	after, _, _ := pages.DoFresh(context.Background(), "page", render)

	fmt.Println("asked before the write:", (<-before).Val)
	fmt.Println("asked after the write:", after)

	// Output:
	// asked before the write: 3 in stock
	// asked after the write: 2 in stock
}

// Synchronize after each change, but never twice at once. Changes that are made during a
// synchronization share the next one.
func ExampleGroupOf_DoChanFresh() {
	var group singleflight.Group
	var source, copied atomic.Int64

	copyAll := func(context.Context) (any, error) {
		copied.Store(source.Load())
		return nil, nil
	}
	change := func() {
		source.Add(1)
		group.DoChanFresh(context.Background(), "sync", copyAll) // and go on
	}

	for range 100 {
		change()
	}
	group.Wait(context.Background())
	fmt.Println(copied.Load() == source.Load())

	// Output: true
}

// After a write, a read must not get what a flight found before it. Forget lets the two
// functions overlap; DoFresh does not.
func ExampleGroupOf_Forget() {
	var g singleflight.Group
	slow := make(chan struct{})

	before := g.DoChan("stock", func() (any, error) { <-slow; return 3, nil })
	// A write: the stock is 2 now.
	g.Forget("stock")
	after, _, _ := g.Do("stock", func() (any, error) { return 2, nil })
	close(slow)

	fmt.Println("asked before the write:", (<-before).Val)
	fmt.Println("asked after the write:", after)

	// Output:
	// asked before the write: 3
	// asked after the write: 2
}

func ExampleGroupOf_ForgetUnshared() {
	var g singleflight.Group
	slow := make(chan struct{})
	fn := func() (any, error) { <-slow; return nil, nil }

	fmt.Println("not in flight:", g.ForgetUnshared("key"))
	g.DoChan("key", fn)
	fmt.Println("alone:", g.ForgetUnshared("key"))
	landed := g.DoChan("key", fn)
	g.DoChan("key", fn)
	fmt.Println("joined:", g.ForgetUnshared("key"))

	close(slow)
	<-landed

	// Output:
	// not in flight: true
	// alone: true
	// joined: false
}

// What is in flight, how many callers wait for it, and which request came first?
func ExampleGroupOf_InFlight() {
	var g singleflight.Group
	stuck := make(chan struct{})
	fn := func(context.Context) (any, error) { <-stuck; return nil, nil }

	ctx := context.WithValue(context.Background(), requestID{}, "request 1")
	first := g.DoChanContext(ctx, "user:7", fn)
	g.DoChanContext(context.Background(), "user:7", fn)
	for _, f := range g.InFlight() {
		fmt.Printf("%s is %v for %d callers, since %v\n", f.Key, f.State, f.Callers, f.Context.Value(requestID{}))
	}
	close(stuck)
	<-first

	// Output:
	// user:7 is flying for 2 callers, since request 1
}

// At shutdown, abandoned flights may still be in progress.
func ExampleGroupOf_Wait() {
	var g singleflight.Group
	request, leave := context.WithCancel(context.Background())
	begun, closed := make(chan struct{}), false
	g.DoChanContext(request, "report", func(ctx context.Context) (any, error) {
		close(begun)
		<-ctx.Done()
		closed = true // closing the connection takes some time
		return nil, ctx.Err()
	})
	<-begun
	leave()

	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	err := g.Wait(ctx)
	fmt.Println("closed:", closed, err)

	// Output: closed: true <nil>
}

// Keys are of any comparable type and values of any type, so no key is formatted as
// a string, and no value needs a type assertion.
func ExampleGroupOf() {
	type point struct{ x, y int }
	var tiles singleflight.GroupOf[point, []byte]

	tile, err, _ := tiles.Do(point{3, 4}, func() ([]byte, error) {
		return []byte("PNG"), nil
	})
	fmt.Println(len(tile), err)

	// Output: 3 <nil>
}

// shared is the same for all callers of a flight. Only the function itself can tell
// which call ran it: the functions of the others are not called.
func ExampleGroupOf_Do_leader() {
	var g singleflight.Group
	gate := make(chan struct{})

	var firstRan, secondRan bool
	first := g.DoChan("key", func() (any, error) {
		firstRan = true
		<-gate
		return nil, nil
	})
	second := g.DoChan("key", func() (any, error) {
		secondRan = true
		return nil, nil
	})
	close(gate)

	fmt.Println("first: shared", (<-first).Shared, "ran", firstRan)
	fmt.Println("second: shared", (<-second).Shared, "ran", secondRan)

	// Output:
	// first: shared true ran true
	// second: shared true ran false
}

// A panic arrives, as a PanicError, in every Do that waited for the function.
func ExamplePanicError() {
	var g singleflight.Group
	defer func() {
		var p *singleflight.PanicError
		if err, ok := recover().(error); ok && errors.As(err, &p) {
			fmt.Println("recovered:", p.Value)
		}
	}()

	g.Do("key", func() (any, error) { panic("no route to the database") })

	// Output: recovered: no route to the database
}

// A ShardedOf is used like a GroupOf.
func ExampleShardedOf() {
	var users singleflight.ShardedOf[int, string]

	name, err, shared := users.Do(7, func() (string, error) { return "Ada", nil })
	fmt.Println(name, err, shared)

	// Output:
	// Ada <nil> false
}
