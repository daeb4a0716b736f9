package main

import (
	"cmp"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/semver"
)

// unreleased are the folders of the modules that are not for users. All others are released.
var unreleased = []string{
	"bench", "conformance", "examples", "natsflight/bench", "observe/browser", "tools", "tour",
}

// A repository is a git work tree.
type repository struct{ folder }

// open returns the repository that has the folder dir.
func open(dir string) (repository, error) {
	root, err := folder{dir: dir}.output("git", "rev-parse", "--show-toplevel")
	return repository{folder{dir: filepath.FromSlash(root)}}, err
}

// dirty lists what differs in the tree and in HEAD.
func (r repository) dirty() (string, error) { return r.output("git", "status", "--porcelain") }

// clone clones r into a new folder. What the user has configured, such as a key to sign
// with, does not reach the git commands of the clone.
func (r repository) clone(dir string) (repository, error) {
	_, err := r.output("git", "clone", "--quiet", r.dir, dir)
	const name, address = "release", "release@localhost"
	return repository{folder{dir: dir, env: []string{
		"GIT_CONFIG_GLOBAL=" + os.DevNull, "GIT_CONFIG_SYSTEM=" + os.DevNull,
		"GIT_AUTHOR_NAME=" + name, "GIT_AUTHOR_EMAIL=" + address,
		"GIT_COMMITTER_NAME=" + name, "GIT_COMMITTER_EMAIL=" + address,
	}}}, err
}

// last returns the highest version of the root module that is tagged in HEAD's history,
// or "".
func (r repository) last() (string, error) {
	tags, err := r.output("git", "tag", "--list", "v*", "--merged", "HEAD")
	versions := slices.DeleteFunc(strings.Fields(tags), func(v string) bool { return !semver.IsValid(v) })
	if len(versions) == 0 {
		return "", err
	}
	return slices.MaxFunc(versions, semver.Compare), err
}

// A goModule is a module of a repository.
type goModule struct {
	*modfile.File
	dir string // relative to the root of the repository, which is "."
}

func (m goModule) path() string { return m.Module.Mod.Path }

func (m goModule) released() bool { return !slices.Contains(unreleased, m.dir) }

// tag returns the name of the tag of a version.
func (m goModule) tag(version string) string { return path.Join(m.dir, version) }

// tagged reports whether a version of m is tagged.
func (r repository) tagged(m goModule, version string) (bool, error) {
	found, err := r.output("git", "tag", "--list", m.tag(version))
	return found != "", err
}

// modules returns the modules of the tree, the root's first.
func (r repository) modules() ([]goModule, error) {
	files, err := r.output("git", "ls-files", "go.mod", "*/go.mod")
	if err != nil {
		return nil, err
	}
	var modules []goModule
	for _, name := range strings.Fields(files) {
		text, err := os.ReadFile(filepath.Join(r.dir, name))
		if err != nil {
			return nil, err
		}
		file, err := modfile.Parse(name, text, nil)
		if err != nil {
			return nil, err
		}
		modules = append(modules, goModule{file, path.Dir(name)})
	}
	slices.SortFunc(modules, func(a, b goModule) int { return cmp.Compare(a.dir, b.dir) })
	if len(modules) == 0 || modules[0].dir != "." {
		return nil, fmt.Errorf("%s has no go.mod", r.dir)
	}
	return modules, nil
}
