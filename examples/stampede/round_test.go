package main

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// one is the program with a single round, whose only client never meets an
// expired entry.
func one(t *testing.T, q query, r round) (exit int, stdout, stderr string) {
	t.Helper()
	o := options{load: load{clients: 1, products: 1, duration: time.Second}, ttl: time.Hour}
	var out, diagnostics bytes.Buffer
	err := o.compare(t.Context(), q, []round{r}, &out, &diagnostics)
	exit = status(t.Context(), err, &diagnostics)
	return exit, out.String(), diagnostics.String()
}

// overlapping returns a query, and a coalescer that does not coalesce but makes
// that query twice. Neither of the two ends before the other has begun.
func overlapping() (query, coalescer) {
	var begun sync.WaitGroup
	begun.Add(2)
	meet := func(context.Context, int64) (*Sales, error) {
		begun.Done()
		begun.Wait()
		return new(Sales), nil
	}
	twice := func(_ string, fn func() (any, error)) (any, error) {
		var other sync.WaitGroup
		other.Go(func() { fn() })
		defer other.Wait()
		return fn()
	}
	return meet, twice
}

func TestOverlapsFailWhereQueriesAreCoalesced(t *testing.T) {
	meet, twice := overlapping()
	exit, stdout, stderr := one(t, meet, round{"broken", true, twice})
	assert.Equal(t, failed, exit)
	assert.Contains(t, stdout, "2.00 times with broken")
	assert.Equal(t, "broken\nstampede: broken: 1 overlapping queries, 0 failed requests\n", stderr)
}

func TestOverlapsAreFineElsewhere(t *testing.T) {
	meet, twice := overlapping()
	exit, stdout, _ := one(t, meet, round{"broken", false, twice})
	assert.Equal(t, succeeded, exit)
	assert.Contains(t, stdout, "2.00 times with broken")
}

func TestErrorsFailWhereQueriesAreCoalesced(t *testing.T) {
	broken := func(context.Context, int64) (*Sales, error) { return nil, errors.New("broken") }
	exit, _, stderr := one(t, broken, rounds()[2])
	assert.Equal(t, failed, exit)
	assert.Regexp(t, `stampede: actorflight: 0 overlapping queries, [1-9]\d* failed requests\n`, stderr)
}
