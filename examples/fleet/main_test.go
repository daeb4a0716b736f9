package main

import (
	"bytes"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorflight/singleflight/examples/internal/program"
)

const variableOfProgram = "FLEET_PROGRAM" // makes the test binary the program

func TestMain(m *testing.M) {
	if s, ok := os.LookupEnv(variable); ok {
		os.Exit(beProcess(s))
	}
	if _, ok := os.LookupEnv(variableOfProgram); ok {
		os.Exit(run(program.Interruptible(), os.Args[1:], os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// temporary makes a folder for all temporary files, which must be empty when the test
// ends.
func temporary(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	t.Cleanup(func() {
		left, err := os.ReadDir(dir)
		require.NoError(t, err)
		assert.Empty(t, left, "the files of the NATS server are left behind")
	})
}

func TestFleet(t *testing.T) {
	temporary(t)
	o := options{load: load{clients: 40, duration: 2 * time.Second}, ttl: 250 * time.Millisecond, kill: true}
	var stdout, stderr bytes.Buffer
	outcomes, err := o.run(t.Context(), &stderr)
	require.NoError(t, err)
	require.NoError(t, check(outcomes))
	require.NoError(t, report(&stdout, outcomes))
	t.Log(stdout.String())

	assert.Equal(t, "no coalescing\nsingleflight in each process\nnatsflight\n", stderr.String())
	require.Len(t, outcomes, 3)
	for _, o := range outcomes {
		assert.Positive(t, o.requests)
		assert.Zero(t, o.errors)
		assert.GreaterOrEqual(t, o.queries, o.expiries)
		assert.Positive(t, o.expiries)
	}
	inProcess, natsflight := outcomes[1].queriesPerExpiry(), outcomes[2].queriesPerExpiry()
	assert.Less(t, natsflight, 1+(inProcess-1)/2)
	assert.Regexp(t, `\nProcess [1-4] was killed .*; process [1-4] took over after \d+ ms\.\n`, stdout.String())
}

func TestRealServerIsLeftAsItWas(t *testing.T) {
	s, err := embed(t.TempDir())
	require.NoError(t, err)
	defer s.WaitForShutdown()
	defer s.Shutdown()
	o := options{load: load{clients: 8, duration: 200 * time.Millisecond}, ttl: time.Second, nats: s.ClientURL()}
	outcomes, err := o.run(t.Context(), io.Discard)
	require.NoError(t, err)
	require.NoError(t, check(outcomes))
	assert.Len(t, outcomes, 3)
	left, err := s.Jsz(&server.JSzOptions{})
	require.NoError(t, err)
	assert.Zero(t, left.Streams)
}

func TestBadFlagsGetOneLine(t *testing.T) {
	for args, want := range map[string]string{
		"-clients 0":      "-clients must be from 1 to 1000, not 0\n",
		"-clients 1001":   "-clients must be from 1 to 1000, not 1001\n",
		"-duration 2.9s":  "-duration must be from 3s to 24h0m0s, not 2.9s\n",
		"-duration 25h":   "-duration must be from 3s to 24h0m0s, not 25h0m0s\n",
		"-kill=sometimes": "-kill",
		"-nonsense":       "-nonsense",
		"nonsense":        `"nonsense"`,
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
	for _, args := range []string{"-clients 1 -duration 3s -kill=false", "-clients 1000 -duration 24h -nats nats://example.com"} {
		_, err := parse(strings.Fields(args), io.Discard)
		assert.NoError(t, err, args)
	}
}

func TestHelp(t *testing.T) {
	var stdout, stderr bytes.Buffer
	assert.Equal(t, program.Succeeded, run(t.Context(), []string{"-h"}, &stdout, &stderr))
	assert.Contains(t, stderr.String(), "-duration")
}

func TestNoServer(t *testing.T) {
	var stdout, stderr bytes.Buffer
	assert.Equal(t, program.Failed, run(t.Context(), []string{"-nats", "nats://127.0.0.1:1"}, &stdout, &stderr))
	assert.Empty(t, stdout.String())
	assert.Contains(t, stderr.String(), "fleet: nats://127.0.0.1:1: ")
}

func TestReport(t *testing.T) {
	seen := newDatabase(0)
	seen.counts = counts{queries: 7, expiries: 2}
	var latencies []time.Duration
	for ms := range time.Duration(200) {
		latencies = append(latencies, ms*time.Millisecond)
	}
	outcomes := []outcome{newOutcome(perProcess, latencies, 3, seen)}
	seen.takeover = takeover{killed: 2, by: 4, after: 212 * time.Millisecond}
	outcomes = append(outcomes, newOutcome(fleetwide, nil, 0, seen))
	var out bytes.Buffer
	require.NoError(t, report(&out, outcomes))
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	require.Len(t, lines, 6, "head, two rounds, blank line, two sentences")
	assert.Regexp(t, `^ +singleflight in each process +200 +3 +2 +7 +3\.50 +99\.0 ms +197\.0 ms +199\.0 ms$`, lines[1])
	assert.Regexp(t, `^ +natsflight +0 +0 +2 +7 +3\.50 +0\.0 ms +0\.0 ms +0\.0 ms$`, lines[2])
	assert.Contains(t, lines[4], "3.50 times with singleflight in each process and 3.50 times with natsflight")
	assert.Contains(t, lines[5], "Process 2 was killed in the middle of a query that it led; process 4 took over after 212 ms.")
	assert.NoError(t, check(outcomes))

	assert.Error(t, check([]outcome{{round: fleetwide, errors: 1}}))
	assert.Error(t, check([]outcome{{round: fleetwide, takeover: takeover{killed: 2}}}))
}
