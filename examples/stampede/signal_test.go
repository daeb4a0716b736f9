package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	osexec "os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorflight/singleflight/examples/internal/program"
)

// children are programs that the test binary can run instead of its tests. They print
// a line on stderr when they are ready for a signal.
var children = map[string]func(ctx context.Context) int{
	// A run whose first round does not end by itself.
	"no coalescing": func(ctx context.Context) int {
		o := small()
		o.duration = time.Hour
		return program.Status(ctx, "stampede", o.run(ctx, stages(bare()), os.Stdout, os.Stderr), os.Stderr)
	},
	// A run that never ends after the first signal.
	"stuck": func(ctx context.Context) int {
		fmt.Fprintln(os.Stderr, "ready")
		<-ctx.Done()
		fmt.Fprintln(os.Stderr, "stuck")
		<-make(chan struct{})
		return program.Succeeded
	},
}

const child = "STAMPEDE_CHILD" // names the child to run

func TestMain(m *testing.M) {
	if f, ok := children[os.Getenv(child)]; ok {
		go func() {
			io.Copy(io.Discard, os.Stdin)
			os.Exit(program.Failed) // the parent has died
		}()
		os.Exit(f(program.Interruptible()))
	}
	os.Exit(m.Run())
}

// start starts a child, whose stderr is read from lines.
func start(t *testing.T, name string) (c *osexec.Cmd, lines *bufio.Scanner) {
	t.Helper()
	c = osexec.CommandContext(t.Context(), os.Args[0])
	c.Env = append(os.Environ(), child+"="+name)
	_, err := c.StdinPipe()
	require.NoError(t, err)
	stderr, err := c.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, c.Start())
	return c, bufio.NewScanner(stderr)
}

// until reads lines up to the given one.
func until(t *testing.T, lines *bufio.Scanner, line string) {
	t.Helper()
	for lines.Scan() {
		if lines.Text() == line {
			return
		}
	}
	require.FailNow(t, "the program has ended", "before it said %q", line)
}

func TestSignalsLeaveNothingBehind(t *testing.T) {
	for signal, want := range map[os.Signal]int{os.Interrupt: 130, syscall.SIGTERM: 143} {
		t.Run(signal.String(), func(t *testing.T) {
			temporary(t)
			c, lines := start(t, "no coalescing")
			until(t, lines, "no coalescing")
			require.NoError(t, c.Process.Signal(signal))
			until(t, lines, "stampede: interrupted")
			assert.False(t, lines.Scan())
			c.Wait()
			assert.Equal(t, want, c.ProcessState.ExitCode())
		})
	}
}

func TestSecondSignalDoesNotWait(t *testing.T) {
	c, lines := start(t, "stuck")
	until(t, lines, "ready")
	require.NoError(t, c.Process.Signal(os.Interrupt))
	until(t, lines, "stuck")
	require.NoError(t, c.Process.Signal(syscall.SIGTERM))
	assert.EqualError(t, c.Wait(), "signal: terminated")
}
