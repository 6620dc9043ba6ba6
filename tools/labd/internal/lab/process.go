package lab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A process of the lab is known by its pid and by the time at which the kernel started it, so that a pid that the
// kernel gave to somebody else is never signalled. pid/PART.pid holds the pid alone, pid/PART.start the start time.

func (l *Lab) pidFile(part string) string   { return filepath.Join(l.Dir, "pid", part+".pid") }
func (l *Lab) startFile(part string) string { return filepath.Join(l.Dir, "pid", part+".start") }

// LogFile is where a part writes.
func (l *Lab) LogFile(part string) string { return filepath.Join(l.Dir, "log", part+".log") }

// spawn starts a program in a session of its own, so that it outlives this command and its terminal.
func (l *Lab) spawn(part string, argv, env []string) error {
	logFile, err := os.OpenFile(l.LogFile(part), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer logFile.Close()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = l.Dir
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = logFile, logFile
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	start := cmd.Start
	if part != keeper.name {
		start = func() error { return l.inside(cmd.Start) }
	}
	if err := start(); err != nil {
		return err
	}
	go func() { _ = cmd.Wait() }() // no zombie while this command still runs
	since, _, _ := procStat(cmd.Process.Pid)
	if err := os.WriteFile(l.startFile(part), []byte(since+"\n"), 0o644); err != nil {
		return err
	}
	return os.WriteFile(l.pidFile(part), []byte(strconv.Itoa(cmd.Process.Pid)+"\n"), 0o644)
}

// Pid returns the pid of a part that runs, or 0.
func (l *Lab) Pid(part string) int {
	pid, err := readInt(l.pidFile(part))
	if err != nil || pid <= 1 {
		return 0
	}
	recorded, err := os.ReadFile(l.startFile(part))
	if err != nil {
		return 0
	}
	start, state, err := procStat(pid)
	if err != nil || state == "Z" || state == "X" || start != strings.TrimSpace(string(recorded)) {
		return 0
	}
	return pid
}

// Signal sends sig to a part that runs.
func (l *Lab) Signal(part string, sig syscall.Signal) error {
	pid := l.Pid(part)
	if pid == 0 {
		return fmt.Errorf("%s does not run", part)
	}
	return syscall.Kill(pid, sig)
}

// terminate asks a part to stop, and kills it when it has not stopped after patience. It is no error if it does not run.
func (l *Lab) terminate(part string, patience time.Duration) (killed bool) {
	if l.Signal(part, syscall.SIGTERM) == nil {
		_ = l.Signal(part, syscall.SIGCONT) // a paused part must be able to see it
		if !l.gone(part, patience) {
			killed = true
			_ = l.Signal(part, syscall.SIGKILL)
			l.gone(part, 10*time.Second)
		}
	}
	_ = os.Remove(l.pidFile(part))
	_ = os.Remove(l.startFile(part))
	return killed
}

func (l *Lab) gone(part string, patience time.Duration) bool {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if l.Pid(part) == 0 {
			return true
		}
	}
	return l.Pid(part) == 0
}

// Usage is what one process has used.
type Usage struct {
	Pid        int     `json:"pid"`
	CPUSeconds float64 `json:"cpuSeconds"`
	RSSBytes   int64   `json:"rssBytes"`
	PeakBytes  int64   `json:"peakRssBytes"`
}

func usage(pid int) (Usage, error) {
	u := Usage{Pid: pid}
	fields, err := statFields(pid)
	if err != nil {
		return u, err
	}
	user, _ := strconv.ParseFloat(fields[11], 64)
	system, _ := strconv.ParseFloat(fields[12], 64)
	const ticksPerSecond = 100 // USER_HZ, fixed in the kernel's ABI
	u.CPUSeconds = (user + system) / ticksPerSecond
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return u, err
	}
	for _, line := range strings.Split(string(status), "\n") {
		name, value, _ := strings.Cut(line, ":")
		kib, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		switch name {
		case "VmRSS":
			u.RSSBytes = kib << 10
		case "VmHWM":
			u.PeakBytes = kib << 10
		}
	}
	return u, nil
}

// procStat returns the start time (in ticks since boot) and the state letter of a process.
func procStat(pid int) (start, state string, err error) {
	fields, err := statFields(pid)
	if err != nil {
		return "", "", err
	}
	state = fields[0]
	if state == "Z" && fields[17] != "1" {
		state = "D" // other threads of it are still ending, and hold its ports and files
	}
	return fields[19], state, nil
}

// statFields returns /proc/PID/stat from its third field on; the second, the name, may hold blanks.
func statFields(pid int) ([]string, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil, err
	}
	text := string(data)
	end := strings.LastIndexByte(text, ')')
	if end < 0 {
		return nil, errors.New("malformed stat line")
	}
	fields := strings.Fields(text[end+1:])
	if len(fields) < 20 {
		return nil, errors.New("short stat line")
	}
	return fields, nil
}

func readInt(file string) (int, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(data)))
}
