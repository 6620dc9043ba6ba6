package lab

import (
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

func testLab(t *testing.T) *Lab {
	t.Helper()
	l := &Lab{Dir: t.TempDir(), State: State{Net: 20}}
	for _, dir := range []string{"log", "pid"} {
		if err := os.Mkdir(l.path(dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return l
}

func TestProcess(t *testing.T) {
	l := testLab(t)
	if err := l.spawn("sleeper", []string{"sleep", "60"}, nil); err != nil {
		t.Fatal(err)
	}
	pid := l.Pid("sleeper")
	if pid == 0 {
		t.Fatal("the process is not found")
	}
	if _, err := usage(pid); err != nil {
		t.Error(err)
	}
	if killed := l.terminate("sleeper", 5*time.Second); killed || l.Pid("sleeper") != 0 {
		t.Errorf("killed %v, pid %d", killed, l.Pid("sleeper"))
	}
}

func TestStubbornProcessIsKilled(t *testing.T) {
	l := testLab(t)
	if err := l.spawn("stubborn", []string{"sh", "-c", "trap '' TERM; echo ready; while :; do sleep 1; done"}, nil); err != nil {
		t.Fatal(err)
	}
	for logSize(l.LogFile("stubborn")) == 0 {
		time.Sleep(time.Millisecond)
	}
	if killed := l.terminate("stubborn", 50*time.Millisecond); !killed || l.Pid("stubborn") != 0 {
		t.Errorf("killed %v, pid %d", killed, l.Pid("stubborn"))
	}
}

// A pid that now belongs to another process is not the part's.
func TestRecycledPid(t *testing.T) {
	l := testLab(t)
	stranger := exec.Command("sleep", "60")
	if err := stranger.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stranger.Process.Kill(); _ = stranger.Wait() }()
	write := func(file, text string) {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(l.pidFile("part"), strconv.Itoa(stranger.Process.Pid))
	write(l.startFile("part"), "12345")
	if pid := l.Pid("part"); pid != 0 {
		t.Errorf("took pid %d for its own", pid)
	}
	l.terminate("part", time.Millisecond)
	if start, state, err := procStat(stranger.Process.Pid); err != nil || state == "Z" {
		t.Errorf("the stranger was hit: %s %s %v", start, state, err)
	}
}

func TestKubeletFlags(t *testing.T) {
	l := testLab(t)
	got := l.kubeletFlags(Node{Name: "n1", VCH: "id", Flags: []string{"--vch-id=mine", "--vm-folder", "pods", "-v", "4"}})
	if !slices.Contains(got, "--node-name") || slices.Contains(got, "--vch-id") {
		t.Errorf("flags %v", got)
	}
	if n := strings.Count(strings.Join(got, " "), "--vm-folder"); n != 1 {
		t.Errorf("--vm-folder is there %d times", n)
	}
	if !slices.Equal(got[len(got)-5:], []string{"--vch-id=mine", "--vm-folder", "pods", "-v", "4"}) {
		t.Errorf("the user's flags are not last: %v", got)
	}
}

func TestNodeNames(t *testing.T) {
	for name, ok := range map[string]bool{"n1": true, "a.b-c": true, "": false, "A": false, "-a": false, "a b": false, strings.Repeat("a", 64): false} {
		if err := checkNodeName(name); (err == nil) != ok {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestLabsHavePortsOfTheirOwn(t *testing.T) {
	seen := map[int]bool{}
	for n := firstNet; n <= lastNet; n++ {
		s := State{Net: n}
		for i := range portsPerLab {
			p := s.port(i)
			if seen[p] || p <= 1024 || p >= keeperPort {
				t.Fatalf("port %d of net %d", p, n)
			}
			seen[p] = true
		}
	}
}

func TestLabsWithVirtualMachines(t *testing.T) {
	l := testLab(t)
	if l.Namespace() != "" || l.PodCIDR() != "127.20.0.0/16" {
		t.Errorf("with simulated guests: namespace %q, pods in %s", l.Namespace(), l.PodCIDR())
	}
	l.Options = Options{Guests: "qemu", Accel: "tcg", ISO: "/x.iso"}
	if l.Namespace() != "vch-lab-20" || l.PodCIDR() != "10.20.0.0/16" {
		t.Errorf("namespace %q, pods in %s", l.Namespace(), l.PodCIDR())
	}
	all := l.gateways()
	if len(all) != 16 || all[0] != l.Gateway()+"/20" || all[1] != "10.20.16.1/20" || all[15] != "10.20.240.1/20" {
		t.Errorf("gateways %v", all)
	}
	got := l.kubeletFlags(Node{Name: "n1"})
	for _, flag := range []string{"--bootstrap-iso", "[LocalDS_0] vch/bootstrap.iso", "--node-ip", "10.20.0.1"} {
		if !slices.Contains(got, flag) {
			t.Errorf("no %s in %v", flag, got)
		}
	}
	if forwarded := l.forwarded(); !slices.Contains(forwarded, l.address(portAPIServer)) || slices.Contains(forwarded, l.ownAddress(keeperPort)) {
		t.Errorf("forwarded are %v", forwarded)
	}
	// Their pods would have the addresses of services.
	l.Net = serviceNet
	if l.namespaceFree() {
		t.Error("pods and services share addresses")
	}
}

func TestApprovable(t *testing.T) {
	good := func() *signingRequest {
		r := &signingRequest{}
		r.Spec.SignerName, r.Spec.Username, r.Spec.Groups = "kubernetes.io/kubelet-serving", "system:node:n1", []string{"system:nodes"}
		return r
	}
	if !good().approvable() {
		t.Error("a node's serving request is not approvable")
	}
	for what, spoil := range map[string]func(*signingRequest){
		"another signer": func(r *signingRequest) { r.Spec.SignerName = "kubernetes.io/legacy-unknown" },
		"another user":   func(r *signingRequest) { r.Spec.Username = "eve" },
		"another group":  func(r *signingRequest) { r.Spec.Groups = nil },
		"decided":        func(r *signingRequest) { r.Status.Conditions = make([]struct{ Type string }, 1) },
	} {
		r := good()
		if spoil(r); r.approvable() {
			t.Errorf("%s: approvable", what)
		}
	}
}
