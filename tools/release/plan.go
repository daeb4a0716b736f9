package main

import (
	"fmt"
	"strings"

	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"
)

// plan returns the commands that release all modules of r as version.
func plan(r repository, version string) ([]command, error) {
	modules, err := r.modules()
	if err != nil {
		return nil, err
	}
	if err := acceptable(r, modules, version); err != nil {
		return nil, err
	}
	own := make(map[string]bool)
	for _, m := range modules {
		own[m.path()] = true
	}

	var commands, tags []command
	for _, m := range modules {
		edit := command{"go", "-C", m.dir, "mod", "edit"}
		for _, required := range m.Require {
			if own[required.Mod.Path] && required.Mod.Version != version {
				edit = append(edit, "-require="+required.Mod.Path+"@"+version)
			}
		}
		if len(edit) > 5 {
			commands = append(commands, edit)
		}
		if m.released() {
			tags = append(tags, command{"git", "tag", "-a", "-m", m.path() + " " + version, m.tag(version)})
		}
	}
	if edits := commands; len(edits) > 0 {
		for _, edit := range edits { // when all are edited, because modules are replaced by folders
			commands = append(commands, command{"go", "-C", edit[2], "mod", "tidy"})
		}
		commands = append(commands, command{"git", "commit", "--quiet", "-a", "-m", "release: " + version})
	}
	return append(commands, tags...), nil
}

// acceptable returns an error unless the modules can be released as version.
func acceptable(r repository, modules []goModule, version string) error {
	if semver.Canonical(version) != version {
		return fmt.Errorf("version %s is none like v0.1.0 or v0.1.0-rc.1", version)
	}
	last, err := r.last()
	if err != nil {
		return err
	}
	if last != "" && semver.Compare(version, last) <= 0 {
		return fmt.Errorf("version %s is not after %s, the last release", version, last)
	}
	for _, m := range modules {
		if !m.released() {
			continue
		}
		if err := module.Check(m.path(), version); err != nil {
			return err
		}
		tagged, err := r.tagged(m, version)
		if err != nil {
			return err
		}
		if tagged {
			return fmt.Errorf("the tag %s exists", m.tag(version))
		}
	}
	return nil
}

// next returns the first minor version after last, which may be "".
func next(last string) string {
	if last == "" {
		return "v0.1.0"
	}
	var major, minor int
	if _, err := fmt.Sscanf(strings.TrimPrefix(semver.MajorMinor(last), "v"), "%d.%d", &major, &minor); err != nil {
		panic(err) // last is valid
	}
	return fmt.Sprintf("v%d.%d.0", major, minor+1)
}
