package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/actorflight/singleflight/tour/page"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var (
	tableFile = flag.String("table", "", "a file that TestTable writes the table to")
	write     = flag.Bool("write", false, "whether TestTable writes the table to README.md")
)

// TestTable runs every cell of the table, and compares it with the one in README.md.
func TestTable(t *testing.T) {
	exe, err := os.Executable()
	require.NoError(t, err)
	rows := [][]string{{"test", "promise"}, {"---", "---"}}
	for _, s := range steps {
		rows[0] = append(rows[0], s.name)
		rows[1] = append(rows[1], "---")
	}
	for _, p := range promises {
		row := []string{"`" + p.name + "`", p.text}
		for _, s := range steps {
			cmd := exec.Command(exe, "-test.run=^TestPromise$/^"+p.name+"$/^"+s.name+"$", "-steps=^"+s.name+"$", "-test.timeout=1m")
			cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0")
			out, err := cmd.CombinedOutput()
			row = append(row, outcome(t, err, string(out)))
		}
		rows = append(rows, row)
	}
	table := format(rows)
	if *tableFile != "" {
		require.NoError(t, os.WriteFile(*tableFile, []byte(table), 0o600))
	}
	shown, err := page.Block("README.md", "table", table, *write)
	require.NoError(t, err)
	assert.Equal(t, table, shown, "go run . -w writes the table to README.md")
}

var said = regexp.MustCompile(`instead: (.*)`)

// outcome returns the cell for a process that has run a test.
func outcome(t *testing.T, err error, out string) string {
	switch m := said.FindStringSubmatch(out); {
	case err == nil:
		require.Equal(t, "PASS\n", out, "no test has run")
		return "kept"
	case m != nil:
		return m[1]
	case strings.Contains(out, "deadlock: all goroutines in bubble are blocked"):
		return "hangs"
	case strings.Contains(out, "deadlock: main bubble goroutine has exited"):
		return "leaks"
	case strings.Contains(out, "panic: ") || strings.Contains(out, "fatal error: "):
		return "kills the process"
	}
	require.Fail(t, "a test fails, and does not say what happens", out)
	return ""
}

// format returns a table in Markdown, with aligned columns.
func format(rows [][]string) string {
	width := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			width[i] = max(width[i], len(cell))
		}
	}
	var b strings.Builder
	for _, row := range rows {
		for i, cell := range row {
			pad := " "
			if cell == "---" {
				pad = "-"
			}
			fmt.Fprint(&b, "| ", cell, strings.Repeat(pad, width[i]-len(cell)), " ")
		}
		b.WriteString("|\n")
	}
	return b.String()
}
