package main

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestGauge(t *testing.T) {
	none := func() (*Sales, error) { return nil, nil }
	for _, test := range []struct {
		name    string
		fresh   bool
		queries func(*gauge)
		want    counts
	}{
		{"none", false, func(*gauge) {}, counts{}},
		{"of different products", false, func(g *gauge) {
			g.watch(1, func() (*Sales, error) { return g.watch(2, none) })
		}, counts{Queries: 2, Expiries: 2}},
		{"one after another", false, func(g *gauge) {
			g.watch(1, none)
			g.watch(1, none)
		}, counts{Queries: 2, Expiries: 2}},
		{"one during another", false, func(g *gauge) {
			g.watch(1, func() (*Sales, error) { return g.watch(1, none) })
		}, counts{Queries: 2, Expiries: 1, Overlaps: 1}},
		{"one that was not needed", true, func(g *gauge) { g.watch(1, none) }, counts{Queries: 1}},
		{"one that is cancelled", false, func(g *gauge) {
			g.watch(1, func() (*Sales, error) { return nil, context.Canceled })
		}, counts{Queries: 1, Expiries: 1, Cancelled: 1}},
		{"one that no request waits for", false, func(g *gauge) { g.watch(3, none) }, counts{Queries: 1, Expiries: 1, Wasted: 1}},
		{"one that a request has left", false, func(g *gauge) {
			stop := g.wait(t.Context(), 3)
			g.watch(3, func() (*Sales, error) { stop(); return nil, nil })
		}, counts{Queries: 1, Expiries: 1, Wasted: 1}},
		{"one that one of two requests has left", false, func(g *gauge) {
			stop := g.wait(t.Context(), 1)
			g.watch(1, func() (*Sales, error) { stop(); return nil, nil })
		}, counts{Queries: 1, Expiries: 1}},
	} {
		t.Run(test.name, func(t *testing.T) {
			g := newGauge(func(int64) bool { return test.fresh })
			defer g.wait(t.Context(), 1)()
			defer g.wait(t.Context(), 2)()
			test.queries(g)
			assert.Equal(t, test.want, g.read())
		})
	}
}

func TestRequestWaitsUntilItsContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGauge(func(int64) bool { return false })
		ctx, end := context.WithCancel(t.Context())
		defer g.wait(ctx, 1)()
		g.watch(1, func() (*Sales, error) { end(); synctest.Wait(); return nil, nil })
		assert.Equal(t, 1, g.read().Wasted)
	})
}

func TestGaugeWaitsForQueries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGauge(func(int64) bool { return false })
		for hours := range time.Duration(3) {
			go g.watch(1, func() (*Sales, error) { time.Sleep(hours * time.Hour); return nil, nil })
		}
		synctest.Wait()
		began := time.Now()
		assert.Equal(t, 3, g.read().Wasted)
		assert.Equal(t, 2*time.Hour, time.Since(began))
	})
}
