package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorflight/singleflight/examples/internal/program"
)

// small are options for a run that takes little time.
func small() options {
	return options{
		load:   load{clients: 8, products: 3, duration: 300 * time.Millisecond, seed: 1},
		ttl:    5 * time.Millisecond,
		orders: 3_000,
	}
}

// exec is the program with the given options and stages.
func exec(ctx context.Context, o options, stages []stage) (exit int, stdout, stderr string) {
	var out, diagnostics bytes.Buffer
	err := o.run(ctx, stages, &out, &diagnostics)
	exit = program.Status(ctx, "stampede", err, &diagnostics)
	return exit, out.String(), diagnostics.String()
}

// inJSON runs the stages, and returns what the program writes with -json.
func inJSON(t *testing.T, stages []stage) []outcome {
	t.Helper()
	temporary(t)
	o := small()
	o.json = true
	exit, stdout, stderr := exec(t.Context(), o, stages)
	require.Equal(t, program.Succeeded, exit, stderr)
	var report struct{ Rounds []outcome }
	require.NoError(t, json.Unmarshal([]byte(stdout), &report))
	return report.Rounds
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
	zeros := strings.Repeat("0", 30)
	for args, want := range map[string]string{
		"-clients 0":          "-clients must be from 1 to 1000, not 0\n",
		"-clients 1001":       "-clients must be from 1 to 1000, not 1001\n",
		"-clients 1000000000": "-clients must be from 1 to 1000, not 1000000000\n",
		"-clients 1" + zeros:  "-clients",
		"-duration 0s":        "-duration must be from 100ms to 24h0m0s, not 0s\n",
		"-duration 99ms":      "-duration must be from 100ms to 24h0m0s, not 99ms\n",
		"-duration 25h":       "-duration must be from 100ms to 24h0m0s, not 25h0m0s\n",
		"-ttl -1s":            "-ttl must be from 1ms to 24h0m0s, not -1s\n",
		"-ttl 1ns":            "-ttl must be from 1ms to 24h0m0s, not 1ns\n",
		"-ttl 2562047h":       "-ttl must be from 1ms to 24h0m0s, not 2562047h0m0s\n",
		"-clients many":       "-clients",
		"-nonsense":           "-nonsense",
		"nonsense":            `"nonsense"`,
	} {
		t.Run(args, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			assert.Equal(t, program.BadUsage, run(t.Context(), strings.Fields(args), &stdout, &stderr))
			assert.Empty(t, stdout.String())
			assert.Contains(t, stderr.String(), want)
			assert.Equal(t, 1, strings.Count(stderr.String(), "\n"))
		})
	}
}

func TestLimitsAreAllowed(t *testing.T) {
	for _, args := range []string{
		"-clients 1 -duration 100ms -ttl 1ms",
		"-clients 1000 -duration 24h -ttl 24h",
	} {
		_, err := parse(strings.Fields(args), io.Discard)
		assert.NoError(t, err, args)
	}
}

func TestHelp(t *testing.T) {
	var stdout, stderr bytes.Buffer
	assert.Equal(t, program.Succeeded, run(t.Context(), []string{"-h"}, &stdout, &stderr))
	assert.Contains(t, stderr.String(), "-duration")
}

func TestTable(t *testing.T) {
	temporary(t)
	exit, stdout, stderr := exec(t.Context(), small(), stages(bare()))
	require.Equal(t, program.Succeeded, exit, stderr)
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
	rounds := inJSON(t, stages(bare()))
	require.Len(t, rounds, 3)
	for i, r := range rounds {
		assert.Positive(t, r.Requests)
		assert.Zero(t, r.Errors)
		assert.GreaterOrEqual(t, r.Queries, r.Expiries+r.Overlaps)
		assert.Positive(t, r.Expiries)
		assert.LessOrEqual(t, r.P50, r.P99)
		assert.LessOrEqual(t, r.P99, r.Max)
		if slices.Concat(stages(bare())...)[i].coalesces {
			assert.Zero(t, r.Overlaps)
			assert.InDelta(t, 1, r.QueriesPerExpiry, 0)
		}
	}
}

// busy are options for queries that take some time.
func busy() options {
	o := small()
	o.products, o.orders, o.duration = 2, 60_000, time.Second
	return o
}

