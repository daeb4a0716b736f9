package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
)

// users have a folder each, with a program, and a module cache that is empty at first.
type users struct {
	work     string // what they need on the disk is below this folder
	proxies  string // where their modules come from, as in GOPROXY
	own      string // modules below this path are in no checksum database
	programs fs.FS  // one folder for each module
}

// user makes the folder of a user of m, which is a module without requirements.
func (u users) user(m goModule) (folder, error) {
	dir, err := os.MkdirTemp(u.work, "user")
	if err != nil {
		return folder{}, err
	}
	user := folder{dir: dir, env: []string{
		"GOPROXY=" + u.proxies, "GOPRIVATE=", "GONOPROXY=", "GONOSUMDB=" + u.own, "GOWORK=off",
		"GOFLAGS=-modcacherw -trimpath", "GOMODCACHE=" + filepath.Join(u.work, "modules"),
	}}
	program, err := fs.Sub(u.programs, path.Base(m.path()))
	if err != nil {
		return folder{}, err
	}
	if err := os.CopyFS(dir, program); err != nil {
		return folder{}, fmt.Errorf("the module needs a program that uses it: %w", err)
	}
	_, err = user.output("go", "mod", "init", "example.com/user")
	return user, err
}

// get installs a version of m by go get, and runs the user's program.
func (u users) get(m goModule, version string) error {
	user, err := u.user(m)
	if err != nil {
		return err
	}
	for _, c := range []command{{"go", "get", m.path() + "@" + version}, {"go", "mod", "tidy"}, {"go", "run", "."}} {
		if _, err := user.output(c...); err != nil {
			return err
		}
	}
	return nil
}

// clonePath stands for the folder of a clone in a README.md.
const clonePath = "/path/to/the/clone"

var script = regexp.MustCompile("(?ms)^```sh\n(.*?)^```$")

// install installs m by the commands of its README.md that name clonePath, and runs the
// user's program.
func (u users) install(m goModule, clone repository) error {
	text, err := os.ReadFile(filepath.Join(clone.dir, m.dir, "README.md"))
	if err != nil {
		return err
	}
	for _, found := range script.FindAllSubmatch(text, -1) {
		if !strings.Contains(string(found[1]), clonePath) {
			continue
		}
		user, err := u.user(m)
		if err != nil {
			return err
		}
		if _, err := user.output("sh", "-ec", strings.ReplaceAll(string(found[1]), clonePath, clone.dir)); err != nil {
			return err
		}
		_, err = user.output("go", "run", ".")
		return err
	}
	return errors.New("no commands name " + clonePath)
}
