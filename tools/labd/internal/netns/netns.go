// Package netns keeps a lab with virtual machines in a network namespace of its own: nothing of the machine's own network is
// touched but loopback, on which a forwarder leads into the namespace.
package netns

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// dir is where iproute2 keeps namespaces.
const dir = "/run/netns"

// The main thread stays where it is: it tells others in which namespace the process is.
func init() { runtime.LockOSThread() }

// Check tells why there can be no namespaces, if so.
func Check() error {
	if os.Geteuid() != 0 {
		return errors.New("a network namespace of its own takes root")
	}
	return nil
}

// Exists tells whether there is a namespace of that name.
func Exists(name string) bool {
	_, err := os.Lstat(filepath.Join(dir, name))
	return err == nil
}

// Create makes a namespace with loopback and a bridge that has the addresses, each with its prefix length, and forwards
// between what is behind them.
func Create(name, bridge string, addresses []string) error {
	if err := Check(); err != nil {
		return err
	}
	if err := ip("netns", "add", name); err != nil {
		return err
	}
	err := configure(name, bridge, addresses)
	if err != nil {
		_ = Remove(name)
	}
	return err
}

func configure(name, bridge string, addresses []string) error {
	// What is set before the interfaces exist is theirs from the start.
	err := Do(name, func() error {
		for file, value := range map[string]string{
			"ipv6/conf/all/disable_ipv6":       "1",
			"ipv6/conf/default/disable_ipv6":   "1",
			"ipv4/ip_forward":                  "1",
			"ipv4/conf/all/send_redirects":     "0", // all subnets are on one wire
			"ipv4/conf/default/send_redirects": "0",
		} {
			err := os.WriteFile(filepath.Join("/proc/sys/net", file), []byte(value), 0)
			if err != nil && !errors.Is(err, os.ErrNotExist) { // a kernel without IPv6
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	batch := fmt.Sprintf("link set lo up\nlink add %s type bridge\n", bridge)
	for _, address := range addresses {
		batch += fmt.Sprintf("address add %s dev %s\n", address, bridge)
	}
	cmd := exec.Command("ip", "-n", name, "-batch", "-")
	cmd.Stdin = strings.NewReader(batch + fmt.Sprintf("link set %s up\n", bridge))
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("ip -n %s: %w: %s", name, err, strings.TrimSpace(string(out)))
	}
	return nil
}

// Remove ends every process in a namespace and removes it. It is no error if there is none.
func Remove(name string) error {
	if !Exists(name) {
		return nil
	}
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		pids, err := Pids(name)
		if err != nil {
			return err
		}
		if len(pids) == 0 {
			break
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("processes %v in network namespace %s do not end", pids, name)
		}
		for _, pid := range pids {
			_ = syscall.Kill(pid, syscall.SIGKILL) // it may just have ended
		}
	}
	return ip("netns", "delete", name)
}

// Pids are the processes in a namespace.
func Pids(name string) ([]int, error) {
	out, err := exec.Command("ip", "netns", "pids", name).Output()
	if err != nil {
		return nil, fmt.Errorf("ip netns pids %s: %w", name, err)
	}
	var pids []int
	for _, word := range strings.Fields(string(out)) {
		pid, err := strconv.Atoi(word)
		if err != nil {
			return nil, err
		}
		pids = append(pids, pid)
	}
	return pids, nil
}

func ip(args ...string) error {
	out, err := exec.Command("ip", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// Do runs f in a namespace: sockets that f makes and processes that it starts are there. f has a thread to itself.
func Do(name string, f func() error) error {
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		err := Enter(name)
		if err == nil {
			err = f()
		}
		result <- err
	}()
	return <-result
}

// Enter moves the calling thread into a namespace; lock the goroutine to it first.
func Enter(name string) error {
	f, err := os.Open(filepath.Join(dir, name))
	if err != nil {
		return err
	}
	defer f.Close()
	if _, _, errno := syscall.RawSyscall(sysSetns, f.Fd(), syscall.CLONE_NEWNET, 0); errno != 0 {
		return fmt.Errorf("network namespace %s: %w", name, errno)
	}
	return nil
}