func TestImpatientTable(t *testing.T) {
	temporary(t)
	exit, stdout, stderr := exec(t.Context(), busy(), []stage{impatient(bare())})
	require.Equal(t, program.Succeeded, exit, stderr)
	lines := strings.Split(strings.TrimRight(stdout, "\n"), "\n")
	require.Len(t, lines, 6, "head, three rounds, blank line, sentence")
	for _, line := range lines[1:4] {
		assert.Len(t, line, len(lines[0]), "the table is aligned")
	}
	//                                   requests  gave up     errors queries   cancelled   wasted
	assert.Regexp(t, `^ +no coalescing +[1-9]\d* +[1-9]\d* +0 +[1-9]\d* +[1-9]\d* +\d+$`, lines[1])
	assert.Regexp(t, `^ +x/sync DoChan +[1-9]\d* +[1-9]\d* +0 +[1-9]\d* +0 +[1-9]\d*$`, lines[2])
	assert.Regexp(t, `^ +actorflight DoContext +[1-9]\d* +[1-9]\d* +0 +[1-9]\d* +[1-9]\d* +\d+$`, lines[3])
	assert.Regexp(t, `cancelled [1-9]\d*% with no coalescing, 0% with x/sync DoChan and [1-9]\d*% with actorflight DoContext; `, lines[5])
}

func TestWritingTable(t *testing.T) {
	temporary(t)
	exit, stdout, stderr := exec(t.Context(), busy(), []stage{writing(bare())})
	require.Equal(t, program.Succeeded, exit, stderr)
	lines := strings.Split(strings.TrimRight(stdout, "\n"), "\n")
	require.Len(t, lines, 7, "head, four rounds, blank line, sentences")
	for _, line := range lines[1:5] {
		assert.Len(t, line, len(lines[0]), "the table is aligned")
	}
	//                                   requests  errors writes   stale  queries   overlapping
	assert.Regexp(t, `^ +x/sync Do +[1-9]\d* +0 +[1-9]\d* +\d+ +[1-9]\d* +0$`, lines[1])
	assert.Regexp(t, `^ +x/sync Forget\+Do +[1-9]\d* +0 +[1-9]\d* +\d+ +[1-9]\d* +\d+$`, lines[2])
	assert.Regexp(t, `^ +actorflight DoContext +[1-9]\d* +0 +[1-9]\d* +\d+ +[1-9]\d* +0$`, lines[3])
	assert.Regexp(t, `^ +actorflight DoFresh +[1-9]\d* +0 +[1-9]\d* +0 +[1-9]\d* +0$`, lines[4])
	assert.Regexp(t, ` and 0 of [1-9]\d* times with actorflight DoFresh\.$`, lines[6])
}

func TestWritingJSON(t *testing.T) {
	rounds := inJSON(t, []stage{writing(bare())})
	require.Len(t, rounds, 4)
	for _, r := range rounds {
		assert.True(t, r.Writing)
		assert.LessOrEqual(t, r.Stale, r.Writes)
		assert.LessOrEqual(t, r.Writes, r.Requests)
	}
	assert.Zero(t, rounds[3].Stale)
}

func TestImpatientJSON(t *testing.T) {
	rounds := inJSON(t, []stage{impatient(bare())})
	require.Len(t, rounds, 3)
	for i, r := range rounds {
		assert.True(t, r.Impatient)
		assert.LessOrEqual(t, r.GaveUp, r.Requests)
		assert.LessOrEqual(t, r.Cancelled+r.Wasted, r.Queries)
		if impatient(bare())[i].coalesces {
			assert.Zero(t, r.Overlaps)
		}
	}
}

func TestInterruptedInARound(t *testing.T) {
	temporary(t)
	ctx, cancel := context.WithCancel(t.Context())
	interrupting := []stage{{{name: "interrupting", coalesces: true, coalesce: func(ctx context.Context, _ string, fn func(context.Context) (any, error)) (any, error) {
		cancel()
		return fn(ctx)
	}}}}
	o := small()
	o.duration = time.Hour
	exit, stdout, stderr := exec(ctx, o, interrupting)
	assert.Equal(t, program.Interrupted, exit)
	assert.Empty(t, stdout)
	assert.Contains(t, stderr, "stampede: interrupted\n")
}

