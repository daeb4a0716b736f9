package singleflight_test

import (
	"github.com/actorflight/singleflight"
	"github.com/actorflight/singleflight/observe"
)

func init() {
	singleflight.NewObserved = []any{
		func() singleflight.Calls[string, any] { return new(observe.Group) },
		func() singleflight.Calls[any, any] { return new(observe.GroupOf[any, any]) },
		func() singleflight.Calls[any, int] { return new(observe.GroupOf[any, int]) },
		func() singleflight.Calls[string, int] { return new(observe.GroupOf[string, int]) },
		func() singleflight.Calls[float64, int] { return new(observe.GroupOf[float64, int]) },
	}
}
