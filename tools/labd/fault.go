package main

import (
	"flag"
	"fmt"
	"io"
	"strconv"
	"strings"

	"vch-kubelet/tools/labd/internal/lab"
	"vch-kubelet/tools/labd/internal/vcenter"
)

const (
	faultUsage = "DIR add|list|clear|sessions|http|delay|strict …"
	faultHelp  = `Makes the lab's vCenter misbehave.
    add --fault FAULT [--method METHOD] [--type TYPE] [--name NAME] [--probability 0.5] [--skip N] [--count N] [--delay 2s]
                                   answers calls that match with a vim fault; METHOD as in SOAP, such as PowerOnVM_Task
    list | clear                   shows the rules with their hits; removes them
    sessions expire                ends all sessions
    http STATUS                    answers the next call with that HTTP status, such as 503
    delay create=2s,power=1s       from now on tasks last that long (delay none: no time)
    strict SWITCH=on|off …         task-in-progress, duplicate-name, parent-disks: all on at first`
)

func fault(args []string) error {
	if len(args) < 2 {
		return badUsage("name the lab's directory and what to do")
	}
	l, err := lab.Open(args[0])
	if err != nil {
		return err
	}
	what, rest := args[1], args[2:]
	one := func(expect string) error {
		if len(rest) != 1 {
			return badUsage("%s takes one argument: %s", what, expect)
		}
		return nil
	}
	switch what {
	case "add":
		rule, err := faultRule(rest)
		if err != nil {
			return err
		}
		return send(l, "fault-add", rule)
	case "list", "clear":
		if len(rest) != 0 {
			return badUsage("%s takes no argument", what)
		}
		return send(l, "fault-"+what, nil)
	case "sessions":
		if len(rest) != 1 || rest[0] != "expire" {
			return badUsage("say: sessions expire")
		}
		return send(l, "expire-sessions", nil)
	case "http":
		if err := one("a status from 400 to 599"); err != nil {
			return err
		}
		code, err := strconv.Atoi(rest[0])
		if err != nil {
			return badUsage("%q is no HTTP status", rest[0])
		}
		return send(l, "http", code)
	case "delay":
		if err := one("such as create=2s,power=1s, or none"); err != nil {
			return err
		}
		if rest[0] == "none" {
			rest[0] = ""
		}
		return send(l, "delay", rest[0])
	case "strict":
		return strict(l, rest)
	}
	return badUsage("%q: say add, list, clear, sessions, http, delay or strict", what)
}

func faultRule(args []string) (vcenter.FaultRule, error) {
	var r vcenter.FaultRule
	f := flag.NewFlagSet("add", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.StringVar(&r.Method, "method", "*", "")
	f.StringVar(&r.Type, "type", "*", "")
	f.StringVar(&r.Name, "name", "*", "")
	f.StringVar(&r.Fault, "fault", "", "")
	f.StringVar(&r.Message, "message", "", "")
	f.Float64Var(&r.Probability, "probability", 1, "")
	f.IntVar(&r.Skip, "skip", 0, "")
	f.IntVar(&r.Count, "count", 0, "")
	f.DurationVar(&r.Delay, "delay", 0, "")
	if err := f.Parse(args); err != nil {
		return r, usageError{err}
	}
	if f.NArg() != 0 {
		return r, badUsage("%q is one argument too many", f.Arg(0))
	}
	if r.Fault == "" {
		return r, badUsage("say which fault: --fault TaskInProgress")
	}
	if r.Probability < 0 || r.Probability > 1 {
		return r, badUsage("--probability is from 0 to 1")
	}
	return r, nil
}

func strict(l *lab.Lab, args []string) error {
	change := map[string]bool{}
	for _, arg := range args {
		name, value, _ := strings.Cut(arg, "=")
		if value != "on" && value != "off" {
			return badUsage("%q: write SWITCH=on or SWITCH=off", arg)
		}
		change[name] = value == "on"
	}
	return send(l, "strict", change)
}

func send(l *lab.Lab, command string, argument any) error {
	answer, err := l.VCenter(command, argument)
	if err == nil {
		fmt.Println(strings.Trim(string(answer), `"`))
	}
	return err
}
