package main

import (
	"embed"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// added is what is added to the packages of the library. The go command does not build it
// where it is, because of the underscore.
//
//go:embed _overlay
var added embed.FS

// A function of the library with one of these names is renamed, and added has another in
// its place, which calls it.
var (
	renamedInActor = []string{
		"Address.Claim", "Address.ClaimOrEnter", "Address.Exit", "Activation.Send", "Activation.own", "Owner.Release",
	}
	renamedInRoot = []string{"newLone", "call.join", "party.leave", "leader.host"}
)

// overlay writes an instrumented copy of the library to dir. It returns the name of a file
// for the -overlay flag of go build.
func overlay(dir string) (string, error) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/actorflight/singleflight").Output()
	if err != nil {
		return "", fmt.Errorf("go list: %w", err)
	}
	root := strings.TrimSpace(string(out))
	o := copies{dir: dir, replace: make(map[string]string)}
	if err := o.instrument(root, "singleflight", renamedInRoot); err != nil {
		return "", err
	}
	if err := o.instrument(filepath.Join(root, "actor"), "actor", renamedInActor); err != nil {
		return "", err
	}
	list, err := json.Marshal(map[string]any{"Replace": o.replace})
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, "overlay.json")
	return file, os.WriteFile(file, list, 0o600)
}

// copies are files that replace others in a build.
type copies struct {
	dir     string
	replace map[string]string
}

func (o *copies) add(original string, text []byte) error {
	file := filepath.Join(o.dir, fmt.Sprintf("%d_%s", len(o.replace), filepath.Base(original)))
	o.replace[original] = file
	return os.WriteFile(file, text, 0o600)
}

// instrument makes copies of the files of a package.
func (o *copies) instrument(dir, pkg string, renamed []string) error {
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return err
	}
	var found []string
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		text, names, err := rewrite(file, text, pkg == "singleflight", renamed)
		if err != nil {
			return err
		}
		found = append(found, names...)
		if err := o.add(file, text); err != nil {
			return err
		}
	}
	slices.Sort(found)
	if want := slices.Sorted(slices.Values(renamed)); !slices.Equal(found, want) {
		return fmt.Errorf("%s has %v to rename, and not %v, each once", dir, found, want)
	}
	text, err := added.ReadFile("_overlay/" + pkg + ".go")
	if err != nil {
		return err
	}
	return o.add(filepath.Join(dir, "traced.go"), text)
}

// rewrite returns text with functions renamed. If channels is true, the text also notes each
// channel that is made, sent to or closed. rewrite returns the names of the functions, too.
func rewrite(file string, text []byte, channels bool, renamed []string) (_ []byte, names []string, err error) {
	fset := token.NewFileSet()
	tree, err := parser.ParseFile(fset, file, text, 0)
	if err != nil {
		return nil, nil, err
	}
	inserts := make(map[int]string)
	insert := func(at token.Pos, s string) { inserts[fset.Position(at).Offset] += s }
	source := func(n ast.Node) string {
		return string(text[fset.Position(n.Pos()).Offset:fset.Position(n.End()).Offset])
	}
	note := func(f *ast.FuncDecl) {
		what := `"the landing"`
		switch f.Name.Name {
		case "Handle":
			what = f.Recv.List[0].Names[0].Name + ".answer()"
		case "beginNext":
			what = `"now you lead"`
		case "release":
			what = `"nothing is in flight"`
		}
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CommClause:
				if send, ok := n.Comm.(*ast.SendStmt); ok {
					err = fmt.Errorf("%s: a select that sends cannot be traced", fset.Position(send.Pos()))
				}
			case *ast.SendStmt:
				insert(n.Pos(), fmt.Sprintf("record.Sent(%s, %s); ", source(n.Chan), what))
			case *ast.ExprStmt:
				if call, ok := n.X.(*ast.CallExpr); ok && calls(call, "close") {
					insert(n.Pos(), fmt.Sprintf("record.Closed(%s, %s); ", source(call.Args[0]), what))
				}
			case *ast.DeferStmt:
				if calls(n.Call, "close") {
					err = fmt.Errorf("%s: a deferred close cannot be traced", fset.Position(n.Pos()))
				}
			case *ast.CallExpr:
				if calls(n, "make") {
					if _, ok := n.Args[0].(*ast.ChanType); ok {
						insert(n.Pos(), "record.Channel(")
						insert(n.End(), ")")
					}
				}
			}
			return true
		})
	}
	for _, d := range tree.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok {
			continue
		}
		if name := qualified(f); slices.Contains(renamed, name) {
			names = append(names, name)
			insert(f.Name.Pos(), "untraced")
		}
		if channels {
			note(f)
		}
	}
	if channels && len(inserts) > len(names) {
		insert(tree.Name.End(), `; import "github.com/actorflight/singleflight/tour/trace/record"`)
	}
	var b []byte
	for i, c := range text {
		b = append(append(b, inserts[i]...), c)
	}
	return b, names, err
}

// calls reports whether c calls a builtin function.
func calls(c *ast.CallExpr, builtin string) bool {
	f, ok := c.Fun.(*ast.Ident)
	return ok && f.Name == builtin
}

// qualified returns the name of f, after that of its receiver's type if f is a method.
func qualified(f *ast.FuncDecl) string {
	if f.Recv == nil {
		return f.Name.Name
	}
	t := f.Recv.List[0].Type
	for {
		switch of := t.(type) {
		case *ast.StarExpr:
			t = of.X
		case *ast.IndexExpr:
			t = of.X
		case *ast.IndexListExpr:
			t = of.X
		default:
			return fmt.Sprint(t, ".", f.Name.Name)
		}
	}
}
