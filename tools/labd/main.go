// Command labd is what tools/lab runs: it brings up, changes and removes labs, and is itself some of their parts.
package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"vch-kubelet/tools/labd/internal/lab"
	"vch-kubelet/tools/labd/internal/qemu"
	"vch-kubelet/tools/labd/internal/registry"
	"vch-kubelet/tools/labd/internal/vcenter"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		var usage usageError
		if errors.As(err, &usage) {
			fmt.Fprintf(os.Stderr, "lab: %v\n", err)
			os.Exit(2)
		}
		fmt.Fprintf(os.Stderr, "lab: %v\n", err)
		os.Exit(1)
	}
}

// usageError is the user's mistake in the command line.
type usageError struct{ error }

func badUsage(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// command is one word after tools/lab.
type command struct {
	name   string
	usage  string
	help   string
	run    func(args []string) error
	hidden bool
}

func commands() []command {
	return []command{
		{name: "up", usage: upUsage, help: upHelp, run: up},
		{name: "down", usage: "DIR", help: "Ends the lab's processes and removes DIR.", run: withLab(0, func(l *lab.Lab, _ []string) error { return l.Down() })},
		{name: "status", usage: "DIR", help: "Tells what each part does.", run: withLab(0, status)},
		{name: "stop", usage: "DIR PART", help: "Stops one part. vcenter: nobody reaches it and its sessions are gone, but its inventory and guests stay.", run: onPart((*lab.Lab).Stop)},
		{name: "start", usage: "DIR PART", help: "Starts it again.", run: onPart((*lab.Lab).Start)},
		{name: "kill", usage: "DIR PART", help: "Kills one part (SIGKILL). vcenter: its inventory is gone.", run: onPart((*lab.Lab).Kill)},
		{name: "pause", usage: "DIR PART", help: "Freezes one part (SIGSTOP): its connections stay open and silent.", run: onPart((*lab.Lab).Pause)},
		{name: "resume", usage: "DIR PART", help: "Undoes pause.", run: onPart((*lab.Lab).Resume)},
		{name: "node", usage: "DIR NAME [--credential-lifetime D] [-- vch-kubelet flags]", help: "Makes credentials of a node and prints the kubeconfig's path; with \"--\" it also runs a vch-kubelet with them.", run: node},
		{name: "fault", usage: faultUsage, help: faultHelp, run: fault},
		{name: "stats", usage: "DIR [reset]", help: "Prints counters as JSON: calls and tasks of vCenter, CPU and memory of each part. reset sets vCenter's to zero.", run: withLab(1, stats)},
		{name: "vms", usage: "DIR", help: "Prints the VMs in vCenter as JSON.", run: withLab(0, vms)},
		{name: "vm", usage: "DIR on|off|reset|shutdown|unregister|destroy NAME", help: "Does to a VM what somebody at the vSphere client would do; off and destroy as one step: tools/lab vm DIR destroy NAME --force.", run: vm},
		{name: "host", usage: "DIR enter|exit NAME", help: "Puts a host of the cluster into maintenance mode, such as DC0_C0_H0, or ends it.", run: host},
		{name: "pool", usage: "DIR NAME [cpu=MHZ] [memory=MB] [none]", help: "Sets the limits of a resource pool; what is not named is unlimited.", run: pool},
		{name: "leaks", usage: "DIR", help: "Prints VMs and datastore files that are there, as JSON; exit status 1 if there are any.", run: withLab(0, leaks)},
		{name: "exec", usage: "DIR COMMAND [ARGUMENTS]", help: "Runs a command where the lab's parts live: with --guests qemu that is where pods can be reached.", run: execute},
		{name: "accel", help: "Prints how guests would run here: kvm, or tcg and on standard error why not kvm.", run: printAccel},
		{name: "keeper", run: keeper, hidden: true},
		{name: "images", run: buildImages, hidden: true},
		{name: "qemu", run: withLab(0, func(l *lab.Lab, _ []string) error { return qemu.Run(l.GuestsConfig()) }), hidden: true},
		{name: "vcenter", run: withLab(0, runVCenter), hidden: true},
		{name: "registry", run: withLab(0, func(l *lab.Lab, _ []string) error { return registry.Run(l.RegistryConfig()) }), hidden: true},
		{name: "approver", run: withLab(0, func(l *lab.Lab, _ []string) error { return l.Approve() }), hidden: true},
	}
}

func run(args []string) error {
	if len(args) == 0 || args[0] == "help" || args[0] == "--help" || args[0] == "-h" {
		printHelp()
		if len(args) == 0 {
			return badUsage("say what to do")
		}
		return nil
	}
	for _, c := range commands() {
		if c.name != args[0] {
			continue
		}
		if len(args) > 1 && (args[1] == "--help" || args[1] == "-h") {
			fmt.Printf("tools/lab %s %s\n\n%s\n", c.name, c.usage, c.help)
			return nil
		}
		err := c.run(args[1:])
		var mistake usageError
		if errors.As(err, &mistake) {
			return badUsage("%v\nusage: tools/lab %s %s", err, c.name, c.usage)
		}
		return err
	}
	return badUsage("%q is no command of the lab; see tools/lab --help", args[0])
}

func printHelp() {
	fmt.Print("A Kubernetes control plane, a simulated vCenter with guests, and vch-kubelet, on this machine's loopback.\n\n")
	for _, c := range commands() {
		if !c.hidden {
			fmt.Printf("tools/lab %s %s\n    %s\n", c.name, c.usage, c.help)
		}
	}
	fmt.Print("tools/lab build\n    Builds the lab's programs; all other commands do so when they must.\n" +
		"tools/lab test\n    Tests the lab itself.\n")
}

// withLab opens the lab of the first argument; more is how many further arguments there may be.
func withLab(more int, f func(*lab.Lab, []string) error) func([]string) error {
	return func(args []string) error {
		if len(args) < 1 {
			return badUsage("name the lab's directory")
		}
		if len(args) > 1+more {
			return badUsage("%q is one argument too many", args[1+more])
		}
		l, err := lab.Open(args[0])
		if err != nil {
			return err
		}
		return f(l, args[1:])
	}
}

func onPart(f func(*lab.Lab, string) error) func([]string) error {
	return withLab(1, func(l *lab.Lab, args []string) error {
		if len(args) != 1 {
			return badUsage("name one part")
		}
		return f(l, args[0])
	})
}

func keeper(args []string) error {
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	return lab.Keep(n, args[1])
}

// runVCenter is the vCenter part.
func runVCenter(l *lab.Lab, _ []string) error {
	config, err := l.VCenterConfig()
	if err != nil {
		return err
	}
	return vcenter.Run(config)
}
