package images

import (
	"archive/tar"
	"bytes"
	"debug/elf"
	"fmt"
	"path"
	"slices"
	"strings"
)

// addLibraries adds the shared libraries and the dynamic linker that the programs of the tree need, unless a layer below
// has them. from holds all packages.
func (t tree) addLibraries(from tree, below ...tree) error {
	var queue []string
	for name := range t {
		queue = append(queue, name)
	}
	slices.Sort(queue)
	for len(queue) > 0 {
		name := queue[0]
		queue = queue[1:]
		needed, err := needs(t[name])
		if err != nil {
			return fmt.Errorf("/%s: %w", name, err)
		}
		for _, lib := range needed {
			file, err := from.findLibrary(lib)
			if err != nil {
				return fmt.Errorf("/%s: %w", name, err)
			}
			if slices.ContainsFunc(append(below, t), func(b tree) bool { return b[file] != nil }) {
				continue
			}
			chain, err := from.follow(file)
			if err != nil {
				return err
			}
			for _, step := range chain {
				t[step] = from[step]
			}
			queue = append(queue, chain...)
		}
	}
	return nil
}

// needs returns the libraries that a file names, and its dynamic linker by its full path; nothing if it is no program.
func needs(f *file) ([]string, error) {
	if f.Typeflag != tar.TypeReg || !bytes.HasPrefix(f.data, []byte(elf.ELFMAG)) {
		return nil, nil
	}
	e, err := elf.NewFile(bytes.NewReader(f.data))
	if err != nil {
		return nil, err
	}
	needed, err := e.ImportedLibraries()
	if err != nil {
		return nil, err
	}
	for _, p := range e.Progs {
		if p.Type != elf.PT_INTERP {
			continue
		}
		linker := make([]byte, p.Filesz)
		if _, err := p.ReadAt(linker, 0); err != nil {
			return nil, err
		}
		needed = append(needed, strings.TrimRight(string(linker), "\x00"))
	}
	return needed, nil
}

// findLibrary finds a library where Debian's dynamic linker looks: in /lib and /lib/TRIPLET.
func (t tree) findLibrary(name string) (string, error) {
	if path.IsAbs(name) {
		name = merged(clean(name))
		if t[name] == nil {
			return "", fmt.Errorf("no package has the dynamic linker /%s", name)
		}
		return name, nil
	}
	for _, dir := range []string{"usr/lib/" + triplet(), "usr/lib"} {
		if t[dir+"/"+name] != nil {
			return dir + "/" + name, nil
		}
	}
	return "", fmt.Errorf("no package has the library %s", name)
}
