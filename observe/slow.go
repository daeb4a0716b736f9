package observe

import (
	"context"
	"time"
)

// A slow is a group's fields SlowAfter and Slow.
type slow[K comparable] struct {
	after time.Duration
	tell  func(ctx context.Context, key K, age time.Duration)
}

// set reports whether the fields are set. It panics if only one is.
func (s slow[K]) set() bool {
	if s.after > 0 != (s.tell != nil) {
		panic("observe: SlowAfter and Slow must be set together")
	}
	return s.tell != nil
}

// watch calls tell if stop is not called in time.
func (s slow[K]) watch(ctx context.Context, key K) (stop func() bool) {
	begun := clock()
	return time.AfterFunc(s.after, func() { s.tell(ctx, key, time.Duration(clock()-begun)) }).Stop
}

// watched returns fn, watched if s is set.
func watched[K comparable, V any](s slow[K], key K, fn func(context.Context) (V, error)) func(context.Context) (V, error) {
	if !s.set() || fn == nil {
		return fn
	}
	return func(ctx context.Context) (V, error) {
		defer s.watch(ctx, key)()
		return fn(ctx)
	}
}

// watchedPlain is watched for a function that gets no context.
func watchedPlain[K comparable, V any](s slow[K], key K, fn func() (V, error)) func() (V, error) {
	if !s.set() || fn == nil {
		return fn
	}
	return func() (V, error) {
		defer s.watch(context.Background(), key)()
		return fn()
	}
}
