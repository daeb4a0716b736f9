package main

import (
	"errors"
	"os"
	"strings"

	"golang.org/x/exp/apidiff"
	"golang.org/x/tools/go/packages"
)

// api returns what a version of m exports to its users.
func (u users) api(m goModule, version string) (*apidiff.Module, error) {
	user, err := u.user(m)
	if err != nil {
		return nil, err
	}
	if _, err := user.output("go", "get", m.path()+"@"+version); err != nil {
		return nil, err
	}
	loaded, err := packages.Load(&packages.Config{
		Mode: packages.NeedName | packages.NeedTypes | packages.NeedImports | packages.NeedDeps,
		Dir:  user.dir, Env: append(os.Environ(), user.env...), BuildFlags: []string{"-mod=mod"},
	}, m.path()+"/...")
	if err != nil {
		return nil, err
	}
	var errs []error
	public := &apidiff.Module{Path: m.path()}
	for _, p := range loaded {
		for _, err := range p.Errors {
			errs = append(errs, err)
		}
		if p.Name != "main" && !strings.Contains(p.PkgPath+"/", "/internal/") {
			public.Packages = append(public.Packages, p.Types)
		}
	}
	return public, errors.Join(errs...)
}

// compare lists the changes between two versions of a module.
func compare(before, after *apidiff.Module) string {
	changes := strings.TrimSuffix(apidiff.ModuleChanges(before, after).String(), "\n")
	if changes == "" {
		return "no changes"
	}
	return changes
}
