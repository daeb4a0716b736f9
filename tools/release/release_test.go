package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// files are those of a repository with a module in it, and one that is not released.
var files = map[string]string{
	".gitattributes": "# none\n",

	"go.mod":    "module example.com/fleet\n\ngo 1.26.0\n",
	"fleet.go":  "package fleet\n\nfunc Ships() int { return 3 }\n",
	"README.md": "```sh\ngo mod edit -require=example.com/fleet@v0.0.0 -replace=example.com/fleet=/path/to/the/clone\n```\n",

	"port/go.mod": "module example.com/fleet/port\n\ngo 1.26.0\n\nreplace example.com/fleet => ../\n\n" +
		"require example.com/fleet v0.0.0\n",
	"port/port.go": "package port\n\nimport \"example.com/fleet\"\n\nfunc Berths() int { return fleet.Ships() }\n",
	"port/README.md": "```sh\ngo version\n```\n\n```sh\ngo mod edit -replace=example.com/fleet=/path/to/the/clone\n" +
		"go mod edit -require=example.com/fleet/port@v0.0.0 -replace=example.com/fleet/port=/path/to/the/clone/port\n" +
		"go mod tidy\n```\n",

	"bench/go.mod": "module example.com/fleet/bench\n\ngo 1.26.0\n\n" +
		"replace example.com/fleet => ../\n\nreplace example.com/fleet/port => ../port\n\n" +
		"require (\n\texample.com/fleet v0.0.0 // indirect\n\texample.com/fleet/port v0.0.0\n)\n",
	"bench/bench.go": "package bench\n\nimport _ \"example.com/fleet/port\"\n",
}

// programs use the modules.
var programs = fstest.MapFS{
	"fleet/main.go": program(`"example.com/fleet"`, "fleet.Ships() != 3"),
	"port/main.go":  program(`"example.com/fleet/port"`, "port.Berths() != 3"),
}

func program(imports, wrong string) *fstest.MapFile {
	return &fstest.MapFile{Data: []byte("package main\n\nimport " + imports + "\n\nfunc main() {\n\tif " + wrong + " {\n\t\tpanic(0)\n\t}\n}\n")}
}

// newRepository commits the files in a new repository.
func newRepository(t *testing.T) repository {
	t.Setenv("GOPROXY", "off")
	for _, of := range []string{"AUTHOR", "COMMITTER"} {
		t.Setenv("GIT_"+of+"_NAME", "somebody")
		t.Setenv("GIT_"+of+"_EMAIL", "somebody@example.com")
	}
	r := repository{folder{dir: t.TempDir()}}
	git(t, r, "init", "--quiet")
	for name, text := range files {
		write(t, r, name, text)
	}
	git(t, r, "add", "-A")
	git(t, r, "commit", "--quiet", "-m", "ships")
	return r
}

func git(t *testing.T, r repository, args ...string) string {
	t.Helper()
	out, err := r.output(append(command{"git"}, args...)...)
	require.NoError(t, err)
	return out
}

func write(t *testing.T, r repository, name, text string) {
	t.Helper()
	name = filepath.Join(r.dir, name)
	require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o777))
	require.NoError(t, os.WriteFile(name, []byte(text), 0o666))
}

// change commits another text of a file, in which new takes the place of old.
func change(t *testing.T, r repository, name, old, new string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(r.dir, name))
	require.NoError(t, err)
	require.Contains(t, string(text), old)
	write(t, r, name, strings.ReplaceAll(string(text), old, new))
	git(t, r, "commit", "--quiet", "-a", "-m", name)
}

func TestRelease(t *testing.T) {
	r := newRepository(t)
	t.Chdir(filepath.Join(r.dir, "port"))
	before := git(t, r, "rev-parse", "HEAD")

	var printed, done bytes.Buffer
	require.NoError(t, run(false, false, "v0.1.0", &printed))
	assert.Equal(t, `go -C bench mod edit -require=example.com/fleet@v0.1.0 -require=example.com/fleet/port@v0.1.0
go -C port mod edit -require=example.com/fleet@v0.1.0
go -C bench mod tidy
go -C port mod tidy
git commit --quiet -a -m "release: v0.1.0"
git tag -a -m "example.com/fleet v0.1.0" v0.1.0
git tag -a -m "example.com/fleet/port v0.1.0" port/v0.1.0
`, printed.String())
	assert.Equal(t, before, git(t, r, "rev-parse", "HEAD"))
	assert.Empty(t, git(t, r, "tag"))

	require.NoError(t, run(false, true, "v0.1.0", &done))
	assert.Equal(t, printed.String(), done.String())
	assert.Equal(t, before, git(t, r, "rev-parse", "HEAD~1"), "one commit")
	assert.Equal(t, "port/v0.1.0\nv0.1.0", git(t, r, "tag", "--points-at", "HEAD"))
	assert.Equal(t, "bench/go.mod\nport/go.mod", git(t, r, "diff", "--name-only", "HEAD~1", "HEAD"))
	assert.Contains(t, git(t, r, "show", "HEAD:port/go.mod"), "require example.com/fleet v0.1.0")
	assert.Contains(t, git(t, r, "show", "HEAD:bench/go.mod"), "example.com/fleet v0.1.0 // indirect")
	assert.Empty(t, git(t, r, "status", "--porcelain"))

	git(t, r, "tag", "--delete", "v0.1.0", "port/v0.1.0")
	printed.Reset()
	require.NoError(t, run(false, false, "v0.1.0", &printed))
	assert.True(t, strings.HasPrefix(printed.String(), "git tag "), "the requirements are right already")
}

