package qemu

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

func needQemu(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath(Program); err != nil {
		t.Skip(err)
	}
}

// The probe's instructions are right: emulation, which always works, comes to their end.
func TestProbe(t *testing.T) {
	needQemu(t)
	if err := Probe("tcg", t.TempDir()); err != nil {
		t.Error(err)
	}
	if err := Probe("warp", t.TempDir()); err == nil || !strings.Contains(err.Error(), "warp") {
		t.Errorf("an accelerator that does not exist: %v", err)
	}
}

func TestChooseAccel(t *testing.T) {
	if got, _ := ChooseAccel("tcg", t.TempDir()); got != "tcg" {
		t.Errorf("tcg became %s", got)
	}
	if CheckAccel("warp") == nil {
		t.Error("warp is taken")
	}
	if _, err := os.Stat("/dev/kvm"); err != nil {
		if got, why := ChooseAccel("auto", t.TempDir()); got != "tcg" || why == "" {
			t.Errorf("without KVM it is %s because of %q", got, why)
		}
	}
}
