package lab

import (
	"errors"
	"fmt"
	"os/exec"

	"vch-kubelet/tools/labd/internal/netns"
	"vch-kubelet/tools/labd/internal/qemu"
)

// A lab with virtual machines lives in a network namespace, in which the machines' network cards are on a bridge. Its parts
// listen on the same loopback addresses as those of other labs, but in there; outside the keeper listens and passes on.

const (
	podBridge   = "pods"
	nodeCIDRLen = 20
	// serviceNet is the second number of the services' addresses; no lab has its pods there.
	serviceNet = 96
)

// virtualMachines tells whether guests are real.
func (s *State) virtualMachines() bool { return s.Options.Guests == "qemu" }

// Namespace is the lab's network namespace, or "" if it has none.
func (s *State) Namespace() string {
	if !s.virtualMachines() {
		return ""
	}
	return fmt.Sprintf("vch-lab-%d", s.Net)
}

// Gateway is the lab's own address on the pods' network: the first one, which is the gateway of the first node's pods.
func (s *State) Gateway() string { return fmt.Sprintf("10.%d.0.1", s.Net) }

// gateways are the first addresses of all the networks that nodes can get, with their lengths.
func (s *State) gateways() []string {
	var all []string
	for third := 0; third < 256; third += 1 << (24 - nodeCIDRLen) {
		all = append(all, fmt.Sprintf("10.%d.%d.1/%d", s.Net, third, nodeCIDRLen))
	}
	return all
}

// forwarded are the addresses at which the parts of a lab with a namespace can be reached from outside.
func (s *State) forwarded() []string {
	all := []string{s.ownAddress(registryPort), s.ownAddress(registryPlainPort), s.ownAddress(registryStoragePort)}
	for i := range portsPerLab {
		all = append(all, s.address(i))
	}
	return all
}

// namespaceFree tells whether no dead lab's processes are in this one's namespace; an empty one that was left is removed.
func (s *State) namespaceFree() bool {
	name := s.Namespace()
	if name == "" || !netns.Exists(name) {
		return s.Net != serviceNet || name == ""
	}
	pids, err := netns.Pids(name)
	return err == nil && len(pids) == 0 && netns.Remove(name) == nil
}

func (l *Lab) makeNetwork() error {
	if l.Namespace() == "" {
		return nil
	}
	return netns.Create(l.Namespace(), podBridge, l.gateways())
}

// removeNetwork also ends what runs in the lab's namespace and is none of its parts.
func (l *Lab) removeNetwork() error {
	if l.Namespace() == "" {
		return nil
	}
	return netns.Remove(l.Namespace())
}

// inside runs f, which starts a process, where the lab's parts live.
func (l *Lab) inside(f func() error) error {
	if l.Namespace() == "" {
		return f()
	}
	return netns.Do(l.Namespace(), f)
}

// checkVirtualMachines finds out early whether this machine can run them.
func (l *Lab) checkVirtualMachines() error {
	if !l.virtualMachines() {
		return nil
	}
	if err := netns.Check(); err != nil {
		return err
	}
	for _, program := range []string{"ip", qemu.Program} {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Errorf("%w; tools/setup installs it", err)
		}
	}
	if l.Options.ISO == "" {
		return errors.New("guests in QEMU boot an ISO: name one with --iso")
	}
	return qemu.CheckAccel(l.Options.Accel)
}

// GuestsConfig is how guests run in QEMU.
func (l *Lab) GuestsConfig() qemu.Config {
	return qemu.Config{Dir: l.Dir, Socket: l.path("guests.sock"), Accel: l.Options.Accel, Network: vcenterNetwork, Bridge: podBridge}
}
