// Command tour prints which step of the tour keeps which promise, and what happens where
// one is not kept. Every cell comes from a run of a test, TestPromise, in a process of its
// own; see promises_test.go. It fails if README.md shows another table; -w writes this one.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

func main() {
	write := flag.Bool("w", false, "write the table to README.md")
	flag.Parse()
	if err := run(*write); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(write bool) error {
	dir, err := os.MkdirTemp("", "tour")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "table")
	test := exec.Command("go", "test", "-count=1", "-run=^TestTable$", ".", "-table="+file, fmt.Sprintf("-write=%t", write))
	output, failure := test.CombinedOutput()
	table, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("%w\n%s", failure, output)
	}
	fmt.Print(string(table))
	if failure != nil {
		return fmt.Errorf("%s", output)
	}
	return nil
}
