package observe

import (
	"context"
	"hash/maphash"
	"sync"
)

// This file has the calls without a context, Do and DoChan. A Do goes to the library as a
// DoContext whose context can never be done, and a DoChan as such a DoChanContext. That
// changes nothing for the caller, and starts no goroutine more; but InFlight shows fn's
// context, and so the record.

// A plainCall is a call without a context, and the flight of its fn. It is used again once
// that has ended, because fn cannot keep a context that it does not get. InFlight may still
// show it then, until the flight has landed, and show the age of a younger flight. A call
// that waits does not keep it.
type plainCall[K comparable, V any] struct {
	record
	observer *observer[K, V]
	run      func(context.Context) (V, error) // fly

	// Of the call in which it is used:
	key K
	fn  func() (V, error)
}

type plainCalls[K comparable, V any] struct{ ended sync.Pool }

// plain counts a call that is about to be made. It panics if key cannot be hashed, as the
// library would.
func (o *observer[K, V]) plain(key K, fn func() (V, error)) *plainCall[K, V] {
	hash := maphash.Comparable(seed, key)
	c, _ := o.plainCalls.ended.Get().(*plainCall[K, V])
	if c == nil {
		c = &plainCall[K, V]{record: record{Context: context.Background(), plain: true}, observer: o}
		c.run = c.fly
	}
	c.hash, c.key, c.fn = hash, key, fn
	c.begun.Store(0)
	o.come(hash)
	return c
}

func (c *plainCall[K, V]) fly(ctx context.Context) (v V, err error) {
	o := c.observer
	o.begins(&c.record)
	returned := false
	defer func() {
		o.ends(ctx, &c.record, c.key, returned, err)
		var zero K
		c.key, c.fn = zero, nil
		o.plainCalls.ended.Put(c)
	}()
	v, err = c.fn()
	returned = true
	return v, err
}
