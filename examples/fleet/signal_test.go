//go:build unix

package main

import (
	"bufio"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorflight/singleflight/examples/internal/program"
)

// started starts the program in a process group of its own, waits until its first round,
// which does not end by itself, has begun, and returns the rest of its stderr. The
// processes of the fleet have the same stderr, so it ends when all have.
func started(t *testing.T) (c *exec.Cmd, lines *bufio.Scanner) {
	t.Helper()
	c = exec.CommandContext(t.Context(), os.Args[0], "-duration", "1h")
	c.Env = append(os.Environ(), variableOfProgram+"=")
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stderr, err := c.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, stderr.(*os.File).SetReadDeadline(time.Now().Add(time.Minute)))
	require.NoError(t, c.Start())
	lines = bufio.NewScanner(stderr)
	require.True(t, lines.Scan())
	require.Equal(t, alone, lines.Text())
	return c, lines
}

// A terminal sends Ctrl-C to all processes of the group.
func TestSignalsLeaveNothingBehind(t *testing.T) {
	for signal, want := range map[syscall.Signal]int{syscall.SIGINT: program.Interrupted, syscall.SIGTERM: program.Terminated} {
		t.Run(signal.String(), func(t *testing.T) {
			temporary(t)
			c, lines := started(t)
			require.NoError(t, syscall.Kill(-c.Process.Pid, signal))
			require.True(t, lines.Scan())
			assert.Equal(t, "fleet: interrupted", lines.Text())
			assert.False(t, lines.Scan())
			assert.NoError(t, lines.Err(), "a process is left behind")
			c.Wait()
			assert.Equal(t, want, c.ProcessState.ExitCode())
		})
	}
}

func TestProcessesDieWithTheirParent(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	c, lines := started(t)
	require.NoError(t, c.Process.Kill())
	assert.False(t, lines.Scan())
	assert.NoError(t, lines.Err(), "a process is left behind")
	c.Wait()
}
