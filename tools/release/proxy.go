package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path"
	"path/filepath"
	"time"

	"golang.org/x/mod/module"
	"golang.org/x/mod/zip"
)

// A proxy is a folder that the go command takes for a module proxy.
type proxy string

// url returns what GOPROXY has for p.
func (p proxy) url() string { return "file://" + filepath.ToSlash(string(p)) }

// add adds a version of m, which is tagged in r.
func (p proxy) add(r repository, m goModule, version string) error {
	tag, subdir := m.tag(version), m.dir
	if subdir == "." {
		subdir = ""
	}
	mod, err := r.output("git", "show", tag+":"+path.Join(subdir, "go.mod"))
	if err != nil {
		return err
	}
	info, err := json.Marshal(struct {
		Version string
		Time    time.Time
	}{version, time.Now().UTC()})
	if err != nil {
		return err
	}
	var archive bytes.Buffer
	if err := zip.CreateFromVCS(&archive, module.Version{Path: m.path(), Version: version}, r.dir, tag, subdir); err != nil {
		return err
	}

	escaped, err := module.EscapePath(m.path())
	if err != nil {
		return err
	}
	versions := filepath.Join(string(p), escaped, "@v")
	if err := os.MkdirAll(versions, 0o777); err != nil {
		return err
	}
	for suffix, content := range map[string][]byte{".mod": []byte(mod + "\n"), ".info": info, ".zip": archive.Bytes()} {
		if err := os.WriteFile(filepath.Join(versions, version+suffix), content, 0o666); err != nil {
			return err
		}
	}
	return nil
}
