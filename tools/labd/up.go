package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"vch-kubelet/tools/labd/internal/lab"
	"vch-kubelet/tools/labd/internal/vcenter"
)

const (
	upUsage = "DIR [--guests simulated|qemu|none] [--iso FILE] [--accel auto|kvm|tcg] [--task-delay create=200ms,power=100ms] [--bin BUILDDIR] [--etcd FILE] [--node NAME [-- vch-kubelet flags]]"
	upHelp  = `Brings up a lab in DIR and returns when everything answers.
    --guests      simulated (guest-sim plays every VM's guest, the default), qemu (VMs are virtual machines; needs root), or none (VMs have
                  power, but no life)
    --iso         with qemu: what pod VMs boot; default: what tools/bootstrap-iso builds
    --accel       with qemu: kvm, tcg (emulation) or auto (KVM where it works); default: $VCH_ACCEL, else auto
    --task-delay  how long vCenter's tasks last: create, on, off, power (both and reset), reconfig, destroy, clone, all
    --bin         the build directory with vch-kubelet and guest-sim; default: $VCH_BIN, else build-demo or build
    --etcd        another etcd program than the lab's own; without one newer than 3.4.30 the API server has no streaming lists
    --node        also runs vch-kubelet as the node NAME; what follows "--" is for it`
)

func up(args []string) error {
	var (
		dir, node string
		flags     []string
		options   = lab.Options{Guests: "simulated", Images: os.Getenv("LAB_IMAGES")}
	)
	for i := 0; i < len(args); i++ {
		value := func() (string, error) {
			if i+1 >= len(args) || args[i+1] == "--" {
				return "", badUsage("%s needs a value", args[i])
			}
			i++
			return args[i], nil
		}
		var err error
		switch arg := args[i]; {
		case arg == "--":
			flags = args[i+1:]
			i = len(args)
		case arg == "--guests":
			options.Guests, err = value()
		case arg == "--iso":
			options.ISO, err = value()
		case arg == "--accel":
			options.Accel, err = value()
		case arg == "--task-delay":
			options.TaskDelay, err = value()
		case arg == "--bin":
			options.Bin, err = value()
		case arg == "--etcd":
			options.Etcd, err = value()
		case arg == "--node":
			node, err = value()
		case arg == "" || arg[0] == '-':
			err = badUsage("%q is no flag of up", arg)
		case dir == "":
			dir = arg
		default:
			err = badUsage("%q is one argument too many", arg)
		}
		if err != nil {
			return err
		}
	}
	if dir == "" {
		return badUsage("name a directory for the lab")
	}
	switch options.Guests {
	case "simulated", "none":
		if options.ISO != "" || options.Accel != "" {
			return badUsage("--iso and --accel are for --guests qemu")
		}
	case "qemu":
		if err := virtualMachines(&options); err != nil {
			return err
		}
	default:
		return badUsage("--guests %q: say simulated, qemu or none", options.Guests)
	}
	if node == "" && flags != nil {
		return badUsage("flags after \"--\" are for vch-kubelet; name its node with --node")
	}
	if _, err := vcenter.ParseDelays(options.TaskDelay); err != nil {
		return usageError{err}
	}
	var err error
	if options.Bin, err = buildDir(options.Bin); err != nil {
		return err
	}
	if options.Etcd != "" {
		if options.Etcd, err = exec.LookPath(options.Etcd); err != nil {
			return err
		}
		if options.Etcd, err = filepath.Abs(options.Etcd); err != nil {
			return err
		}
	}
	begin := time.Now()
	l, err := lab.Up(dir, os.Getenv("LAB_KUBERNETES"), options, node, flags, func(line string) { fmt.Fprintln(os.Stderr, "lab: "+line) })
	if err != nil {
		return err
	}
	fmt.Printf("The lab in %s is up after %.1f s. Use it with:\n  . %s\nRemove it with:\n  tools/lab down %s\n",
		l.Dir, time.Since(begin).Seconds(), filepath.Join(l.Dir, "env"), l.Dir)
	return nil
}

// buildDir finds the project's own programs.
func buildDir(given string) (string, error) {
	if given == "" {
		given = os.Getenv("VCH_BIN")
	}
	if given != "" {
		dir, err := filepath.Abs(given)
		if err == nil {
			_, err = os.Stat(dir)
		}
		return dir, err
	}
	for _, name := range []string{"build-demo", "build"} {
		dir := filepath.Join(os.Getenv("LAB_ROOT"), name)
		if _, err := os.Stat(filepath.Join(dir, "cmd")); err == nil {
			return dir, nil
		}
	}
	return "", nil
}

func node(args []string) error {
	if len(args) < 2 {
		return badUsage("name the lab's directory and the node")
	}
	l, err := lab.Open(args[0])
	if err != nil {
		return err
	}
	var lifetime time.Duration
	if len(args) > 3 && args[2] == "--credential-lifetime" {
		if lifetime, err = time.ParseDuration(args[3]); err != nil || lifetime <= 0 {
			return badUsage("--credential-lifetime %s: expected a duration such as 90s", args[3])
		}
		args = append(args[:2:2], args[4:]...)
	}
	run := len(args) > 2
	if run && args[2] != "--" {
		return badUsage("%q: what is for vch-kubelet follows \"--\"", args[2])
	}
	var flags []string
	if run {
		flags = args[3:]
	}
	if err := l.AddNode(args[1], run, flags, lifetime); err != nil {
		return err
	}
	fmt.Println(l.NodeKubeconfig(args[1]))
	return nil
}
