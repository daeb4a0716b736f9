package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// small are options for a run that takes no time to speak of.
func small() options {
	return options{
		load:   load{clients: 8, products: 3, duration: 300 * time.Millisecond, seed: 1},
		ttl:    5 * time.Millisecond,
		orders: 3_000,
	}
}

// exec is the program with the given options and rounds.
func exec(ctx context.Context, o options, rounds []round) (exit int, stdout, stderr string) {
	var out, diagnostics bytes.Buffer
	err := o.run(ctx, rounds, &out, &diagnostics)
	exit = status(ctx, err, &diagnostics)
	return exit, out.String(), diagnostics.String()
}

// temporary makes a folder for all temporary files, which must be empty when
// the test ends.
func temporary(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	t.Cleanup(func() {
		left, err := os.ReadDir(dir)
		require.NoError(t, err)
		assert.Empty(t, left, "the database is left behind")
	})
}

func TestBadFlagsGetOneLine(t *testing.T) {
	for args, want := range map[string]string{
		"-clients 0":    "-clients must be at least 1",
		"-duration 0s":  "-duration must be positive",
		"-ttl -1s":      "-ttl must be positive",
		"-clients many": "-clients",
		"-nonsense":     "-nonsense",
		"nonsense":      `"nonsense"`,
	} {
		t.Run(args, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			assert.Equal(t, badUsage, run(t.Context(), strings.Fields(args), &stdout, &stderr))
			assert.Empty(t, stdout.String())
			assert.Contains(t, stderr.String(), want)
			assert.Equal(t, 1, strings.Count(stderr.String(), "\n"))
		})
	}
}

func TestHelp(t *testing.T) {
	var stdout, stderr bytes.Buffer
	assert.Equal(t, succeeded, run(t.Context(), []string{"-h"}, &stdout, &stderr))
	assert.Contains(t, stderr.String(), "-duration")
}

func TestTable(t *testing.T) {
	temporary(t)
	exit, stdout, stderr := exec(t.Context(), small(), rounds())
	require.Equal(t, succeeded, exit, stderr)
	lines := strings.Split(strings.TrimSpace(stdout), "\n")
	require.Len(t, lines, 6, "head, three rounds, blank line, sentence")
	for _, line := range lines[1:4] {
		assert.Len(t, line, len(lines[1]), "the table is aligned")
	}
	assert.Regexp(t, `x/sync +\d+ +0 +\d+ +1\.00`, lines[2])
	assert.Regexp(t, `actorflight +\d+ +0 +\d+ +1\.00`, lines[3])
	assert.Contains(t, lines[5], "1.00 times with actorflight")
}

func TestJSON(t *testing.T) {
	temporary(t)
	o := small()
	o.json = true
	exit, stdout, stderr := exec(t.Context(), o, rounds())
	require.Equal(t, succeeded, exit, stderr)
	var report struct{ Rounds []outcome }
	require.NoError(t, json.Unmarshal([]byte(stdout), &report))
	require.Len(t, report.Rounds, 3)
	for i, r := range report.Rounds {
		assert.Positive(t, r.Requests)
		assert.Zero(t, r.Errors)
		assert.GreaterOrEqual(t, r.Queries, r.Expiries+r.Overlaps)
		assert.Positive(t, r.Expiries)
		assert.LessOrEqual(t, r.P50, r.P99)
		assert.LessOrEqual(t, r.P99, r.Max)
		if rounds()[i].coalesces {
			assert.Zero(t, r.Overlaps)
			assert.InDelta(t, 1, r.QueriesPerExpiry, 0)
		}
	}
}

func TestInterruptedInARound(t *testing.T) {
	temporary(t)
	ctx, cancel := context.WithCancel(t.Context())
	interrupting := []round{{"interrupting", true, func(_ string, fn func() (any, error)) (any, error) {
		cancel()
		return fn()
	}}}
	o := small()
	o.duration = time.Hour
	exit, stdout, stderr := exec(ctx, o, interrupting)
	assert.Equal(t, interrupted, exit)
	assert.Empty(t, stdout)
	assert.Contains(t, stderr, "stampede: interrupted\n")
}

func TestInterruptedBeforeTheRounds(t *testing.T) {
	temporary(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	exit, stdout, stderr := exec(ctx, small(), rounds())
	assert.Equal(t, interrupted, exit)
	assert.Empty(t, stdout)
	assert.Contains(t, stderr, "stampede: interrupted\n")
}

func TestErrorsAreFailures(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir()+"/missing")
	exit, _, stderr := exec(t.Context(), small(), rounds())
	assert.Equal(t, failed, exit)
	assert.Contains(t, stderr, "missing")
}
