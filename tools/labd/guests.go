package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"vch-kubelet/tools/labd/internal/lab"
	"vch-kubelet/tools/labd/internal/netns"
	"vch-kubelet/tools/labd/internal/qemu"
)

// virtualMachines fills in what `up` was not told about guests in QEMU.
func virtualMachines(options *lab.Options) error {
	if options.Accel == "" {
		options.Accel = os.Getenv("VCH_ACCEL")
	}
	if options.Accel == "" {
		options.Accel = "auto"
	}
	if err := qemu.CheckAccel(options.Accel); err != nil {
		return usageError{err}
	}
	if options.ISO == "" {
		cmd := exec.Command(filepath.Join(os.Getenv("LAB_ROOT"), "tools", "bootstrap-iso"), "--print")
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		if err != nil {
			return fmt.Errorf("%s: %w (or name an ISO with --iso)", cmd.Path, err)
		}
		options.ISO = string(bytes.TrimSpace(out))
	}
	var err error
	if options.ISO, err = filepath.Abs(options.ISO); err != nil {
		return err
	}
	_, err = os.Stat(options.ISO)
	return err
}

// execute becomes a command in the lab's network namespace.
func execute(args []string) error {
	if len(args) < 2 {
		return badUsage("name the lab's directory and a command")
	}
	l, err := lab.Open(args[0])
	if err != nil {
		return err
	}
	program, err := exec.LookPath(args[1])
	if err != nil {
		return err
	}
	if namespace := l.Namespace(); namespace != "" {
		if err := netns.Enter(namespace); err != nil {
			return err
		}
	}
	return syscall.Exec(program, args[1:], os.Environ())
}

// printAccel tells others, who run guests without a lab, what the lab would run them with.
func printAccel([]string) error {
	scratch, err := os.MkdirTemp("", "vch-accel-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	accel, why := qemu.ChooseAccel("auto", scratch)
	if why != "" {
		fmt.Fprintf(os.Stderr, "lab: no KVM: %s\n", why)
	}
	fmt.Println(accel)
	return nil
}
