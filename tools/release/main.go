// Command release makes the releases of this repository's modules, or tries what their
// users would get.
//
//	go -C tools run ./release v0.1.0       # prints the commands that make a release
//	go -C tools run ./release -do v0.1.0   # runs them; it pushes nothing
//	go -C tools run ./release -check       # makes a release of HEAD in a clone, and uses it
//
// All modules get the same version. One commit makes them require that version of each
// other, and has all tags. The replacements in their go.mod files stay: they do not reach
// users.
//
// With -check, the release is read by the go command as users read it, from a proxy, with
// an empty module cache. For each module, a program of tools/release/_users is built and
// run twice: with the module as go get installs it, and as the module's README.md says.
// Changes of the API since the last release are listed. The exit status is 1 if anything
// fails, and the clone is removed in any case.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

func main() {
	checks := flag.Bool("check", false, "try a release of HEAD in a clone, as its users get it; without a version, the next minor one")
	do := flag.Bool("do", false, "make the commit and the tags")
	flag.Usage = func() {
		_, _ = fmt.Fprint(flag.CommandLine.Output(), "usage: release [-do] VERSION\n       release -check [VERSION]\n")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() > 1 || flag.NArg() == 0 && !*checks || *do && *checks {
		flag.Usage()
		os.Exit(2)
	}
	if err := run(*checks, *do, flag.Arg(0), os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

func run(checks, do bool, version string, out io.Writer) error {
	r, err := open(".")
	if err != nil {
		return err
	}
	if checks {
		return check(r, version, os.DirFS(filepath.Join(r.dir, "tools/release/_users")), out)
	}
	dirty, err := r.dirty()
	if err != nil {
		return err
	}
	if dirty != "" {
		return fmt.Errorf("the tree has changes that are not committed:\n%s", dirty)
	}
	commands, err := plan(r, version)
	if err != nil {
		return err
	}
	if do {
		return r.do(commands, out)
	}
	for _, c := range commands {
		_, _ = fmt.Fprintln(out, c)
	}
	return nil
}
