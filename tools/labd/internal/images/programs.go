package images

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Places are where the sources of images are and what is kept from one build to the next.
type Places struct {
	Kubernetes string // the Go module that requires k8s.io/kubernetes
	Lab        string // the Go module of the lab
	Tools      string // this repository's tools
	Cache      string // for what is downloaded
	Scratch    string // directory for programs, made and removed by the caller
}

// kubernetesPrograms are the test images' own programs.
var kubernetesPrograms = []string{
	"test/images/agnhost",
	"test/images/nonewprivs",
	"test/images/regression-issue-74839",
	"test/images/resource-consumer",
	"test/images/resource-consumer/consume-cpu",
}

// buildGo builds programs of a module into dir, each named as the last element of its package.
func buildGo(module, dir, arch, ldflags string, programs ...string) error {
	args := append([]string{"build", "-trimpath", "-buildvcs=false", "-ldflags", strings.TrimSpace("-s -w " + ldflags), "-o", dir + "/"}, programs...)
	c := exec.Command("go", args...)
	c.Dir = module
	c.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	_, err := outputOf(c)
	return err
}

// kubernetesDir is where the sources of k8s.io/kubernetes are.
func kubernetesDir(module string) (string, error) {
	c := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "k8s.io/kubernetes")
	c.Dir = module
	out, err := outputOf(c)
	return strings.TrimSpace(string(out)), err
}

// compiler is a C compiler.
func compiler() (string, error) {
	for _, name := range []string{"cc", "gcc", "clang-19", "clang"} {
		if _, err := exec.LookPath(name); err == nil {
			return name, nil
		}
	}
	return "", errors.New("no C compiler: tools/setup installs one")
}

// buildPause compiles Kubernetes' pause.c as its Makefile does.
func buildPause(kubernetes, output, version string) error {
	cc, err := compiler()
	if err != nil {
		return err
	}
	return run(cc, "-Os", "-Wall", "-static", "-s", "-DVERSION=v"+version, "-Wl,--build-id=none", "-o", output,
		filepath.Join(kubernetes, "build", "pause", "linux", "pause.c"))
}
