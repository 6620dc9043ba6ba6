// Package qemu plays the guests of the lab's vCenter with virtual machines: each VM that is on is a QEMU process with the
// hardware that the VM's configuration names.
package qemu

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"vch-kubelet/tools/labd/internal/guestline"
)

// Config says how to run guests.
type Config struct {
	Dir     string // the lab's directory: consoles are in console/, the rest in guests/
	Socket  string // where vCenter calls
	Accel   string // auto, kvm or tcg
	Network string // the network of the pods
	Bridge  string // and its bridge
}

const (
	// syncTime is how long vCenter has to name all VMs that are on after it has connected.
	syncTime    = 5 * time.Second
	queueLength = 1 << 14
)

// Run serves until the process is told to end; all guests end with it.
func Run(c Config) error {
	if _, err := exec.LookPath(Program); err != nil {
		return fmt.Errorf("%w; tools/setup installs it", err)
	}
	if err := os.RemoveAll(filepath.Join(c.Dir, "guests")); err != nil { // a manager that was killed left it
		return err
	}
	for _, dir := range []string{"guests", "console"} {
		if err := os.MkdirAll(filepath.Join(c.Dir, dir), 0o755); err != nil {
			return err
		}
	}
	_ = os.Remove(c.Socket)
	listener, err := net.Listen("unix", c.Socket)
	if err != nil {
		return err
	}
	m := newManager(c)
	go m.accel() // it takes a while, and the first guest waits for it
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		<-stop
		listener.Close()
	}()
	for {
		conn, err := listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			m.endAll()
			return nil
		}
		if err != nil {
			return err
		}
		m.serve(conn)
	}
}

// manager knows the machines.
type manager struct {
	config Config
	accel  func() string
	starts chan startRequest

	mu       sync.Mutex
	conn     net.Conn
	queue    chan []byte              // nil while vCenter is not connected
	machines map[string]*machine      // of VMs that are on, as far as vCenter has said, and of those that went off by themselves
	last     map[string]chan struct{} // of the newest run of a VM, while anything of it is left
	runs     sync.WaitGroup
}

type startRequest struct {
	cmd    *exec.Cmd
	result chan error
}

func newManager(c Config) *manager {
	m := &manager{config: c, machines: map[string]*machine{}, last: map[string]chan struct{}{}, starts: make(chan startRequest)}
	m.accel = sync.OnceValue(func() string {
		accel, why := ChooseAccel(c.Accel, filepath.Join(c.Dir, "guests"))
		if why != "" {
			why = ", because: " + why
		}
		log.Printf("guests run with %s%s", accel, why)
		return accel
	})
	go m.starter()
	return m
}

// starter starts processes. A process that shall end with its parent ends with the thread that started it: this one stays.
func (m *manager) starter() {
	runtime.LockOSThread()
	for r := range m.starts {
		r.result <- r.cmd.Start()
	}
}

func (m *manager) start(cmd *exec.Cmd) error {
	r := startRequest{cmd, make(chan error)}
	m.starts <- r
	return <-r.result
}

// serve talks with vCenter until the connection ends. A new connection takes the place of an old one.
func (m *manager) serve(conn net.Conn) {
	queue := make(chan []byte, queueLength)
	m.mu.Lock()
	if m.conn != nil {
		m.conn.Close()
	}
	if m.queue != nil {
		close(m.queue)
	}
	m.conn, m.queue = conn, queue
	m.mu.Unlock()
	go func() {
		for line := range queue {
			if _, err := conn.Write(line); err != nil {
				conn.Close()
				break
			}
		}
		for range queue { // until it is closed
		}
	}()
	go func() {
		defer conn.Close()
		decoder := json.NewDecoder(bufio.NewReader(conn))
		for {
			var message guestline.Message
			if err := decoder.Decode(&message); err != nil {
				if !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) {
					log.Printf("vCenter: %v", err)
				}
				break
			}
			m.handle(message)
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.queue == queue {
			m.conn, m.queue = nil, nil
			close(queue)
		}
	}()
}

