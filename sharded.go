package singleflight

import (
	"context"
	"hash/maphash"
)

// shards is how many Groups a ShardedOf has: a power of two, and more than most machines
// have processors.
const shards = 64

// seed is one for all, so that a key always belongs to the same shard.
var seed = maphash.MakeSeed()

// A ShardedOf is 64 Groups: each key belongs to one of them, by its hash. It promises what
// [GroupOf] promises, except what concerns more than one key: InFlight and Wait ask one shard
// after another, and circles through several shards get no [ErrDeadlock]. Which circles these
// are differs from run to run.
//
// Use it where calls with many different keys overlap all the time and their functions do
// little, so that the one owner of a GroupOf is the bottleneck. A ShardedOf has up to 64
// owners, and seldom any, because few calls meet in a shard. It does not help with one hot
// key, whose calls all meet in one shard, nor where functions query or compute. A GroupOf
// is one word, a ShardedOf 4 KiB.
//
// Keys of different shards may be used on both sides of a testing/synctest bubble's
// border, but which keys these are differs from run to run.
//
// The zero ShardedOf is ready for use. A ShardedOf must not be copied after first use.
type ShardedOf[K comparable, V any] struct {
	shards [shards]shard[K, V]
}

// Sharded has the keys and values of the Group in golang.org/x/sync/singleflight. Its
// methods are those of [ShardedOf].
type Sharded = ShardedOf[string, any]

// A shard fills a cache line of most 64-bit machines, so that processors that use
// different shards do not slow each other down.
type shard[K comparable, V any] struct {
	GroupOf[K, V]
	_ [56]byte
}

// Do is [GroupOf.Do].
func (s *ShardedOf[K, V]) Do(key K, fn func() (V, error)) (v V, err error, shared bool) {
	return s.of(key).Do(key, fn)
}

// DoChan is [GroupOf.DoChan].
func (s *ShardedOf[K, V]) DoChan(key K, fn func() (V, error)) <-chan ResultOf[V] {
	return s.of(key).DoChan(key, fn)
}

// DoContext is [GroupOf.DoContext].
func (s *ShardedOf[K, V]) DoContext(ctx context.Context, key K, fn func(context.Context) (V, error)) (v V, err error, shared bool) {
	return s.of(key).DoContext(ctx, key, fn)
}

// DoChanContext is [GroupOf.DoChanContext].
func (s *ShardedOf[K, V]) DoChanContext(ctx context.Context, key K, fn func(context.Context) (V, error)) <-chan ResultOf[V] {
	return s.of(key).DoChanContext(ctx, key, fn)
}

// DoFresh is [GroupOf.DoFresh].
func (s *ShardedOf[K, V]) DoFresh(ctx context.Context, key K, fn func(context.Context) (V, error)) (v V, err error, shared bool) {
	return s.of(key).DoFresh(ctx, key, fn)
}

// DoChanFresh is [GroupOf.DoChanFresh].
func (s *ShardedOf[K, V]) DoChanFresh(ctx context.Context, key K, fn func(context.Context) (V, error)) <-chan ResultOf[V] {
	return s.of(key).DoChanFresh(ctx, key, fn)
}

// Forget is [GroupOf.Forget].
func (s *ShardedOf[K, V]) Forget(key K) { s.of(key).Forget(key) }

// ForgetUnshared is [GroupOf.ForgetUnshared].
func (s *ShardedOf[K, V]) ForgetUnshared(key K) bool { return s.of(key).ForgetUnshared(key) }

// of returns the Group that key belongs to.
func (s *ShardedOf[K, V]) of(key K) *GroupOf[K, V] {
	return &s.shards[maphash.Comparable(seed, key)%shards].GroupOf
}

// InFlight is [GroupOf.InFlight], of one shard after another.
func (s *ShardedOf[K, V]) InFlight() (flights []FlightOf[K]) {
	for i := range s.shards {
		flights = append(flights, s.shards[i].InFlight()...)
	}
	return flights
}

// Wait is [GroupOf.Wait], for one shard after another: each has been at rest when Wait
// returns nil, though not all at the same moment. The shard of the flight that ctx belongs
// to, if any, comes first, so that Wait returns [ErrDeadlock] at once.
func (s *ShardedOf[K, V]) Wait(ctx context.Context) error {
	first := 0
	for i := range s.shards {
		if s.shards[i].inside(ctx) != nil {
			first = i
		}
	}
	for i := range s.shards {
		if err := s.shards[(first+i)%shards].Wait(ctx); err != nil {
			return err
		}
	}
	return nil
}
