package natsflight

import (
	"context"
	"encoding/json"
)

// A Codec turns values into bytes that travel, and back. Its methods are called by
// several goroutines at the same time.
type Codec[V any] interface {
	Encode(V) ([]byte, error)
	Decode([]byte) (V, error)
}

// JSON is the Codec that a GroupOf has by default.
type JSON[V any] struct{}

// Encode returns v as JSON.
func (JSON[V]) Encode(v V) ([]byte, error) { return json.Marshal(v) }

// Decode returns the value that data is the JSON of.
func (JSON[V]) Decode(data []byte) (v V, err error) {
	err = json.Unmarshal(data, &v)
	return v, err
}

// A GroupOf is a Group whose results are of type V.
type GroupOf[V any] struct {
	group *Group
	codec Codec[V]
}

// Of returns g for results of type V. If codec is nil, it is JSON. All that Of returns for
// g share its flights, so a key must not be used with two types. Closing g closes them.
func Of[V any](g *Group, codec Codec[V]) *GroupOf[V] {
	if codec == nil {
		codec = JSON[V]{}
	}
	return &GroupOf[V]{g, codec}
}

// Do is Group.Do for values. Every caller gets a value of its own, decoded for it, so
// that callers do not share what the value points to. An error of Encode counts as an
// error of fn.
func (g *GroupOf[V]) Do(ctx context.Context, key string, fn func(ctx context.Context, token uint64) (V, error)) (v V, err error, shared bool) {
	if fn == nil {
		panic("natsflight: nil fn")
	}
	data, err, shared := g.group.Do(ctx, key, func(ctx context.Context, token uint64) ([]byte, error) {
		v, err := fn(ctx, token)
		if err != nil {
			return nil, err
		}
		return g.codec.Encode(v)
	})
	if err != nil {
		return v, err, shared
	}
	v, err = g.codec.Decode(data)
	return v, err, shared
}

// Forget is Group.Forget.
func (g *GroupOf[V]) Forget(ctx context.Context, key string) error {
	return g.group.Forget(ctx, key)
}