func TestRefuses(t *testing.T) {
	r := newRepository(t)
	t.Chdir(r.dir)
	for _, version := range []string{"0.1.0", "v0.1", "v2.0.0", "v0.1.0+exp", "next"} {
		assert.ErrorContains(t, run(false, true, version, io.Discard), version)
	}
	git(t, r, "tag", "port/v0.1.0")
	assert.ErrorContains(t, run(false, true, "v0.1.0", io.Discard), "the tag port/v0.1.0 exists")
	git(t, r, "tag", "v0.3.0")
	git(t, r, "tag", "v0.9.0", git(t, r, "commit-tree", "-m", "elsewhere", "HEAD^{tree}"))
	assert.ErrorContains(t, run(false, true, "v0.3.0", io.Discard), "version v0.3.0 is not after v0.3.0")
	assert.ErrorContains(t, run(false, true, "v0.2.0", io.Discard), "version v0.2.0 is not after v0.3.0")
	write(t, r, "new.go", "package fleet\n")
	assert.ErrorContains(t, run(false, true, "v0.4.0", io.Discard), "new.go")
	assert.Equal(t, "port/v0.1.0\nv0.3.0\nv0.9.0", git(t, r, "tag"))
}

func TestNext(t *testing.T) {
	for last, want := range map[string]string{"": "v0.1.0", "v0.1.0": "v0.2.0", "v1.9.3": "v1.10.0", "v0.2.0-rc.1": "v0.3.0"} {
		assert.Equal(t, want, next(last), last)
	}
}

// checked returns what check prints.
func checked(r repository, version string) (string, error) {
	var out bytes.Buffer
	err := check(r, version, programs, &out)
	return out.String(), err
}

func TestCheck(t *testing.T) {
	r := newRepository(t)
	write(t, r, "new.go", "package fleet\n")
	head := git(t, r, "rev-parse", "HEAD")
	t.Setenv("TMPDIR", t.TempDir())
	t.Setenv("GOWORK", filepath.Join(r.dir, "go.work")) // does not exist

	out, err := checked(r, "")
	assert.NoError(t, err)
	assert.Equal(t, `not committed, and so not in the release:
?? new.go
ok   example.com/fleet, from a clone as its README.md says
ok   example.com/fleet/port, from a clone as its README.md says
ok   example.com/fleet@v0.1.0, by go get
ok   example.com/fleet/port@v0.1.0, by go get
no release before: no API to compare with
`, out)
	assert.Equal(t, head, git(t, r, "rev-parse", "HEAD"), "only the clone has a commit")
	assert.Empty(t, git(t, r, "tag"), "only the clone has tags")
	left, err := os.ReadDir(os.Getenv("TMPDIR"))
	assert.NoError(t, err)
	assert.Empty(t, left)
}

func TestCheckComparesAPIs(t *testing.T) {
	r := newRepository(t)
	git(t, r, "tag", "v0.1.0") // port has no release yet
	change(t, r, "fleet.go", "func Ships() int", "func Boats() int { return 9 }\n\nfunc Ships() int")

	out, err := checked(r, "")
	assert.NoError(t, err)
	assert.Contains(t, out, "ok   example.com/fleet, its API since v0.1.0:\nCompatible changes:\n- Boats: added\n")
	assert.Contains(t, out, "ok   example.com/fleet/port, its API since v0.1.0:\nthe module is new\n")
	assert.Contains(t, out, "ok   example.com/fleet/port@v0.2.0, by go get\n")

	t.Chdir(r.dir)
	require.NoError(t, run(false, true, "v0.2.0", io.Discard))
	change(t, r, "fleet.go", "func Boats() int { return 9 }", "")
	out, err = checked(r, "")
	assert.NoError(t, err)
	assert.Contains(t, out, "ok   example.com/fleet, its API since v0.2.0:\nIncompatible changes:\n- Boats: removed\n")
	assert.Contains(t, out, "ok   example.com/fleet/port, its API since v0.2.0:\nno changes\n")
}

func TestCheckFails(t *testing.T) {
	for name, tc := range map[string]struct {
		file, old, new string
		fails, message string
	}{
		"a program that panics": {
			"fleet.go", "return 3", "return 4",
			"example.com/fleet@v0.1.0, by go get", "panic: 0",
		},
		"a file that is in the clone only": {
			".gitattributes", "# none", "port.go export-ignore",
			"example.com/fleet/port@v0.1.0, by go get", "cannot find module providing package example.com/fleet/port",
		},
		"a module is left out": {
			"port/README.md", "go mod edit -replace=example.com/fleet=/path/to/the/clone\n", "",
			"example.com/fleet/port, from a clone as its README.md says", "module lookup disabled",
		},
		"no commands": {
			"README.md", "/path/to/the/clone", "..",
			"example.com/fleet, from a clone as its README.md says", "no commands",
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRepository(t)
			change(t, r, tc.file, tc.old, tc.new)
			out, err := checked(r, "")
			assert.Contains(t, out, "FAIL "+tc.fails+"\n")
			assert.ErrorContains(t, err, tc.fails)
			assert.ErrorContains(t, err, tc.message)
		})
	}
}

func TestCheckNeedsPrograms(t *testing.T) {
	var out bytes.Buffer
	err := check(newRepository(t), "", fstest.MapFS{"fleet/main.go": programs["fleet/main.go"]}, &out)
	assert.ErrorContains(t, err, "example.com/fleet/port@v0.1.0, by go get: the module needs a program that uses it")
}
