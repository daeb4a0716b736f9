package otel_test

import (
	"context"
	"fmt"
	"slices"

	"go.opentelemetry.io/otel/attribute"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/actorflight/singleflight/observe"
)

// A traced value has the span in which it was made.
type traced[V any] struct {
	val  V
	span trace.SpanContext
}

// do is g.DoContext in a span of its own. If the function of another call has made the
// result, the span links to that call's.
//
// The function's context has the values of the first caller's context, including that
// caller's span. The span is returned with the result, even with an error.
func do[K comparable, V any](ctx context.Context, tracer trace.Tracer, g *observe.GroupOf[K, traced[V]], key K, fn func(context.Context) (V, error)) (V, error) {
	ctx, span := tracer.Start(ctx, "get")
	defer span.End()
	t, err, _ := g.DoContext(ctx, key, func(ctx context.Context) (traced[V], error) {
		val, err := fn(ctx)
		return traced[V]{val, trace.SpanContextFromContext(ctx)}, err
	})
	// After ctx has ended, t may be zero.
	if t.span.IsValid() && !t.span.Equal(span.SpanContext()) {
		span.AddLink(trace.Link{
			SpanContext: t.span,
			Attributes:  []attribute.KeyValue{attribute.String("singleflight", "joined")},
		})
	}
	return t.val, err
}

// whose shows on the page the trace that a flight belongs to.
func whose(ctx context.Context) string {
	return "trace " + trace.SpanContextFromContext(ctx).TraceID().String()
}

func Example() {
	spans := tracetest.NewSpanRecorder()
	tracer := sdk.NewTracerProvider(sdk.WithSpanProcessor(spans)).Tracer("example")
	users := &observe.GroupOf[int, traced[string]]{Name: "users", Whose: whose}

	load := make(chan string)
	begun := make(chan trace.SpanContext, 1)
	answers := make(chan string)
	for range 3 {
		go func() {
			name, _ := do(context.Background(), tracer, users, 7, func(ctx context.Context) (string, error) {
				begun <- trace.SpanContextFromContext(ctx)
				return <-load, nil
			})
			answers <- name
		}()
	}
	ran := <-begun
	for users.InFlight()[0].Callers < 3 { // until all have joined
	}
	f := users.InFlight()[0]
	fmt.Println("the flight is in the span of its function:", trace.SpanContextFromContext(f.Context).Equal(ran))
	fmt.Println("and so for the page:", users.Whose(f.Context) == "trace "+ran.TraceID().String())
	load <- "Ada"
	fmt.Println(<-answers, <-answers, <-answers)

	linked := 0
	for _, span := range spans.Ended() {
		if slices.ContainsFunc(span.Links(), func(l sdk.Link) bool { return l.SpanContext.Equal(ran) }) {
			linked++
		}
	}
	fmt.Println("spans:", len(spans.Ended()), "that link to it:", linked)

	// Output:
	// the flight is in the span of its function: true
	// and so for the page: true
	// Ada Ada Ada
	// spans: 3 that link to it: 2
}
