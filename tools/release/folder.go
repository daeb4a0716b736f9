package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
)

// A folder is where commands run.
type folder struct {
	dir string   // an absolute path
	env []string // what commands get besides the environment of this program
}

// output runs a command, and returns what it has printed, without the last newline.
func (f folder) output(c ...string) (string, error) {
	cmd := exec.Command(c[0], c[1:]...)
	cmd.Dir = f.dir
	cmd.Env = append(os.Environ(), f.env...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%s: %w\n%s%s", command(c), err, stdout, stderr.Bytes())
	}
	return strings.TrimSuffix(string(stdout), "\n"), err
}

// do runs commands until one fails, and prints each before.
func (f folder) do(commands []command, out io.Writer) error {
	for _, c := range commands {
		if _, err := fmt.Fprintln(out, c); err != nil {
			return err
		}
		if _, err := f.output(c...); err != nil {
			return err
		}
	}
	return nil
}

// A command is a program and its arguments.
type command []string

// String returns c as one types it.
func (c command) String() string {
	words := slices.Clone(c)
	for i, word := range words {
		if strings.Contains(word, " ") {
			words[i] = strconv.Quote(word)
		}
	}
	return strings.Join(words, " ")
}
