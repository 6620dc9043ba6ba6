package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// Up makes a lab in dir and returns when all of it answers. node may be empty.
func Up(dir, kubeBin string, o Options, node string, nodeFlags []string, progress func(string)) (*Lab, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if node != "" {
		if err := checkNodeName(node); err != nil {
			return nil, err
		}
	}
	if err := makeEmptyDir(dir); err != nil {
		return nil, err
	}
	l := &Lab{Dir: dir, State: State{KubeBin: kubeBin, Options: o}}
	if err := l.checkOptions(node != ""); err != nil {
		_ = os.Remove(dir)
		return nil, err
	}
	unlock, err := l.lock()
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := os.MkdirAll(l.path("log"), 0o755); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(l.path("pid"), 0o755); err != nil {
		return nil, err
	}
	if err := l.chooseNet(); err != nil {
		return nil, err
	}
	for _, step := range []func() error{l.save, l.makeNetwork, l.writeFiles, l.writeEnv} {
		if err := step(); err != nil {
			return nil, errors.Join(err, l.end())
		}
	}
	if err := l.startAll(progress); err != nil {
		return nil, fmt.Errorf("%w\nThe lab is left as it is for a look; remove it with: tools/lab down %s", err, dir)
	}
	if node != "" {
		begin := time.Now()
		if err := l.addNode(node, true, nodeFlags, 0); err != nil {
			return nil, fmt.Errorf("%w\nThe lab is left as it is for a look; remove it with: tools/lab down %s", err, dir)
		}
		progress(fmt.Sprintf("%-20s ready after %s", "kubelet", seconds(time.Since(begin))))
	}
	return l, nil
}

// checkOptions finds out early what could not work later.
func (l *Lab) checkOptions(withNode bool) error {
	const longest = 100 // bytes of a unix socket's path, a little less than the kernel allows
	if len(l.path("vcenter.sock")) > longest {
		return fmt.Errorf("%s: the path is too long for the sockets in it; use a shorter one", l.Dir)
	}
	if err := l.checkVirtualMachines(); err != nil {
		return err
	}
	if l.Options.Guests == "simulated" {
		if _, err := l.findBinary("guest-sim"); err != nil {
			return fmt.Errorf("%w\nbuild it, or bring the lab up without guests: --guests none", err)
		}
	}
	if withNode {
		_, err := l.findBinary("vch-kubelet")
		return err
	}
	return nil
}

// startAll starts the fixed parts; those that do not need each other start side by side.
func (l *Lab) startAll(progress func(string)) error {
	start := func(names ...string) error {
		results := make(chan error)
		started := 0
		for _, name := range names {
			p, err := l.part(name)
			if err != nil {
				continue // --guests none, or no images
			}
			started++
			go func() {
				begin := time.Now()
				err := l.startPart(p)
				if err == nil {
					progress(fmt.Sprintf("%-20s ready after %s", name, seconds(time.Since(begin))))
				}
				results <- err
			}()
		}
		var all error
		for range started {
			all = errors.Join(all, <-results)
		}
		return all
	}
	if err := start("etcd", "guests", "registry"); err != nil {
		return err
	}
	if err := start("apiserver", "vcenter"); err != nil {
		return err
	}
	if err := start("controller-manager", "scheduler", "approver"); err != nil {
		return err
	}
	return l.waitServiceAccount()
}

// waitServiceAccount waits for what every pod in namespace default needs to be admitted.
func (l *Lab) waitServiceAccount() error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for {
		err := l.get(ctx, "https://"+l.address(portAPIServer)+"/api/v1/namespaces/default/serviceaccounts/default")
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the service account \"default\" does not appear (%w); see %s", err, l.LogFile("controller-manager"))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Down ends everything and removes the lab's directory.
func (l *Lab) Down() error {
	unlock, err := l.lock()
	if err != nil {
		return err
	}
	defer unlock()
	return l.end()
}

// end ends everything and removes the directory; the lab is locked.
func (l *Lab) end() error {
	parts := l.parts()
	done := make(chan struct{})
	for _, p := range parts {
		go func() {
			l.terminate(p.name, 3*time.Second)
			done <- struct{}{}
		}()
	}
	for range parts {
		<-done
	}
	err := l.removeNetwork()
	l.terminate(keeper.name, time.Second)
	return errors.Join(err, os.RemoveAll(l.Dir))
}

