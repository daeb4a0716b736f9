// Package page keeps what a command prints, and a page shows, the same.
package page

import (
	"fmt"
	"os"
	"strings"
)

// Block returns what file shows between the comments <!-- name --> and <!-- /name -->. If
// write is true, it first puts content there.
func Block(file, name, content string, write bool) (string, error) {
	page, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	begin, end := "<!-- "+name+" -->\n", "<!-- /"+name+" -->"
	before, rest, found := strings.Cut(string(page), begin)
	shown, after, ended := strings.Cut(rest, end)
	if !found || !ended {
		return "", fmt.Errorf("%s has no %s and %s", file, strings.TrimSpace(begin), end)
	}
	if write {
		shown = content
		err = os.WriteFile(file, []byte(before+begin+shown+end+after), 0o644)
	}
	return shown, err
}
