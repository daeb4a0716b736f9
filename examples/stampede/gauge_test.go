package main

import (
	"testing"

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
		{"one that nobody needed", true, func(g *gauge) { g.watch(1, none) }, counts{Queries: 1}},
	} {
		t.Run(test.name, func(t *testing.T) {
			g := newGauge(func(int64) bool { return test.fresh })
			test.queries(g)
			assert.Equal(t, test.want, g.read())
		})
	}
}
