package images

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// triplet is this machine's directory of libraries in Debian.
func triplet() string {
	switch runtime.GOARCH {
	case "amd64":
		return "x86_64-linux-gnu"
	case "arm64":
		return "aarch64-linux-gnu"
	}
	return runtime.GOARCH + "-linux-gnu"
}

// packages are Debian packages with all that they depend on.
type packages struct {
	files    tree
	versions map[string]string // of each package, without epoch and revision: 1.22.1
}

// downloadDir is where a list of packages is kept, for one release of Debian; kind is what of them: packages or source.
func downloadDir(cache, kind string, names []string) (string, error) {
	release, err := os.ReadFile("/etc/os-release")
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256([]byte(runtime.GOARCH + "\n" + strings.Join(names, "\n") + "\n" + string(release)))
	return filepath.Join(cache, "lab-"+kind+"-"+hex.EncodeToString(sum[:8])), nil
}

// fetchPackages downloads packages and what they depend on into dir, with the machine's own apt configuration but apart from
// what is installed. If dir is there already, nothing is downloaded.
func fetchPackages(dir string, names []string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	part := dir + ".part"
	for _, d := range []string{"archives/partial", "lists/partial"} {
		if err := os.MkdirAll(filepath.Join(part, d), 0o755); err != nil {
			return err
		}
	}
	// To apt this is a machine with nothing installed, so that it finds the whole closure.
	status := filepath.Join(part, "status")
	if err := os.WriteFile(status, nil, 0o644); err != nil {
		return err
	}
	options := []string{"-qq", "-o", "Dir::State::status=" + status, "-o", "Dir::Cache::archives=" + filepath.Join(part, "archives"),
		"-o", "Dir::Cache::pkgcache=", "-o", "Dir::Cache::srcpkgcache=", "-o", "Debug::NoLocking=1", "-o", "APT::Sandbox::User="}
	download := append([]string{"install", "--yes", "--download-only", "--no-install-recommends", "--no-install-suggests"}, names...)
	if err := run("apt-get", append(options, download...)...); err != nil {
		// The machine's package lists are old or not there: get fresh ones, for us alone.
		options = append(options, "-o", "Dir::State::lists="+filepath.Join(part, "lists"))
		if err := run("apt-get", append(options, "update")...); err != nil {
			return err
		}
		if err := run("apt-get", append(options, download...)...); err != nil {
			return err
		}
	}
	if err := os.RemoveAll(filepath.Join(part, "lists")); err != nil {
		return err
	}
	return os.Rename(part, dir)
}

// readPackages reads what fetchPackages downloaded.
func readPackages(dir string) (*packages, error) {
	debs, err := filepath.Glob(filepath.Join(dir, "archives", "*.deb"))
	if err != nil {
		return nil, err
	}
	slices.Sort(debs)
	p := &packages{files: tree{}, versions: map[string]string{}}
	for _, deb := range debs {
		// NAME_VERSION_ARCHITECTURE.deb, with %3a for the colon after an epoch
		name, version, _ := strings.Cut(filepath.Base(deb), "_")
		version, _, _ = strings.Cut(version, "_")
		if _, rest, epoch := strings.Cut(version, "%3a"); epoch {
			version = rest
		}
		version, _, _ = strings.Cut(version, "-")
		p.versions[name], _, _ = strings.Cut(version, "+")
		content, err := output("dpkg-deb", "--fsys-tarfile", deb)
		if err != nil {
			return nil, err
		}
		if err := p.files.read(bytes.NewReader(content)); err != nil {
			return nil, fmt.Errorf("%s: %w", deb, err)
		}
	}
	return p, nil
}

// run runs a program, whose words are heard only if it fails.
func run(name string, args ...string) error {
	_, err := output(name, args...)
	return err
}

func output(name string, args ...string) ([]byte, error) {
	return outputOf(exec.Command(name, args...))
}

func outputOf(c *exec.Cmd) ([]byte, error) {
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	if err := c.Run(); err != nil {
		words := errs.String()
		if words == "" {
			words = out.String()
		}
		return nil, fmt.Errorf("%s: %w\n%s", strings.Join(c.Args, " "), err, words)
	}
	return out.Bytes(), nil
}