// finishing calls compare, interrupted after the given number of turns: the one of the
// first stage, and then the second stage's.
func finishing(t *testing.T, turns int, o options, second stage) (exit int, stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	do := func(_ round, _ options, t *tally) error {
		if turns == 0 {
			cancel()
			return ctx.Err()
		}
		turns--
		t.add(answer{})
		return nil
	}
	var out, diagnostics bytes.Buffer
	err := o.compare([]stage{stages(bare())[0], second}, do, &out, &diagnostics)
	exit = program.Status(ctx, "stampede", err, &diagnostics)
	return exit, out.String(), diagnostics.String()
}

func TestFinishedRoundsAreReportedWhenInterrupted(t *testing.T) {
	for turns, finished := range map[int][]string{
		1:           {"no coalescing"},
		1 + 2*3:     {"no coalescing"},
		1 + 2*3 + 1: {"no coalescing", "one"},
	} {
		exit, stdout, stderr := finishing(t, turns, options{}, pair())
		assert.Equal(t, program.Interrupted, exit)
		assert.Equal(t, "no coalescing\none, other\nstampede: interrupted\n", stderr)
		lines := strings.Split(strings.TrimSpace(stdout), "\n")
		require.Len(t, lines, len(finished)+3, "head, rounds, blank line, sentence")
		for i, name := range finished {
			assert.Contains(t, lines[1+i], name)
		}

		exit, stdout, _ = finishing(t, turns, options{json: true}, pair())
		assert.Equal(t, program.Interrupted, exit)
		var report struct{ Rounds []outcome }
		require.NoError(t, json.Unmarshal([]byte(stdout), &report))
		require.Len(t, report.Rounds, len(finished))
		for i, name := range finished {
			assert.Equal(t, name, report.Rounds[i].Round)
		}
	}
}

func TestFinishedRoundsOfImpatientClientsAreReportedWhenInterrupted(t *testing.T) {
	for turns, want := range map[int][]string{
		1 + 3*3:     {"round", "no coalescing"},
		1 + 3*3 + 1: {"round", "no coalescing", "impatient clients", "no coalescing"},
		1 + 3*3 + 2: {"round", "no coalescing", "impatient clients", "no coalescing", "x/sync DoChan"},
	} {
		exit, stdout, _ := finishing(t, turns, options{}, impatient(bare()))
		assert.Equal(t, program.Interrupted, exit)
		assert.Equal(t, want, rows(stdout))
	}
}

func TestFinishedRoundsOfClientsThatWriteAreReportedWhenInterrupted(t *testing.T) {
	for turns, want := range map[int][]string{
		1:     {"round", "no coalescing"},
		1 + 1: {"round", "no coalescing", "clients that write", "x/sync Do"},
		1 + 3: {"round", "no coalescing", "clients that write", "x/sync Do", "x/sync Forget+Do", "actorflight DoContext"},
	} {
		exit, stdout, _ := finishing(t, turns, options{}, writing(bare()))
		assert.Equal(t, program.Interrupted, exit)
		assert.Equal(t, want, rows(stdout))
	}
}

// rows returns the names in the first columns of tables.
func rows(stdout string) (names []string) {
	for _, row := range regexp.MustCompile(`(?m)^  (\S+( \S+)*)`).FindAllStringSubmatch(stdout, -1) {
		names = append(names, row[1])
	}
	return names
}

func TestNothingIsReportedIfNoRoundIsFinished(t *testing.T) {
	for _, o := range []options{{}, {json: true}} {
		exit, stdout, stderr := finishing(t, 0, o, pair())
		assert.Equal(t, program.Interrupted, exit)
		assert.Empty(t, stdout)
		assert.Equal(t, "no coalescing\nstampede: interrupted\n", stderr)
	}
}

func TestInterruptedBeforeTheRounds(t *testing.T) {
	temporary(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	exit, stdout, stderr := exec(ctx, small(), stages(bare()))
	assert.Equal(t, program.Interrupted, exit)
	assert.Empty(t, stdout)
	assert.Contains(t, stderr, "stampede: interrupted\n")
}

func TestErrorsAreFailures(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir()+"/missing")
	exit, _, stderr := exec(t.Context(), small(), stages(bare()))
	assert.Equal(t, program.Failed, exit)
	assert.Contains(t, stderr, "missing")
}
