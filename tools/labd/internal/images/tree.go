package images

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"time"
)

// stamp is the time of every file and image: what is built twice is the same.
var stamp = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// tree is the files of a layer, or of many packages, by their paths without the first slash. Everything belongs to root
// unless it says otherwise.
type tree map[string]*file

type file struct {
	tar.Header // of Name only the key of the tree counts, of Size the data
	data       []byte
}

func clean(name string) string { return strings.TrimPrefix(path.Clean("/"+name), "/") }

func (t tree) dir(mode int64, names ...string) {
	for _, name := range names {
		t[clean(name)] = &file{Header: tar.Header{Typeflag: tar.TypeDir, Mode: mode}}
	}
}

func (t tree) file(name string, mode int64, data []byte) *file {
	f := &file{Header: tar.Header{Typeflag: tar.TypeReg, Mode: mode}, data: data}
	t[clean(name)] = f
	return f
}

func (t tree) text(name, data string) *file { return t.file(name, 0o644, []byte(data)) }

func (t tree) symlink(name, target string) {
	t[clean(name)] = &file{Header: tar.Header{Typeflag: tar.TypeSymlink, Linkname: target, Mode: 0o777}}
}

func (t tree) hardlink(name, target string) {
	t[clean(name)] = &file{Header: tar.Header{Typeflag: tar.TypeLink, Linkname: clean(target), Mode: 0o755}}
}

// program adds an executable that was built here.
func (t tree) program(name, source string) error {
	data, err := os.ReadFile(source)
	if err == nil {
		t.file(name, 0o755, data)
	}
	return err
}

// follow returns name and what it leads to, through symbolic links, each of which is there.
func (t tree) follow(name string) ([]string, error) {
	var chain []string
	for name = merged(clean(name)); ; {
		f := t[name]
		if f == nil {
			return nil, fmt.Errorf("no package has /%s", name)
		}
		chain = append(chain, name)
		if len(chain) > 20 {
			return nil, fmt.Errorf("/%s leads in circles", chain[0])
		}
		if f.Typeflag != tar.TypeSymlink {
			return chain, nil
		}
		target := f.Linkname
		if !path.IsAbs(target) {
			target = path.Join("/", path.Dir(name), target)
		}
		name = merged(clean(target))
	}
}

// copy takes files from another tree: a symbolic link with what it leads to, a directory with all that is in it.
func (t tree) copy(from tree, names ...string) error {
	for _, name := range names {
		chain, err := from.follow(name)
		if err != nil {
			return err
		}
		for _, name := range chain {
			t[name] = from[name]
		}
		last := chain[len(chain)-1]
		if from[last].Typeflag != tar.TypeDir {
			continue
		}
		for name, f := range from {
			if strings.HasPrefix(name, last+"/") {
				t[name] = f
			}
		}
	}
	return nil
}

// addParents adds the directories that the files are in, as the layers below have them.
func (t tree) addParents(below ...tree) {
	for _, name := range slices.Collect(maps.Keys(t)) {
		for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
			if t[dir] != nil {
				continue
			}
			t.dir(0o755, dir)
			for _, b := range below {
				if f := b[dir]; f != nil && f.Typeflag == tar.TypeDir {
					t[dir] = f
				}
			}
		}
	}
}

// write writes the tree as a tar. The same tree gives the same bytes.
func (t tree) write(w io.Writer) error {
	names := slices.Sorted(maps.Keys(t))
	// A hard link comes after its file.
	slices.SortStableFunc(names, func(a, b string) int { return rank(t[a]) - rank(t[b]) })
	out := tar.NewWriter(w)
	for _, name := range names {
		f := t[name]
		h := f.Header
		h.Name, h.Size, h.ModTime, h.Format = name, int64(len(f.data)), stamp, tar.FormatUnknown
		h.Uname, h.Gname, h.AccessTime, h.ChangeTime = "", "", time.Time{}, time.Time{}
		if h.Typeflag == tar.TypeDir {
			h.Name += "/"
		}
		if err := out.WriteHeader(&h); err != nil {
			return fmt.Errorf("/%s: %w", name, err)
		}
		if _, err := out.Write(f.data); err != nil {
			return err
		}
	}
	return out.Close()
}

func rank(f *file) int {
	if f.Typeflag == tar.TypeLink {
		return 1
	}
	return 0
}

// merged is the path of a file of a package where /bin and its like are links into /usr, as on every Debian from 12 on.
func merged(name string) string {
	first, _, _ := strings.Cut(name, "/")
	switch first {
	case "bin", "sbin", "lib", "lib32", "lib64", "libx32":
		return "usr/" + name
	}
	return name
}

// unwanted are the parts of packages that no image here needs.
var unwanted = []string{"usr/share/doc/", "usr/share/man/", "usr/share/locale/", "usr/share/info/", "usr/share/lintian/", "usr/share/bug/"}

// read adds the files of a package, given as the tar of its content.
func (t tree) read(r io.Reader) error {
	for in := tar.NewReader(r); ; {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		name := clean(h.Name)
		if h.Typeflag == tar.TypeSymlink && merged(name) == "usr/"+name && !strings.Contains(name, "/") {
			continue // base-files of a newer Debian has the links into /usr itself
		}
		name = merged(name)
		if name == "" || slices.ContainsFunc(unwanted, func(p string) bool { return strings.HasPrefix(name+"/", p) }) {
			continue
		}
		f := &file{Header: tar.Header{Typeflag: h.Typeflag, Mode: h.Mode, Uid: h.Uid, Gid: h.Gid, Linkname: h.Linkname}}
		switch h.Typeflag {
		case tar.TypeReg:
			if f.data, err = io.ReadAll(in); err != nil {
				return err
			}
		case tar.TypeLink:
			if f = t[merged(clean(h.Linkname))]; f == nil { // a copy will do
				return fmt.Errorf("/%s is a link to /%s, which is not there", name, h.Linkname)
			}
		case tar.TypeDir:
			if t[name] != nil {
				continue
			}
		}
		t[name] = f
	}
}
