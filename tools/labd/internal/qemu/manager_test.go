package qemu

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"vch-kubelet/tools/labd/internal/guestline"
	"vch-kubelet/tools/labd/internal/vmdk"
)

const patience = 30 * time.Second

// TestMain is also the manager's process, for a test that kills it.
func TestMain(m *testing.M) {
	if dir := os.Getenv("TEST_MANAGER_DIR"); dir != "" {
		fmt.Println(Run(Config{Dir: dir, Socket: filepath.Join(dir, "s"), Accel: "tcg"}))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// bootISO makes a CD that says hello on the serial port, and then powers off or does nothing any more.
func bootISO(t *testing.T, dir, name string, powerOff bool) string {
	t.Helper()
	const sector = 2048
	code := []byte{
		0x31, 0xc0, // xor ax, ax
		0x8e, 0xd8, // mov ds, ax
		0xbe, 0x40, 0x7c, // mov si, text
		0xba, 0xf8, 0x03, // mov dx, COM1
		0xac,       // next: lodsb
		0x84, 0xc0, // test al, al
		0x74, 0x03, // jz done
		0xee,       // out dx, al
		0xeb, 0xf8, // jmp next
		// done:
	}
	if powerOff {
		code = append(code,
			0xba, 0x04, 0x06, // mov dx, the PM1a control block
			0xb8, 0x00, 0x20, // mov ax, sleep enable
			0xef) // out dx, ax
	}
	code = append(code, 0xf4, 0xeb, 0xfd) // hlt, and again
	iso := make([]byte, 24*sector)
	at := func(n int) []byte { return iso[n*sector:] }
	copy(at(16), "\x01CD001\x01")
	copy(at(17), "\x00CD001\x01EL TORITO SPECIFICATION")
	binary.LittleEndian.PutUint32(at(17)[0x47:], 19)
	copy(at(18), "\xffCD001\x01")
	catalog := at(19)
	catalog[0], catalog[30], catalog[31] = 1, 0x55, 0xaa
	sum := uint16(0) // of all words; it shall be zero
	for i := 0; i < 32; i += 2 {
		sum += binary.LittleEndian.Uint16(catalog[i:])
	}
	binary.LittleEndian.PutUint16(catalog[28:], -sum)
	catalog[32] = 0x88
	binary.LittleEndian.PutUint16(catalog[38:], 4)
	binary.LittleEndian.PutUint32(catalog[40:], 20)
	copy(at(20), code)
	copy(at(20)[0x40:], "hello\n\x00")
	file := filepath.Join(dir, name)
	if err := os.WriteFile(file, iso, 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

// vcenter is the other end of the line.
type vcenter struct {
	t    *testing.T
	dir  string
	conn net.Conn
	in   *bufio.Scanner
}

func newVCenter(t *testing.T, dir string) *vcenter {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		conn, err := net.Dial("unix", filepath.Join(dir, "s"))
		if err == nil {
			t.Cleanup(func() { conn.Close() })
			v := &vcenter{t, dir, conn, bufio.NewScanner(conn)}
			v.say(guestline.Message{Op: "sync"})
			return v
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

func (v *vcenter) say(m guestline.Message) {
	v.t.Helper()
	if err := json.NewEncoder(v.conn).Encode(m); err != nil {
		v.t.Fatal(err)
	}
}

func (v *vcenter) expect(op string, run int64) guestline.Message {
	v.t.Helper()
	_ = v.conn.SetReadDeadline(time.Now().Add(patience))
	var m guestline.Message
	if !v.in.Scan() {
		v.t.Fatalf("no line, want %s: %v", op, v.in.Err())
	}
	if err := json.Unmarshal(v.in.Bytes(), &m); err != nil {
		v.t.Fatal(err)
	}
	if m.Op != op || m.Run != run || m.VM != "vm-1" {
		v.t.Fatalf("got %+v, want %s of run %d", m, op, run)
	}
	return m
}

// powerOn boots a CD in a VM with a disk.
func (v *vcenter) powerOn(run int64, iso string) {
	v.t.Helper()
	disk := filepath.Join(v.dir, "disk.vmdk")
	if err := vmdk.CreateFlat(disk, filepath.Join(v.dir, "disk-flat.vmdk"), 1<<20); err != nil {
		v.t.Fatal(err)
	}
	v.say(guestline.Message{Op: "power_on", VM: "vm-1", Run: run, Name: "a/b", GuestInfo: map[string]string{"guestinfo.x": "v"},
		Hardware: &guestline.Hardware{UUID: "564d0000-0000-4000-8000-000000000001", CPUs: 1, MemoryMB: 16,
			Cdroms: []guestline.Cdrom{{File: iso, Controller: "ahci"}},
			Disks:  []guestline.Disk{{File: disk, Controller: "pvscsi", Unit: 0, Mode: "persistent", UUID: "6000C290-0000-4000-8000-000000000001"}}}})
}

// plug adds a disk to a VM that runs.
func (v *vcenter) plug(run int64, unit int) {
	v.t.Helper()
	disk := filepath.Join(v.dir, "plugged.vmdk")
	if err := vmdk.CreateFlat(disk, filepath.Join(v.dir, "plugged-flat.vmdk"), 1<<20); err != nil {
		v.t.Fatal(err)
	}
	v.say(guestline.Message{Op: "hardware", VM: "vm-1", Run: run, Hardware: &guestline.Hardware{
		Disks: []guestline.Disk{{File: filepath.Join(v.dir, "disk.vmdk"), Controller: "pvscsi", Unit: 0}, {File: disk, Controller: "pvscsi", Unit: unit}}}})
}

// opened waits until a QEMU has the file open.
func (v *vcenter) opened(name string) {
	v.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		links, _ := filepath.Glob("/proc/[0-9]*/fd/*")
		for _, link := range links {
			if file, err := os.Readlink(link); err == nil && file == filepath.Join(v.dir, name) {
				return
			}
		}
		if time.Now().After(deadline) {
			v.t.Fatalf("nobody has opened %s", name)
		}
	}
}

// greetings waits until the console has n of them.
func (v *vcenter) greetings(n int) {
	v.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		text, _ := os.ReadFile(filepath.Join(v.dir, "console", "a_b.log"))
		if got := strings.Count(string(text), "hello\n"); got == n {
			return
		}
		if time.Now().After(deadline) {
			v.t.Fatalf("the console says %q; want %d greetings", text, n)
		}
	}
}

func (v *vcenter) machines() []string {
	v.t.Helper()
	entries, err := os.ReadDir(filepath.Join(v.dir, "guests"))
	if err != nil {
		v.t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestGuestsInQemu(t *testing.T) {
	needQemu(t)
	dir := t.TempDir()
	off, halt := bootISO(t, dir, "off.iso", true), bootISO(t, dir, "halt,.iso", false)
	manager := exec.Command(os.Args[0])
	manager.Env = append(os.Environ(), "TEST_MANAGER_DIR="+dir)
	manager.Stdout, manager.Stderr = os.Stdout, os.Stderr
	if err := manager.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = manager.Process.Kill(); _ = manager.Wait() }()
	v := newVCenter(t, dir)

	v.powerOn(1, off)
	v.expect("net", 1)
	v.expect("powered_off", 1)
	v.greetings(1)
	// Until vCenter says that it knows, it is told again.
	v = newVCenter(t, dir)
	v.expect("powered_off", 1)
	v.say(guestline.Message{Op: "power_off", VM: "vm-1"})

	v.powerOn(2, halt)
	v.expect("net", 2)
	v.greetings(2)
	v.say(guestline.Message{Op: "reset", VM: "vm-1"})
	v.greetings(3)
	v.powerOn(2, halt) // it runs already
	v.plug(2, 4)
	v.opened("plugged-flat.vmdk")
	v.say(guestline.Message{Op: "power_off", VM: "vm-1"})
	v.powerOn(3, halt)
	v.expect("net", 3)
	v.greetings(4)
	if got := v.machines(); len(got) != 1 || got[0] != "vm-1.3" {
		t.Errorf("machines %v", got)
	}

	// QEMU does not outlive the manager, however that ends.
	pid := v.qemuPid("vm-1.3")
	if err := manager.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = manager.Wait()
	for deadline := time.Now().Add(patience); alive(pid); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("QEMU %d lives on", pid)
		}
	}
}

// qemuPid is the process of a machine.
func (v *vcenter) qemuPid(machine string) (pid int) {
	v.t.Helper()
	text, err := os.ReadFile(filepath.Join(v.dir, "guests", machine, "pid"))
	if err == nil {
		_, err = fmt.Sscan(string(text), &pid)
	}
	if err != nil {
		v.t.Fatal(err)
	}
	return pid
}

func alive(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && syscall.Kill(pid, 0) == nil && !strings.Contains(string(text), ") Z ")
}

// guest is a machine without QEMU, whose port a test holds.
func guest(t *testing.T) (*machine, *vcenter, *os.File) {
	t.Helper()
	m := newManager(Config{Dir: t.TempDir(), Accel: "tcg"})
	ours, theirs := net.Pipe()
	m.serve(ours)
	v := &vcenter{t, m.config.Dir, theirs, bufio.NewScanner(theirs)}
	g := &machine{vm: vm{Message: guestline.Message{VM: "vm-1", Run: 9, Name: "g"}}, manager: m, info: map[string]string{}}
	m.machines["vm-1"] = g
	end, port, err := socketPair()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { end.Close(); port.Close(); theirs.Close() })
	go g.listen(port)
	return g, v, end
}

func TestWhatAGuestSays(t *testing.T) {
	g, v, port := guest(t)
	fmt.Fprintln(port, `{"op":"set","guestinfo":{"guestinfo.a":"1"}}`)
	if m := v.expect("set", 9); m.GuestInfo["guestinfo.a"] != "1" {
		t.Errorf("got %+v", m)
	}
	// What is no message, or not the guest's to say, changes nothing.
	fmt.Fprintln(port, `half a li`)
	fmt.Fprintln(port, `{"op":"powered_off"}`)
	fmt.Fprintln(port, `{"op":"set","guestinfo":{"vch.pod":"x"}}`)
	fmt.Fprintln(port, strings.Repeat("x", 2*maxLine))
	fmt.Fprintln(port, `{"op":"net","vm":"vm-2","ip":["10.1.0.2"],"hostname":"h"}`)
	if m := v.expect("net", 9); m.IP[0] != "10.1.0.2" || m.Hostname != "h" {
		t.Errorf("got %+v", m)
	}

	// vCenter is told all of it again.
	go g.manager.sync()
	if m := v.expect("set", 9); m.GuestInfo["guestinfo.a"] != "1" || len(m.GuestInfo) != 1 {
		t.Errorf("got %+v", m)
	}
	v.expect("net", 9)
	g.event(event{Name: "RESET"})
	if m := v.expect("net", 9); len(m.IP) != 0 {
		t.Errorf("after a reset: %+v", m)
	}
}

func TestHardwareThatIsRefused(t *testing.T) {
	for what, h := range map[string]*guestline.Hardware{
		"nothing known":     nil,
		"another SCSI":      {Disks: []guestline.Disk{{Controller: "*types.VirtualLsiLogicController", File: "/dev/null", Mode: "persistent"}}},
		"a disk without it": {Disks: []guestline.Disk{{Controller: "pvscsi", File: "/no/such/disk", Mode: "persistent"}}},
		"a mode":            {Disks: []guestline.Disk{{Controller: "pvscsi", File: "/dev/null", Mode: "undoable"}}},
		"a card":            {Nics: []guestline.Nic{{Model: "*types.VirtualPCNet32"}}},
		"a drive":           {Cdroms: []guestline.Cdrom{{Controller: "pvscsi"}}},
	} {
		if args, err := (&vm{Message: guestline.Message{Hardware: h}, accel: "tcg"}).command(nil); err == nil {
			t.Errorf("%s: %v", what, args)
		}
	}
}

func TestFwCfg(t *testing.T) {
	args, tooLong, err := writeFwCfg(t.TempDir(), map[string]string{"guestinfo.b": "2", "guestinfo.a": "1", "guestinfo." + strings.Repeat("x", 60): ""})
	if err != nil || len(args) != 4 || len(tooLong) != 1 || !strings.HasPrefix(args[1], "name=opt/guestinfo.a,file=") {
		t.Errorf("%v, %v, %v", args, tooLong, err)
	}
}
