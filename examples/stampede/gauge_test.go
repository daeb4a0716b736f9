package main

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestGauge(t *testing.T) {
	var g gauge
	query := func() (*Sales, error) { return nil, nil }
	meanwhile := func(product int64) func() (*Sales, error) {
		return func() (*Sales, error) { return g.watch(product, query) }
	}
	g.watch(1, meanwhile(2))
	assert.Equal(t, counts{Queries: 2, Expiries: 2}, g.read(), "of different products")
	g.watch(1, query)
	assert.Equal(t, counts{Queries: 3, Expiries: 3}, g.read(), "one after another")
	g.watch(1, meanwhile(1))
	assert.Equal(t, counts{Queries: 5, Expiries: 4, Overlaps: 1}, g.read(), "one during another")
}
