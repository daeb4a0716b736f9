package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestCountExample adds the code that README.md shows to a copy of the library, and runs
// the test in ./count with that.
func TestCountExample(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	blocks := regexp.MustCompile("(?s)```go\n// (\\w+\\.go)\n(.*?)```").FindAllSubmatch(readme, -1)
	require.Len(t, blocks, 3)
	dir, replace := t.TempDir(), make(map[string]string)
	for _, b := range blocks {
		original, err := filepath.Abs("../" + string(b[1]))
		require.NoError(t, err)
		source, err := os.ReadFile(original)
		require.NoError(t, err)
		replace[original] = filepath.Join(dir, string(b[1]))
		require.NoError(t, os.WriteFile(replace[original], append(source, b[2]...), 0o600))
	}
	overlay := filepath.Join(dir, "overlay.json")
	list, err := json.Marshal(map[string]any{"Replace": replace})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(overlay, list, 0o600))
	out, err := exec.Command("go", "test", "-v", "-overlay="+overlay, "./count").CombinedOutput()
	require.NoError(t, err, string(out))
	assert.Contains(t, string(out), "--- PASS: TestCount")
}

// Every variant that the model checker refuses has a row in README.md.
func TestEveryVariantIsTold(t *testing.T) {
	find := func(file, pattern string) (names []string) {
		source, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, m := range regexp.MustCompile(pattern).FindAllSubmatch(source, -1) {
			names = append(names, string(m[1]))
		}
		slices.Sort(names)
		return slices.Compact(names)
	}
	variants := find("../verify/lifecycle.pml", `(?m)^#ifn?def ([A-Z]+_[A-Z_]*)$`)
	require.Contains(t, variants, "LATE_GO")
	assert.Equal(t, variants, find("README.md", "(?m)^\\| `([A-Z]+_[A-Z_]*)` \\|"))
}