// send never blocks. What cannot be sent is repeated when vCenter connects anew.
func (m *manager) send(message guestline.Message) {
	line, err := json.Marshal(message)
	if err != nil {
		log.Printf("%s: %v", message.VM, err)
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.queue == nil {
		return
	}
	select {
	case m.queue <- append(line, '\n'):
	default:
		log.Print("vCenter does not read; connection given up")
		m.conn.Close()
		close(m.queue)
		m.conn, m.queue = nil, nil
	}
}

func (m *manager) handle(message guestline.Message) {
	switch message.Op {
	case "sync":
		m.sync()
	case "power_on":
		m.powerOn(message)
	case "power_off":
		if machine := m.forget(message.VM); machine != nil {
			machine.powerOff()
		}
	case "shutdown", "reset", "hardware":
		m.mu.Lock()
		machine := m.machines[message.VM]
		m.mu.Unlock()
		if machine == nil {
			return
		}
		switch message.Op {
		case "shutdown":
			go machine.shutdown()
		case "reset":
			go machine.resetButton()
		case "hardware":
			if machine.Run == message.Run && message.Hardware != nil {
				go machine.plug(message.Hardware.Disks)
			}
		}
	default:
		log.Printf("vCenter: unknown op %q", message.Op)
	}
}

// sync tells what vCenter may have missed. VMs that it does not name soon after are off, or gone.
func (m *manager) sync() {
	m.mu.Lock()
	var running, ended []*machine
	for _, machine := range m.machines {
		machine.mentioned = false
		if machine.ended {
			ended = append(ended, machine)
		} else {
			running = append(running, machine)
		}
	}
	queue := m.queue
	m.mu.Unlock()
	for _, machine := range running {
		machine.repeat()
	}
	for _, machine := range ended {
		machine.say(guestline.Message{Op: "powered_off"})
	}
	time.AfterFunc(syncTime, func() {
		m.mu.Lock()
		var lost []*machine
		for id, machine := range m.machines {
			if m.queue == queue && !machine.mentioned {
				lost = append(lost, machine)
				delete(m.machines, id)
			}
		}
		m.mu.Unlock()
		for _, machine := range lost {
			machine.powerOff()
		}
	})
}

func (m *manager) powerOn(message guestline.Message) {
	m.mu.Lock()
	defer m.mu.Unlock()
	old := m.machines[message.VM]
	if old != nil && old.Run == message.Run {
		old.mentioned = true
		return
	}
	name := fmt.Sprintf("%s.%d", message.VM, message.Run)
	next := &machine{
		vm: vm{Message: message, console: filepath.Join(m.config.Dir, "console", ConsoleName(message.Name)),
			dir: filepath.Join(m.config.Dir, "guests", name)},
		manager: m, before: m.last[message.VM], done: make(chan struct{}), info: map[string]string{}, mentioned: true,
	}
	if old != nil {
		go old.powerOff()
	}
	m.machines[message.VM], m.last[message.VM] = next, next.done
	m.runs.Go(next.run)
}

// forget takes a machine from the list. Its run may still have to end.
func (m *manager) forget(id string) *machine {
	m.mu.Lock()
	defer m.mu.Unlock()
	machine := m.machines[id]
	delete(m.machines, id)
	return machine
}

// machineEnded tells vCenter of a VM that went off by itself.
func (m *manager) machineEnded(machine *machine) {
	m.mu.Lock()
	mine := m.machines[machine.VM] == machine
	machine.ended = true
	if m.last[machine.VM] == machine.done {
		delete(m.last, machine.VM)
	}
	m.mu.Unlock()
	if mine {
		machine.say(guestline.Message{Op: "powered_off"})
	}
}

// endAll ends all machines.
func (m *manager) endAll() {
	m.mu.Lock()
	var all []*machine
	for _, machine := range m.machines {
		all = append(all, machine)
	}
	clear(m.machines)
	m.mu.Unlock()
	for _, machine := range all {
		machine.powerOff()
	}
	m.runs.Wait()
}

// ConsoleName is the file with the serial console of the VM of that name.
func ConsoleName(vm string) string {
	safe := strings.Map(func(r rune) rune {
		if r == '/' || r < ' ' {
			return '_'
		}
		return r
	}, vm)
	return safe + ".log"
}
