package qemu

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"vch-kubelet/tools/labd/internal/guestline"
)

const (
	// maxLine is what a guest may say at once, as much as all of its guestinfo may hold in vSphere.
	maxLine = 1 << 20
	// maxComplaints of one run about its guest go to the log.
	maxComplaints = 20
	portTimeout   = 5 * time.Second
)

// machine is one run of a VM, from power_on to its end.
type machine struct {
	vm
	manager *manager
	before  <-chan struct{} // closed when an earlier run of the VM has ended; nil: there was none
	done    chan struct{}   // closed when nothing of the run is left

	mu         sync.Mutex
	off        bool // the power is gone, or soon
	process    *os.Process
	monitor    *monitor
	port       net.Conn
	portOpen   bool              // the guest listens
	info       map[string]string // what the guest has written
	network    *guestline.Message
	complaints int
	plugging   sync.Mutex // held while disks are added; guards Hardware.Disks from the boot on
	// Of the manager, under its lock.
	mentioned bool
	ended     bool
}

// run boots the VM and returns when it is off.
func (m *machine) run() {
	defer close(m.done)
	if m.before != nil {
		<-m.before
	}
	m.say(guestline.Message{Op: "net"}) // whatever an earlier run has said: its tools do not run
	begin := time.Now()
	err := m.boot()
	m.mu.Lock()
	killed := m.off
	m.off = true
	m.mu.Unlock()
	switch {
	case err != nil && !killed:
		m.logf("%v%s", err, m.lastWords())
	case !killed:
		m.logf("off after %.1f s", time.Since(begin).Seconds())
	}
	if err := os.RemoveAll(m.dir); err != nil {
		m.logf("%v", err)
	}
	m.manager.machineEnded(m)
}

func (m *machine) logf(format string, args ...any) {
	log.Printf("%s (%s): %s", m.Name, m.VM, fmt.Sprintf(format, args...))
}

func (m *machine) say(message guestline.Message) {
	message.VM, message.Run = m.VM, m.Run
	m.manager.send(message)
}

func (m *machine) qemuLog() string { return filepath.Join(m.dir, "qemu.log") }

// lastWords are those of QEMU.
func (m *machine) lastWords() string {
	text, err := os.ReadFile(m.qemuLog())
	if err != nil || len(text) == 0 {
		return ""
	}
	return "\n" + strings.TrimSpace(string(text[max(0, len(text)-4096):]))
}

// boot starts QEMU and waits for its end. An exit that is not clean is an error.
func (m *machine) boot() error {
	if err := os.MkdirAll(m.dir, 0o755); err != nil {
		return err
	}
	fwCfg, tooLong, err := writeFwCfg(m.dir, m.GuestInfo)
	if err != nil {
		return err
	}
	for _, key := range tooLong {
		m.logf("its guest cannot see %s: the name is too long for QEMU", key)
	}
	m.accel = m.manager.accel()
	args, err := m.command(fwCfg)
	if err != nil {
		return err
	}
	var files []*os.File
	defer func() {
		for _, f := range files {
			f.Close()
		}
	}()
	monitorEnd, monitorConn, err := socketPair()
	if err != nil {
		return err
	}
	defer monitorConn.Close()
	files = append(files, monitorEnd)
	portEnd, port, err := socketPair()
	if err != nil {
		return err
	}
	defer port.Close()
	files = append(files, portEnd)
	for _, nic := range m.Hardware.Nics {
		bridge := m.manager.config.Bridge
		if nic.Network != m.manager.config.Network {
			if bridge, err = bridgeFor(nic.Network); err != nil {
				return err
			}
		}
		tap, err := openTap(bridge)
		if err != nil {
			return err
		}
		files = append(files, tap)
	}
	output, err := os.Create(m.qemuLog())
	if err != nil {
		return err
	}
	files = append(files, output)

	cmd := exec.Command(Program, args...)
	cmd.Dir = m.manager.config.Dir
	cmd.Env = append(os.Environ(), "TMPDIR="+m.dir)
	cmd.Stdout, cmd.Stderr = output, output
	cmd.ExtraFiles = files[:len(files)-1]
	// A machine of its own session, which ends with this process however that ends.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}

	m.mu.Lock()
	if m.off {
		m.mu.Unlock()
		return nil
	}
	if err := m.manager.start(cmd); err != nil {
		m.mu.Unlock()
		return err
	}
	m.process, m.monitor, m.port = cmd.Process, newMonitor(monitorConn), port
	m.mu.Unlock()
	for _, f := range files {
		f.Close()
	}
	files = nil
	if err := os.WriteFile(filepath.Join(m.dir, "pid"), fmt.Appendln(nil, cmd.Process.Pid), 0o644); err != nil {
		m.logf("%v", err)
	}

	var readers sync.WaitGroup
	readers.Go(func() { m.monitor.serve(m.event) })
	readers.Go(func() { m.listen(port) })
	if _, err := m.monitor.execute("qmp_capabilities", nil); err != nil && !errors.Is(err, errMonitorGone) {
		m.logf("%v", err)
	}
	err = cmd.Wait()
	// QEMU has closed its ends; what was said before is still read.
	readers.Wait()
	return err
}

