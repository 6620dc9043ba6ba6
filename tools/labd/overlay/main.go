// Command overlay prepares a build of the lab in which govmomi's simulator behaves more like a vCenter:
//
//	go run ./overlay DIR && go build -modfile DIR/go.mod
//
// It edits the simulator's sources as they are in the module cache, at places that it must find exactly once, adds the files
// of _simulator to the package, and puts the result in the module's place. (`go build -overlay` would do the same in fewer
// words, but newer Go refuses to overlay the module cache.) None of the simulator's own text is kept here. When a new
// version of the module no longer has such a place, this command says which, and why the place was to be changed.
package main

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

//go:embed _simulator/*.go
var additions embed.FS

const govmomi = "github.com/vmware/govmomi"

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: go run ./overlay DIR")
		os.Exit(2)
	}
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "overlay:", err)
		os.Exit(1)
	}
}

func run(dir string) error {
	module, err := moduleDir(govmomi)
	if err != nil {
		return err
	}
	return write(module, dir)
}

// moduleDir asks Go where a module's sources are.
func moduleDir(module string) (string, error) {
	for _, args := range [][]string{{"mod", "download", module}, {"list", "-m", "-f", "{{.Dir}}", module}} {
		cmd := exec.Command("go", args...)
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		if err != nil {
			return "", fmt.Errorf("go %s: %w", strings.Join(args, " "), err)
		}
		if dir := string(bytes.TrimSpace(out)); dir != "" {
			return dir, nil
		}
	}
	return "", fmt.Errorf("go does not know where %s is", module)
}

// write makes dir/govmomi, which is the module with the edits (what stays as it is are links into the module cache), and
// dir/go.mod, which is ours with that in the place of the module.
func write(module, dir string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	simulator := filepath.Join(dir, "govmomi", "simulator")
	// What is left of an earlier run are links into the module cache, which writing would follow.
	if err := os.RemoveAll(filepath.Join(dir, "govmomi")); err != nil {
		return err
	}
	if err := os.MkdirAll(simulator, 0o755); err != nil {
		return err
	}
	edited, err := editAll(edits, func(name string) (string, error) {
		text, err := os.ReadFile(filepath.Join(module, "simulator", name))
		return string(text), err
	})
	if err != nil {
		return err
	}
	names, err := additions.ReadDir("_simulator")
	if err != nil {
		return err
	}
	for _, entry := range names {
		text, err := additions.ReadFile("_simulator/" + entry.Name())
		if err != nil {
			return err
		}
		edited[entry.Name()] = string(text)
	}
	for name, text := range edited {
		if err := os.WriteFile(filepath.Join(simulator, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	if err := link(module, filepath.Dir(simulator)); err != nil {
		return err
	}
	if err := link(filepath.Join(module, "simulator"), simulator); err != nil {
		return err
	}
	return writeModFile(dir)
}

// link links what is in one directory and not yet in the other. The simulator's own tests do not fit the edits.
func link(from, to string) error {
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, e := range entries {
		target := filepath.Join(to, e.Name())
		if _, err := os.Lstat(target); err == nil || strings.HasSuffix(e.Name(), "_test.go") {
			continue
		}
		if err := os.Symlink(filepath.Join(from, e.Name()), target); err != nil {
			return err
		}
	}
	return nil
}

// writeModFile writes go.mod and go.sum for `go build -modfile`.
func writeModFile(dir string) error {
	for _, name := range []string{"go.mod", "go.sum"} {
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		if name == "go.mod" {
			text = fmt.Appendf(text, "\nreplace %s => %s\n", govmomi, filepath.Join(dir, "govmomi"))
		}
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// editAll applies edits to the files that they name and returns these. All edits that do not fit are in the error.
func editAll(edits []edit, read func(name string) (string, error)) (map[string]string, error) {
	files := map[string]string{}
	var misfits []error
	for _, e := range edits {
		text, ok := files[e.file]
		if !ok {
			var err error
			if text, err = read(e.file); err != nil {
				return nil, err
			}
		}
		if n := strings.Count(text, e.old); n != 1 {
			misfits = append(misfits, fmt.Errorf("%s: found %d times instead of once (%s):\n%s", e.file, n, e.why, e.old))
			continue
		}
		files[e.file] = strings.Replace(text, e.old, e.new, 1)
	}
	return files, errors.Join(misfits...)
}
