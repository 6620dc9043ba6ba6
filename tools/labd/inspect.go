package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"vch-kubelet/tools/labd/internal/lab"
	"vch-kubelet/tools/labd/internal/vcenter"
)

func status(l *lab.Lab, _ []string) error {
	for _, p := range l.Status() {
		fmt.Printf("%-20s %-8s", p.Name, p.State)
		if p.Pid != 0 {
			fmt.Printf(" pid %d", p.Pid)
		}
		fmt.Println()
	}
	return nil
}

func stats(l *lab.Lab, args []string) error {
	if len(args) == 1 {
		if args[0] != "reset" {
			return badUsage("%q: say reset or nothing", args[0])
		}
		_, err := l.VCenter("stats-reset", nil)
		return err
	}
	answer, err := l.VCenter("stats", nil)
	if err != nil {
		return err
	}
	return printJSON(map[string]any{"vcenter": json.RawMessage(answer), "parts": l.Usage()})
}

func vms(l *lab.Lab, _ []string) error {
	c, done, err := login(l)
	if err != nil {
		return err
	}
	defer done()
	all, err := c.List()
	if err != nil {
		return err
	}
	return printJSON(all)
}

func vm(args []string) error {
	force := len(args) == 4 && args[3] == "--force"
	if len(args) != 3 && !force {
		return badUsage("name the lab's directory, what to do, and the VM")
	}
	l, err := lab.Open(args[0])
	if err != nil {
		return err
	}
	c, done, err := login(l)
	if err != nil {
		return err
	}
	defer done()
	if force {
		if err := c.Do("off", args[2]); err != nil {
			fmt.Fprintln(os.Stderr, "lab: off:", err)
		}
	}
	err = c.Do(args[1], args[2])
	if err == vcenter.ErrAction {
		return badUsage("%q: say on, off, reset, shutdown, unregister or destroy", args[1])
	}
	return err
}

func host(args []string) error {
	if len(args) != 3 || args[1] != "enter" && args[1] != "exit" {
		return badUsage("name the lab's directory, enter or exit, and the host")
	}
	return asUser(args[0], func(c *vcenter.Client) error { return c.Maintain(args[2], args[1] == "enter") })
}

func pool(args []string) error {
	if len(args) < 3 {
		return badUsage("name the lab's directory, the pool, and its limits or none")
	}
	limit := map[string]int64{"cpu": -1, "memory": -1}
	for _, arg := range args[2:] {
		name, value, _ := strings.Cut(arg, "=")
		number, err := strconv.ParseInt(value, 10, 64)
		if _, known := limit[name]; arg != "none" && (!known || err != nil) {
			return badUsage("%q: write cpu=MHZ, memory=MB or none", arg)
		}
		if arg != "none" {
			limit[name] = number
		}
	}
	return asUser(args[0], func(c *vcenter.Client) error { return c.Limit(args[1], limit["cpu"], limit["memory"]) })
}

// asUser does something at the vCenter of the lab in dir.
func asUser(dir string, do func(*vcenter.Client) error) error {
	l, err := lab.Open(dir)
	if err != nil {
		return err
	}
	c, done, err := login(l)
	if err != nil {
		return err
	}
	defer done()
	return do(c)
}

func leaks(l *lab.Lab, _ []string) error {
	c, done, err := login(l)
	if err != nil {
		return err
	}
	defer done()
	config, err := l.VCenterConfig()
	if err != nil {
		return err
	}
	found, err := c.Leaks(config)
	if err != nil {
		return err
	}
	if err := printJSON(found); err != nil {
		return err
	}
	if n := len(found.VMs) + len(found.Files); n != 0 {
		return fmt.Errorf("%d VMs and %d files are left", len(found.VMs), len(found.Files))
	}
	return nil
}

func login(l *lab.Lab) (*vcenter.Client, func(), error) {
	config, err := l.VCenterConfig()
	if err != nil {
		return nil, nil, err
	}
	c, err := vcenter.Login(config, l.VCenterCA(), 10*time.Second)
	if err != nil {
		return nil, nil, err
	}
	return c, c.Logout, nil
}

func printJSON(v any) error {
	e := json.NewEncoder(os.Stdout)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