// socketPair returns an end for a child and an end for here.
func socketPair() (*os.File, net.Conn, error) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	theirs, ours := os.NewFile(uintptr(fds[0]), "child's end"), os.NewFile(uintptr(fds[1]), "own end")
	defer ours.Close()
	conn, err := net.FileConn(ours)
	if err != nil {
		theirs.Close()
		return nil, nil, err
	}
	return theirs, conn, nil
}

// powerOff takes the power away.
func (m *machine) powerOff() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.off = true
	if m.process != nil {
		_ = m.process.Kill() // it may have ended
	}
}

// shutdown asks the guest, in two ways.
func (m *machine) shutdown() {
	m.mu.Lock()
	monitor, port, open := m.monitor, m.port, m.portOpen
	m.mu.Unlock()
	if monitor == nil {
		return
	}
	if open {
		_ = port.SetWriteDeadline(time.Now().Add(portTimeout))
		if _, err := io.WriteString(port, `{"op":"shutdown"}`+"\n"); err != nil {
			m.logf("shutdown: %v", err)
		}
	}
	m.execute("system_powerdown")
}

func (m *machine) resetButton() {
	m.mu.Lock()
	monitor := m.monitor
	m.mu.Unlock()
	if monitor != nil {
		m.execute("system_reset")
	}
}

// plug adds disks that the VM has been given while it runs. Nothing is taken out.
func (m *machine) plug(disks []guestline.Disk) {
	m.plugging.Lock()
	defer m.plugging.Unlock()
	m.mu.Lock()
	monitor := m.monitor
	m.mu.Unlock()
	if monitor == nil {
		return // not up yet, or ended
	}
	for _, d := range disks {
		if slices.ContainsFunc(m.Hardware.Disks, func(have guestline.Disk) bool { return have.Bus == d.Bus && have.Unit == d.Unit }) {
			continue
		}
		for _, command := range plugCommands(d, len(m.Hardware.Disks)) {
			if _, err := monitor.execute(command.name, command.arguments); err != nil {
				if !errors.Is(err, errMonitorGone) {
					m.logf("adding disk %s: %v", d.File, err)
				}
				return
			}
		}
		m.Hardware.Disks = append(m.Hardware.Disks, d)
	}
}

func (m *machine) execute(command string) {
	if _, err := m.monitor.execute(command, nil); err != nil && !errors.Is(err, errMonitorGone) {
		m.logf("%v", err)
	}
}

func (m *machine) event(e event) {
	switch e.Name {
	case "VSERPORT_CHANGE":
		m.mu.Lock()
		m.portOpen = e.Data.Open
		m.mu.Unlock()
	case "RESET":
		m.mu.Lock()
		m.portOpen = false
		known := m.network != nil
		m.network = nil
		m.mu.Unlock()
		if known {
			m.say(guestline.Message{Op: "net"})
		}
	case "STOP":
		m.logf("QEMU has stopped the guest%s", m.lastWords())
	}
}

// listen takes what the guest says.
func (m *machine) listen(port net.Conn) {
	in := bufio.NewReaderSize(port, maxLine)
	for {
		line, err := in.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			m.complain("a line of more than %d bytes", maxLine)
			for errors.Is(err, bufio.ErrBufferFull) {
				_, err = in.ReadSlice('\n')
			}
			if err == nil {
				continue
			}
		}
		if err != nil {
			return
		}
		m.heard(line)
	}
}

// heard does what a line of the guest asks for.
func (m *machine) heard(line []byte) {
	var said guestline.Message
	// A guest that boots anew may leave half a line behind.
	if err := json.Unmarshal(line, &said); err != nil {
		m.complain("%q is no message: %v", line[:min(len(line), 200)], err)
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	switch said.Op {
	case "set":
		for key := range said.GuestInfo {
			if !strings.HasPrefix(key, "guestinfo.") {
				go m.complain("the guest may not write %q", key)
				return
			}
		}
		maps.Copy(m.info, said.GuestInfo)
		m.say(guestline.Message{Op: "set", GuestInfo: said.GuestInfo})
	case "net":
		m.network = &guestline.Message{Op: "net", IP: said.IP, Hostname: said.Hostname}
		m.say(*m.network)
	default:
		go m.complain("op %q is not the guest's", said.Op)
	}
}

// complain logs what a guest does wrong, but not without end.
func (m *machine) complain(format string, args ...any) {
	m.mu.Lock()
	m.complaints++
	n := m.complaints
	m.mu.Unlock()
	if n <= maxComplaints {
		m.logf(format, args...)
	}
}

// repeat tells vCenter all that the guest has said.
func (m *machine) repeat() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.info) != 0 {
		m.say(guestline.Message{Op: "set", GuestInfo: maps.Clone(m.info)})
	}
	if m.network != nil {
		m.say(*m.network)
	}
}
