package images

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
)

// fetchSource downloads the source package of this machine's Debian into dir, with Debian's patches; apt checks its signature. If dir
// is there already, nothing is downloaded. mirrorEntry is tools/lib/mirror_entry.py.
func fetchSource(dir, mirrorEntry, name string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	codename, err := output("sh", "-c", `. /etc/os-release && printf %s "$VERSION_CODENAME"`)
	if err != nil {
		return err
	}
	// Most machines have no source packages in their configuration.
	entry, err := output("python3", mirrorEntry, string(codename), string(codename), "deb-src")
	if err != nil {
		return err
	}
	part := dir + ".part"
	if err := os.RemoveAll(part); err != nil {
		return err
	}
	lists, sources := filepath.Join(part, "lists"), filepath.Join(part, "sources.list")
	if err := os.MkdirAll(filepath.Join(lists, "partial"), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(sources, entry, 0o644); err != nil {
		return err
	}
	options := []string{"-qq", "-o", "Dir::Etc::sourcelist=" + sources, "-o", "Dir::Etc::sourceparts=-", "-o", "Dir::State::lists=" + lists,
		"-o", "Dir::Cache::pkgcache=", "-o", "Dir::Cache::srcpkgcache=", "-o", "Debug::NoLocking=1", "-o", "APT::Sandbox::User="}
	for _, words := range [][]string{{"update"}, {"source", name}} {
		c := exec.Command("apt-get", append(options, words...)...)
		c.Dir = part
		if _, err := outputOf(c); err != nil {
			return err
		}
	}
	unpacked, err := filepath.Glob(filepath.Join(part, name+"-*", "debian"))
	if err != nil {
		return err
	}
	if len(unpacked) != 1 {
		return fmt.Errorf("the source of %s is not unpacked in %s", name, part)
	}
	if err := os.Rename(filepath.Dir(unpacked[0]), dir); err != nil {
		return err
	}
	return os.RemoveAll(part)
}

// shellConfig is a static ash that scripts and people can work with. FEATURE_DI_ENV_HACK is what it is for: with it, which Debian sets for
// its installer alone, ash imports all variables, as upstream's does. Debian has taken that back for its other packages of busybox.
// FEATURE_SH_STANDALONE is off, so that the shell runs the programs that are in PATH.
const shellConfig = `CONFIG_FEATURE_DI_ENV_HACK=y
CONFIG_STATIC=y
CONFIG_LFS=y
CONFIG_FEATURE_EDITING=y
CONFIG_FEATURE_EDITING_MAX_LEN=1024
CONFIG_FEATURE_EDITING_HISTORY=255
CONFIG_FEATURE_EDITING_FANCY_PROMPT=y
CONFIG_FEATURE_EDITING_WINCH=y
CONFIG_FEATURE_TAB_COMPLETION=y
CONFIG_SH_IS_ASH=y
CONFIG_ASH_OPTIMIZE_FOR_SIZE=y
CONFIG_ASH_INTERNAL_GLOB=y
CONFIG_ASH_BASH_COMPAT=y
CONFIG_ASH_JOB_CONTROL=y
CONFIG_ASH_ALIAS=y
CONFIG_ASH_RANDOM_SUPPORT=y
CONFIG_ASH_EXPAND_PRMT=y
CONFIG_ASH_ECHO=y
CONFIG_ASH_PRINTF=y
CONFIG_ASH_TEST=y
CONFIG_ASH_HELP=y
CONFIG_ASH_GETOPTS=y
CONFIG_ASH_CMDCMD=y
CONFIG_FEATURE_SH_MATH=y
CONFIG_FEATURE_SH_MATH_64=y
CONFIG_FEATURE_SH_MATH_BASE=y
CONFIG_FEATURE_SH_READ_FRAC=y
`

// configName is what a line of a configuration is about, also of one that says "is not set".
var configName = regexp.MustCompile(`\bCONFIG_\w+`)

// buildShell compiles the shell of busybox's source, and nothing else of it, into dir/busybox: a shell when it is called sh or ash.
func buildShell(source, dir string) error {
	cc, err := compiler()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	build := func(words ...string) error {
		// Without a time stamp what is built twice is the same.
		return run("make", append([]string{"-s", "-C", source, "O=" + dir, "CC=" + cc, "HOSTCC=" + cc, "KCONFIG_NOTIMESTAMP=1"}, words...)...)
	}
	if err := build("allnoconfig"); err != nil {
		return err
	}
	config := filepath.Join(dir, ".config")
	nothing, err := os.ReadFile(config)
	if err != nil {
		return err
	}
	lines := strings.Split(shellConfig, "\n")
	for _, line := range strings.Split(string(nothing), "\n") {
		if name := configName.FindString(line); name == "" || !strings.Contains(shellConfig, name+"=") {
			lines = append(lines, line)
		}
	}
	if err := os.WriteFile(config, []byte(strings.Join(lines, "\n")), 0o644); err != nil {
		return err
	}
	if err := build("oldconfig"); err != nil {
		return err
	}
	made, err := os.ReadFile(config)
	if err != nil {
		return err
	}
	for _, line := range strings.Fields(shellConfig) {
		if !bytes.Contains(made, []byte("\n"+line+"\n")) {
			return fmt.Errorf("busybox's configuration does not know %s", line)
		}
	}
	return build("-j" + strconv.Itoa(runtime.NumCPU()))
}
