// Package lab starts, stops and describes the parts of one lab: a Kubernetes control plane, a simulated vCenter with
// its guests, and vch-kubelet. Everything that a lab knows is in its directory.
package lab

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"vch-kubelet/tools/labd/internal/netns"
)

// Options are what `up` was told.
type Options struct {
	Guests    string // "simulated", "qemu" or "none"
	Accel     string // with qemu: auto, kvm or tcg
	ISO       string // what virtual machines boot
	TaskDelay string // create=200ms,power=100ms
	Bin       string // build directory of vch-kubelet and guest-sim, or empty
	Etcd      string // another etcd than the lab's own, or empty
	Images    string // what the registry serves, or empty: no registry
}

// Node is a vch-kubelet of the lab.
type Node struct {
	Name  string
	Part  string
	Flags []string // the user's
	VCH   string   // its VCH id
	Run   bool     // false: credentials only
	Index int
}

// State is kept in DIR/state.json, so that a part that is started again is the same as before.
type State struct {
	Net     int // every address of the lab's pods is in 127.Net.0.0/16, and Net decides the ports, too
	KubeBin string
	Options Options
	Nodes   []Node
}

// Lab is an opened lab directory.
type Lab struct {
	Dir string
	State
}

const (
	firstNet    = 16
	lastNet     = 250
	portsPerLab = 32
	// Ports are below the kernel's range of ephemeral ports: nobody takes one while its part is stopped.
	firstPort = 20000
	// keeperPort is where a lab holds its net; whoever can listen there owns it.
	keeperPort = 29999
	// The registry has its ports at the lab's own address, too, and the same in every lab.
	registryPort        = 29998 // HTTPS
	registryPlainPort   = 29997 // HTTP
	registryStoragePort = 29996 // HTTPS, where redirects lead
)

// The ports of a lab, counted from its first one.
const (
	portEtcd = iota
	portEtcdPeer
	portAPIServer
	portControllerManager
	portScheduler
	portVCenter
	portNodes // two for each node
)

func (s *State) port(n int) int { return firstPort + (s.Net-firstNet)*portsPerLab + n }

func (s *State) address(n int) string { return fmt.Sprintf("127.0.0.1:%d", s.port(n)) }

// ownAddress is at the lab's own address, which no pod has.
func (s *State) ownAddress(port int) string { return fmt.Sprintf("127.%d.0.1:%d", s.Net, port) }

// PodCIDR is where the addresses of the lab's pods come from: those of simulated guests are this machine's own.
func (s *State) PodCIDR() string {
	if s.virtualMachines() {
		return fmt.Sprintf("10.%d.0.0/16", s.Net)
	}
	return fmt.Sprintf("127.%d.0.0/16", s.Net)
}

// Open reads the lab in dir.
func Open(dir string) (*Lab, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	l := &Lab{Dir: dir}
	data, err := os.ReadFile(filepath.Join(dir, "state.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no lab in %s; make one with: tools/lab up %s", dir, dir)
	}
	if err != nil {
		return nil, err
	}
	return l, json.Unmarshal(data, &l.State)
}

func (l *Lab) save() error {
	data, err := json.MarshalIndent(&l.State, "", "  ")
	if err != nil {
		return err
	}
	return writeFile(filepath.Join(l.Dir, "state.json"), data, 0o600)
}

// lock lets one command at a time change the lab. The returned function gives the lock back.
func (l *Lab) lock() (func(), error) {
	f, err := os.OpenFile(filepath.Join(l.Dir, "lock"), os.O_CREATE|os.O_RDWR|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		return nil, err
	}
	return func() { f.Close() }, nil
}

// chooseNet finds a net that no other lab holds and whose ports are free, and starts the keeper that holds it.
func (l *Lab) chooseNet() error {
	for l.Net = firstNet; l.Net <= lastNet; l.Net++ {
		if !free(fmt.Sprintf("127.%d.0.1:%d", l.Net, keeperPort)) || !l.portsFree() || !l.namespaceFree() {
			continue
		}
		if err := l.startPart(keeper); err == nil {
			return nil // the keeper has the address: only one of two labs that start at once gets so far
		}
	}
	return fmt.Errorf("all of 127.%d.0.0/16 to 127.%d.0.0/16 are in use; stop a lab with: tools/lab down DIR", firstNet, lastNet)
}

func (l *Lab) portsFree() bool {
	for i := range portsPerLab {
		if !free(l.address(i)) {
			return false
		}
	}
	return true
}

func free(address string) bool {
	s, err := net.Listen("tcp", address)
	if err != nil {
		return false
	}
	s.Close()
	return true
}

// Keep is the keeper's whole life: it holds the lab's net, and leads into its namespace, if it has one.
func Keep(n int, guests string) error {
	state := State{Net: n, Options: Options{Guests: guests}}
	if namespace := state.Namespace(); namespace != "" {
		for _, address := range state.forwarded() {
			if err := netns.Forward(namespace, address); err != nil {
				return err
			}
		}
	}
	s, err := net.Listen("tcp", fmt.Sprintf("127.%d.0.1:%d", n, keeperPort))
	if err != nil {
		return err
	}
	for {
		c, err := s.Accept()
		if err != nil {
			return err
		}
		c.Close()
	}
}

// writeFile replaces a file in one step.
func writeFile(file string, data []byte, mode os.FileMode) error {
	tmp := file + ".new"
	if err := os.WriteFile(tmp, data, mode); err != nil {
		return err
	}
	return os.Rename(tmp, file)
}

func randomHex(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails on Linux
	return hex.EncodeToString(b)
}

func randomUUID() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b)
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[0:4], b[4:6], b[6:8], b[8:10], b[10:])
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }
