package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// check makes a release of r's HEAD in a clone, and tries it as its users would. If version
// is "", the release is that of the next minor version. The folders of programs are named
// by the last elements of the modules' paths.
func check(r repository, version string, programs fs.FS, out io.Writer) (err error) {
	work, err := os.MkdirTemp("", "release")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	dirty, err := r.dirty()
	if err != nil {
		return err
	}
	if dirty != "" {
		_, _ = fmt.Fprintf(out, "not committed, and so not in the release:\n%s\n", dirty)
	}
	t, err := newTrial(r, version, programs, work)
	if err != nil {
		return err
	}

	var failures []error
	report := func(err error, format string, args ...any) {
		what, verdict := fmt.Sprintf(format, args...), "ok  "
		if err != nil {
			verdict = "FAIL"
			failures = append(failures, fmt.Errorf("%s: %w", what, err))
		}
		_, _ = fmt.Fprintln(out, verdict, what)
	}
	// First, while neither the clone nor the module cache has anything of the release.
	for _, m := range t.modules {
		report(t.users.install(m, t.clone), "%s, from a clone as its README.md says", m.path())
	}
	if err := t.release(); err != nil {
		return errors.Join(append(failures, err)...)
	}
	for _, m := range t.modules {
		report(t.users.get(m, t.version), "%s@%s, by go get", m.path(), t.version)
	}
	if t.last == "" {
		_, _ = fmt.Fprintln(out, "no release before: no API to compare with")
		return errors.Join(failures...)
	}
	for _, m := range t.modules {
		changes, err := t.changes(m)
		report(err, "%s, its API since %s:\n%s", m.path(), t.last, changes)
	}
	return errors.Join(failures...)
}

// A trial is a release in a clone.
type trial struct {
	clone    repository
	modules  []goModule // those that are released
	last     string     // the release before, or ""
	version  string
	commands []command
	proxy    proxy // has the modules when they are released
	users    users
}

func newTrial(r repository, version string, programs fs.FS, work string) (t trial, err error) {
	if t.clone, err = r.clone(filepath.Join(work, "clone")); err != nil {
		return t, err
	}
	if t.last, err = t.clone.last(); err != nil {
		return t, err
	}
	if t.version = version; version == "" {
		t.version = next(t.last)
	}
	if t.commands, err = plan(t.clone, t.version); err != nil {
		return t, err
	}
	modules, err := t.clone.modules()
	if err != nil {
		return t, err
	}
	for _, m := range modules {
		if m.released() {
			t.modules = append(t.modules, m)
		}
	}
	t.proxy = proxy(filepath.Join(work, "proxy"))
	t.users = users{work: work, own: modules[0].path(), programs: programs}
	t.users.proxies, err = r.output("go", "env", "GOPROXY")
	return t, err
}

// release makes the release, which users get from then on.
func (t *trial) release() error {
	if err := t.clone.do(t.commands, io.Discard); err != nil {
		return err
	}
	for _, m := range t.modules {
		for _, version := range []string{t.last, t.version} {
			tagged, err := t.clone.tagged(m, version)
			if err != nil {
				return err
			}
			if tagged {
				if err := t.proxy.add(t.clone, m, version); err != nil {
					return err
				}
			}
		}
	}
	t.users.proxies = t.proxy.url() + "," + t.users.proxies
	return nil
}

// changes returns how the API of m differs from that of the last release.
func (t *trial) changes(m goModule) (string, error) {
	if tagged, err := t.clone.tagged(m, t.last); err != nil || !tagged {
		return "the module is new", err
	}
	before, err := t.users.api(m, t.last)
	if err != nil {
		return "", err
	}
	after, err := t.users.api(m, t.version)
	if err != nil {
		return "", err
	}
	return compare(before, after), nil
}
