package main

import (
	"flag"
	"testing"

	"github.com/actorflight/singleflight/tour/page"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var write = flag.Bool("write", false, "whether to write the tables to README.md")

func TestReadmeShowsWhatHappens(t *testing.T) {
	tables, err := run(scenarios)
	require.NoError(t, err)
	for i, name := range scenarios {
		table := "```\n" + tables[i] + "```\n"
		shown, err := page.Block("README.md", name, table, *write)
		require.NoError(t, err)
		assert.Equal(t, table, shown, "go test ./trace -write writes %s to README.md", name)
	}
}

// A library that has changed must not be traced in part.
func TestLibraryThatCannotBeTraced(t *testing.T) {
	for text, want := range map[string]string{
		"package p; func f() { select { case c <- v: } }": "a select that sends cannot be traced",
		"package p; func f() { defer close(c) }":          "a deferred close cannot be traced",
		"package p; func {":                               "expected",
	} {
		_, _, err := rewrite("p.go", []byte(text), true, nil)
		assert.ErrorContains(t, err, want)
	}
	o := copies{t.TempDir(), make(map[string]string)}
	assert.ErrorContains(t, o.instrument("../../actor", "actor", append(renamedInActor, "Address.Stop")), "to rename, and not")
}

func TestUnknownScenario(t *testing.T) {
	_, err := run([]string{"unknown"})
	assert.ErrorContains(t, err, "unknown")
}
