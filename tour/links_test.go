package main

import (
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/text"
)

// A document is what a Markdown file links to, and what can be linked to in it.
type document struct {
	links   []string
	anchors map[string]bool
}

var dropped = regexp.MustCompile(`[^\p{L}\p{N} _-]`)

// read returns what a text links to. Its anchors are those that GitHub makes of headings.
func read(source []byte) document {
	p := document{anchors: make(map[string]bool)}
	tree := goldmark.New(goldmark.WithExtensions(extension.GFM)).Parser().Parse(text.NewReader(source))
	ast.Walk(tree, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if !entering {
			return ast.WalkContinue, nil
		}
		switch n := n.(type) {
		case *ast.Heading:
			anchor := strings.ReplaceAll(dropped.ReplaceAllString(strings.ToLower(plain(n, source)), ""), " ", "-")
			for i, first := 1, anchor; p.anchors[anchor]; i++ {
				anchor = fmt.Sprintf("%s-%d", first, i)
			}
			p.anchors[anchor] = true
		case *ast.Link:
			p.links = append(p.links, string(n.Destination))
		case *ast.Image:
			p.links = append(p.links, string(n.Destination))
		}
		return ast.WalkContinue, nil
	})
	return p
}

// plain returns the text of n without its markup.
func plain(n ast.Node, source []byte) string {
	var b strings.Builder
	ast.Walk(n, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if t, ok := n.(*ast.Text); ok && entering {
			b.Write(t.Segment.Value(source))
		}
		return ast.WalkContinue, nil
	})
	return b.String()
}

// broken returns the links between pages, by file name, that lead nowhere.
func broken(pages map[string]document) (links []string) {
	for file, p := range pages {
		for _, link := range p.links {
			u, err := url.Parse(link)
			if err == nil && u.Scheme != "" {
				continue // elsewhere
			}
			target := file
			if err == nil && u.Path != "" {
				target = filepath.Join(filepath.Dir(file), u.Path)
				_, err = os.Stat(target)
			}
			if to, ok := pages[target]; err != nil || u.Fragment != "" && (!ok || !to.anchors[u.Fragment]) {
				links = append(links, file+": "+link)
			}
		}
	}
	return links
}

// TestLinks follows the links within the repository, in every Markdown file of it.
func TestLinks(t *testing.T) {
	pages := make(map[string]document)
	require.NoError(t, filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && d.Name() == ".git":
			return fs.SkipDir
		case filepath.Ext(path) != ".md":
			return nil
		}
		source, err := os.ReadFile(path)
		pages[path] = read(source)
		return err
	}))
	require.Contains(t, pages, "../README.md")
	assert.Empty(t, broken(pages))
}

func TestLinksFindsWhatIsBroken(t *testing.T) {
	there := read([]byte("# A `b`-c\n\n## A b-c\n"))
	here := read([]byte("| a |\n|---|\n| [x](main.go) [x](none.go) ![x](none.svg) |\n\n" +
		"[x](there.md#a-b-c-1) [x](#none) [x](there.md#none) [x](main.go#none) [x](https://example.com/#none)\n"))
	there.links = []string{"#a-b-c"}
	t.Chdir(t.TempDir())
	for _, file := range []string{"there.md", "main.go"} {
		require.NoError(t, os.WriteFile(file, nil, 0o600))
	}
	assert.ElementsMatch(t, []string{"here.md: none.go", "here.md: none.svg", "here.md: #none", "here.md: there.md#none", "here.md: main.go#none"},
		broken(map[string]document{"here.md": here, "there.md": there}))
}
