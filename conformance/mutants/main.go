// Mutants breaks the library in ways that a mutation tester does not, one at a time
// and each in its own copy, and expects the checks to notice.
//
//	go -C conformance run ./mutants          # the library's own tests
//	go -C conformance run ./mutants -table   # which check notices which mutant
//
// The exit status is 1 if the library's own tests let a mutant live.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"text/tabwriter"
	"time"

	"golang.org/x/sync/errgroup"
)

// A check is a go test command that passes on the library.
type check struct {
	name  string
	dir   string
	args  []string
	limit time.Duration // a check that takes longer hangs
}

var checks = []check{
	{"own tests", ".", []string{"-cpu=1,2,4", "./..."}, generous},
	{"with -race", ".", []string{"-race", "./..."}, generous},
	{"differential", "conformance", []string{"-run=Differential", "-rapid.checks=1000", "-rapid.nofailfile"}, generous},
	{"exact", "conformance", []string{"-run=Exact", "-rapid.checks=1000", "-rapid.nofailfile"}, generous},
	{"linearizability", "conformance", []string{"-run=Linearizability"}, generous},
	{"soak", "conformance", []string{"-run=Soak", "-soak=2s"}, generous},
}

// generous is the limit for the library itself.
const generous = 5 * time.Minute

// patience is how many times as long a mutant may take as the library.
const patience = 2

func main() {
	log.SetFlags(0)
	all := flag.Bool("table", false, "run all checks on each mutant")
	only := flag.String("run", "", "only mutants whose names match this `regexp`")
	every := flag.Int("every", 1, "of these, only each `n`-th")
	first := flag.Int("first", 0, "begin with this `one`, counted from 0, if -every is given")
	flag.Parse()
	names, err := regexp.Compile(*only)
	if err != nil {
		log.Fatal(err)
	}
	if *every < 1 || *first < 0 || *first >= *every {
		log.Fatal("-every must be at least 1, and -first from 0 to less than that")
	}
	if !*all {
		checks = checks[:1]
	}

	if err := calibrate(checks); err != nil {
		log.Fatal(err)
	}
	var chosen []mutant
	n := 0
	for _, m := range mutants {
		if names.MatchString(m.name) {
			if n%*every == *first {
				chosen = append(chosen, m)
			}
			n++
		}
	}
	verdicts := make([][]string, len(chosen))
	err = together(len(chosen), func(i int) (err error) {
		log.Print(chosen[i].name)
		verdicts[i], err = chosen[i].judge(checks)
		return err
	})
	if err != nil {
		log.Fatal(err)
	}

	lived := 0
	var table bytes.Buffer
	w := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	fmt.Fprint(w, "mutant")
	for _, c := range checks {
		fmt.Fprint(w, "\t", c.name)
	}
	for i, m := range chosen {
		if verdicts[i][0] == lives {
			lived++
		}
		fmt.Fprint(w, "\n", m.name)
		for _, v := range verdicts[i] {
			fmt.Fprint(w, "\t", v)
		}
	}
	w.Flush()
	fmt.Println(table.String())
	if lived > 0 {
		log.Fatalf("%d mutants live", lived)
	}
}

// atOnce is how many mutants are judged at a time. One that waits leaves its processor to
// the others.
const atOnce = 3

// together calls f n times, atOnce at a time.
func together(n int, f func(i int) error) error {
	var g errgroup.Group
	g.SetLimit(atOnce)
	for i := range n {
		g.Go(func() error { return f(i) })
	}
	return g.Wait()
}

// calibrate sets the limits of the checks to multiples of the time that they take on
// the library, atOnce at a time. There they must pass.
func calibrate(checks []check) error {
	for i := range checks {
		began := time.Now()
		err := together(atOnce, func(int) error {
			verdicts, err := mutant{name: "the library"}.judge(checks[i : i+1])
			if err == nil && verdicts[0] != lives {
				err = fmt.Errorf("the library itself: %s: %s", checks[i].name, verdicts[0])
			}
			return err
		})
		if err != nil {
			return err
		}
		checks[i].limit = patience * time.Since(began)
	}
	return nil
}

// The verdicts of a check on a mutant.
const (
	lives = "-"
	fails = "fails"
	hangs = "hangs"
	races = "races"
)

// judge makes a copy of the library with the mutation in it, and runs the checks
// there.
func (m mutant) judge(checks []check) (verdicts []string, err error) {
	dir, err := os.MkdirTemp("", "mutant")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	if err := os.CopyFS(dir, os.DirFS("..")); err != nil {
		return nil, err
	}
	for _, e := range m.edits {
		if err := e.apply(dir); err != nil {
			return nil, fmt.Errorf("%s: %w", m.name, err)
		}
	}
	if output, err := command(dir, "build", "./...").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%s does not compile: %s", m.name, output)
	}
	for _, c := range checks {
		args := append([]string{"test", "-count=1", "-failfast", "-timeout=" + c.limit.String()}, c.args...)
		output, err := command(filepath.Join(dir, c.dir), args...).CombinedOutput()
		verdict := fails
		switch {
		case err == nil:
			verdict = lives
		case bytes.Contains(output, []byte("test timed out")):
			verdict = hangs
		case bytes.Contains(output, []byte("DATA RACE")):
			verdict = races
		}
		verdicts = append(verdicts, verdict)
	}
	return verdicts, nil
}

func command(dir string, args ...string) *exec.Cmd {
	cmd := exec.Command("go", args...)
	cmd.Dir = dir
	return cmd
}

// apply makes the edit in the copy of the library in dir.
func (e edit) apply(dir string) error {
	path := filepath.Join(dir, e.file)
	before, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if n := bytes.Count(before, []byte(e.from)); n != 1 {
		return fmt.Errorf("%s has %q %d times, not once", e.file, e.from, n)
	}
	after := bytes.Replace(before, []byte(e.from), []byte(e.to), 1)
	return os.WriteFile(path, after, 0o600)
}
