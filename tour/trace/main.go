// Command trace runs a scenario on the library, and prints who sends what to whom:
//
//	go run ./trace meet
//
// What it prints has happened. Command trace builds the library with the -overlay flag of
// the go command, from copies that note the steps of package actor, and each channel that is
// made, sent to or closed. It runs ./scenario with these. The library has no hook for this,
// and pays nothing. A copy of the protocol would need a test that compares it with the
// library; here there is no copy to compare. If the library changes so that it cannot be
// instrumented in this way, trace says so, and its test fails.
//
// To make the order of steps the same each time, a scenario runs in a testing/synctest
// bubble and lets one goroutine at a time go on. Where two of them race, it holds a
// message of one until the other has done its part.
package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

var scenarios = []string{"meet", "race", "leave", "forget", "abandon", "fresh"}

func main() {
	names := os.Args[1:]
	if len(names) == 0 {
		names = scenarios[:1]
	}
	tables, err := run(names)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for i, table := range tables {
		fmt.Printf("%s\n\n%s\n", names[i], table)
	}
	if len(os.Args) == 1 {
		fmt.Println("Other scenarios:", strings.Join(scenarios[1:], ", "))
	}
}

// run returns what each of the scenarios prints.
func run(names []string) (tables []string, err error) {
	dir, err := os.MkdirTemp("", "trace")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	file, err := overlay(dir)
	if err != nil {
		return nil, err
	}
	exe := filepath.Join(dir, "scenario")
	build := exec.Command("go", "test", "-c", "-overlay="+file, "-o="+exe, "github.com/actorflight/singleflight/tour/trace/scenario")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("the library cannot be traced: %w\n%s", err, out)
	}
	for _, name := range names {
		out, err := exec.Command(exe, "-test.run=^TestScenario$", "-scenario="+name).CombinedOutput()
		if err != nil {
			return nil, fmt.Errorf("%w\n%s", err, out)
		}
		tables = append(tables, strings.TrimSuffix(string(out), "PASS\n"))
	}
	return tables, nil
}
