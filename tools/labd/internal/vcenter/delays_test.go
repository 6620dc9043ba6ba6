package vcenter

import (
	"testing"
	"time"
)

func TestParseDelays(t *testing.T) {
	d, err := ParseDelays("create=200ms, power=100ms,all=1s")
	if err != nil {
		t.Fatal(err)
	}
	for task, want := range map[string]time.Duration{"CreateVm": 200 * time.Millisecond, "PowerOn": 100 * time.Millisecond,
		"PowerOff": 100 * time.Millisecond, "Destroy": time.Second} {
		if got := d.of(task); got != want {
			t.Errorf("%s lasts %v, want %v", task, got, want)
		}
	}
	if d, err := ParseDelays(""); err != nil || d.of("CreateVm") != 0 {
		t.Errorf("no delays: %v, %v", d, err)
	}
	for _, bad := range []string{"create", "create=", "create=5", "fly=1s", "create=-1s"} {
		if _, err := ParseDelays(bad); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}