// Stop stops one part. vCenter stays in memory, with its inventory and guests, but nobody can reach it.
func (l *Lab) Stop(name string) error {
	return l.change(name, func(p part) error {
		if l.Pid(name) == 0 {
			return fmt.Errorf("%s does not run", name)
		}
		if name == "vcenter" {
			_, err := l.VCenter("outage", nil)
			return err
		}
		if l.terminate(name, 2*p.patience) {
			return fmt.Errorf("%s did not stop within %s and was killed", name, seconds(2*p.patience))
		}
		return nil
	})
}

// Start starts one part that was stopped or killed.
func (l *Lab) Start(name string) error {
	return l.change(name, func(p part) error {
		if l.Pid(name) == 0 {
			return l.startAgain(p)
		}
		if name != "vcenter" {
			return fmt.Errorf("%s runs already", name)
		}
		if _, err := l.VCenter("open", nil); err != nil {
			return err
		}
		return l.waitReady(p, 0)
	})
}

func (l *Lab) startAgain(p part) error {
	if p.name == "vcenter" && l.Pid("guests") != 0 {
		// A vCenter that died has lost its VMs, so their guests end, too.
		l.terminate("guests", 5*time.Second)
		guests, err := l.part("guests")
		if err != nil {
			return err
		}
		if err := l.startPart(guests); err != nil {
			return err
		}
	}
	err := l.startPart(p)
	if envErr := l.writeEnv(); err == nil {
		err = envErr
	}
	return err
}

// Kill ends one part with SIGKILL.
func (l *Lab) Kill(name string) error {
	return l.change(name, func(part) error {
		if err := l.Signal(name, syscall.SIGKILL); err != nil {
			return err
		}
		if !l.gone(name, 10*time.Second) {
			return fmt.Errorf("%s does not end", name)
		}
		return nil
	})
}

// Pause stops the clock of one part; its connections stay open and silent.
func (l *Lab) Pause(name string) error {
	return l.change(name, func(part) error { return l.Signal(name, syscall.SIGSTOP) })
}

// Resume undoes Pause.
func (l *Lab) Resume(name string) error {
	return l.change(name, func(part) error { return l.Signal(name, syscall.SIGCONT) })
}

func (l *Lab) change(name string, f func(part) error) error {
	p, err := l.part(name)
	if err != nil {
		return err
	}
	unlock, err := l.lock()
	if err != nil {
		return err
	}
	defer unlock()
	return f(p)
}

// PartStatus is one line of `status`.
type PartStatus struct {
	Name  string `json:"name"`
	State string `json:"state"` // running, paused, outage, stopped
	Pid   int    `json:"pid,omitempty"`
}

// Status tells what each part does.
func (l *Lab) Status() []PartStatus {
	var all []PartStatus
	for _, p := range append([]part{keeper}, l.parts()...) {
		s := PartStatus{Name: p.name, State: "stopped", Pid: l.Pid(p.name)}
		if s.Pid != 0 {
			s.State = "running"
			if _, state, _ := procStat(s.Pid); state == "T" {
				s.State = "paused"
			} else if p.name == "vcenter" {
				if open, err := l.VCenter("is-open", nil); err == nil && string(open) == "false" {
					s.State = "outage"
				}
			}
		}
		all = append(all, s)
	}
	return all
}

// Usage returns what each running part has used, and each virtual machine.
func (l *Lab) Usage() map[string]Usage {
	all := map[string]Usage{}
	for _, p := range l.parts() {
		if pid := l.Pid(p.name); pid != 0 {
			if u, err := usage(pid); err == nil {
				all[p.name] = u
			}
		}
	}
	machines, _ := filepath.Glob(l.path("guests", "*", "pid")) // only a bad pattern is an error
	for _, file := range machines {
		pid, err := readInt(file)
		if err != nil {
			continue // it has just ended
		}
		if u, err := usage(pid); err == nil {
			all["guests/"+filepath.Base(filepath.Dir(file))] = u
		}
	}
	return all
}

func makeEmptyDir(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return os.MkdirAll(dir, 0o755)
	}
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(dir, "state.json")); err == nil {
		return fmt.Errorf("%s holds a lab already; see: tools/lab status %s, or remove it with: tools/lab down %s", dir, dir, dir)
	}
	if len(entries) != 0 {
		return fmt.Errorf("%s is not empty; give the lab a directory of its own", dir)
	}
	return nil
}
