//go:build overlay

// These tests need the simulator as the lab builds it; `tools/lab test` runs them.

package vcenter

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vmware/govmomi/fault"
	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"

	"vch-kubelet/tools/labd/internal/pki"
)

const testTimeout = 60 * time.Second

// world is a vCenter with one client.
type world struct {
	t      *testing.T
	server *Server
	config Config
	caFile string
	ctx    context.Context

	*Client
	folder *object.Folder
	pool   *object.ResourcePool
}

func newWorld(t *testing.T) *world {
	t.Helper()
	dir := t.TempDir()
	ca, err := pki.NewCA(dir, "test")
	must(t, err)
	cert, key, err := ca.Issue("vcenter", pki.Subject{User: "vcenter", Hosts: []string{"127.0.0.1"}})
	must(t, err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	address := listener.Addr().String()
	listener.Close()
	t.Setenv("TMPDIR", dir)
	config := Config{Address: address, CertFile: cert, KeyFile: key, User: "u", Password: "p", DatastoreDir: filepath.Join(dir, "ds")}
	must(t, os.Mkdir(config.DatastoreDir, 0o755))
	server, err := newServer(config)
	must(t, err)
	must(t, server.door.open())
	t.Cleanup(server.door.shut)
	w := &world{t: t, server: server, config: config, caFile: ca.CertFile()}
	w.Client = w.login()
	w.ctx = w.Client.ctx
	finder := find.NewFinder(w.Client.Client.Client)
	dc, err := finder.Datacenter(w.ctx, "DC0")
	must(t, err)
	finder.SetDatacenter(dc)
	w.folder, err = finder.Folder(w.ctx, "vm")
	must(t, err)
	w.pool, err = finder.ResourcePool(w.ctx, "*/Resources")
	must(t, err)
	return w
}

func (w *world) login() *Client {
	w.t.Helper()
	c, err := Login(w.config, w.caFile, testTimeout)
	must(w.t, err)
	w.t.Cleanup(c.cancel)
	return c
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// expectFault checks that err is the vim fault that want is an example of.
func expectFault(t *testing.T, err error, want types.BaseMethodFault) {
	t.Helper()
	found := false
	if err != nil {
		fault.In(err, func(f types.BaseMethodFault, _ string, _ []types.LocalizableMessage) bool {
			found = found || reflect.TypeOf(f) == reflect.TypeOf(want)
			return found
		})
	}
	if !found {
		t.Errorf("got %v, want %T", err, want)
	}
}

func (w *world) spec(name string) types.VirtualMachineConfigSpec {
	return types.VirtualMachineConfigSpec{
		Name: name, GuestId: "otherLinux64Guest", NumCPUs: 1, MemoryMB: 64,
		Files:       &types.VirtualMachineFileInfo{VmPathName: "[LocalDS_0]"},
		ExtraConfig: []types.BaseOptionValue{&types.OptionValue{Key: "guestinfo.known", Value: "-"}},
	}
}

// disk adds a disk, which is a child of parent if that is given.
func disk(spec *types.VirtualMachineConfigSpec, parent string) {
	backing := &types.VirtualDiskFlatVer2BackingInfo{DiskMode: "persistent"}
	backing.FileName = "[LocalDS_0]"
	if parent != "" {
		backing.Parent = &types.VirtualDiskFlatVer2BackingInfo{}
		backing.Parent.FileName = parent
	}
	scsi := &types.ParaVirtualSCSIController{}
	scsi.Key, scsi.SharedBus = -1, types.VirtualSCSISharingNoSharing
	d := &types.VirtualDisk{CapacityInBytes: 1 << 20}
	d.Key, d.ControllerKey, d.UnitNumber, d.Backing = -2, -1, types.NewInt32(0), backing
	spec.DeviceChange = append(spec.DeviceChange,
		&types.VirtualDeviceConfigSpec{Operation: types.VirtualDeviceConfigSpecOperationAdd, Device: scsi},
		&types.VirtualDeviceConfigSpec{Operation: types.VirtualDeviceConfigSpecOperationAdd, FileOperation: types.VirtualDeviceConfigSpecFileOperationCreate, Device: d})
}

func (w *world) create(spec types.VirtualMachineConfigSpec) (*object.VirtualMachine, error) {
	task, err := w.folder.CreateVM(w.ctx, spec, w.pool, nil)
	if err != nil {
		return nil, err
	}
	info, err := task.WaitForResult(w.ctx)
	if err != nil {
		return nil, err
	}
	return object.NewVirtualMachine(w.Client.Client.Client, info.Result.(types.ManagedObjectReference)), nil
}

func (w *world) mustCreate(name string) *object.VirtualMachine {
	w.t.Helper()
	vm, err := w.create(w.spec(name))
	must(w.t, err)
	return vm
}

// done waits for a task: done(vm.PowerOn(ctx)).
func (w *world) done(task *object.Task, err error) error {
	if err != nil {
		return err
	}
	return task.Wait(w.ctx)
}

func TestCreateRefusesWhatVCenterRefuses(t *testing.T) {
	w := newWorld(t)
	w.mustCreate("one")
	_, err := w.create(w.spec("one"))
	expectFault(t, err, &types.DuplicateName{})

	spec := w.spec("two")
	spec.Files.VmPathName = "[nowhere]"
	_, err = w.create(spec)
	expectFault(t, err, &types.InvalidDatastore{})

	spec = w.spec("three")
	spec.GuestId = "plan9"
	_, err = w.create(spec)
	expectFault(t, err, &types.InvalidArgument{})

	_, err = w.server.setStrict(map[string]bool{"duplicate-name": false})
	must(t, err)
	w.mustCreate("one")
}

func TestOnlyOneOfManyWithTheSameName(t *testing.T) {
	w := newWorld(t)
	var wg sync.WaitGroup
	var mu sync.Mutex
	made := 0
	for range 20 {
		wg.Go(func() {
			if _, err := w.create(w.spec("same")); err == nil {
				mu.Lock()
				made++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if made != 1 {
		t.Errorf("%d VMs of one name", made)
	}
}

func TestPowerStates(t *testing.T) {
	w := newWorld(t)
	vm := w.mustCreate("one")
	expectFault(t, w.done(vm.PowerOff(w.ctx)), &types.InvalidPowerState{})
	must(t, w.done(vm.PowerOn(w.ctx)))
	expectFault(t, w.done(vm.PowerOn(w.ctx)), &types.InvalidPowerState{})
	expectFault(t, w.done(vm.Destroy(w.ctx)), &types.InvalidPowerState{})
	_, err := methods.ShutdownGuest(w.ctx, w.Client, &types.ShutdownGuest{This: vm.Reference()})
	expectFault(t, err, &types.ToolsUnavailable{})
	must(t, w.done(vm.PowerOff(w.ctx)))
	must(t, w.done(vm.Destroy(w.ctx)))
	entries, err := os.ReadDir(w.config.DatastoreDir)
	if err != nil || len(entries) != 0 {
		t.Errorf("left on the datastore: %v, %v", entries, err)
	}
}

func TestTaskInProgress(t *testing.T) {
	w := newWorld(t)
	vm := w.mustCreate("one")
	_, err := w.server.setDelays("on=500ms")
	must(t, err)
	task, err := vm.PowerOn(w.ctx)
	must(t, err)
	expectFault(t, w.done(vm.Reconfigure(w.ctx, types.VirtualMachineConfigSpec{Annotation: "x"})), &types.TaskInProgress{})
	must(t, task.Wait(w.ctx))
	must(t, w.done(vm.Reconfigure(w.ctx, types.VirtualMachineConfigSpec{Annotation: "x"})))
}

func TestDelaysOverlap(t *testing.T) {
	w := newWorld(t)
	_, err := w.server.setDelays("create=300ms")
	must(t, err)
	begin := time.Now()
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() { w.mustCreate(fmt.Sprint("vm", i)) })
	}
	wg.Wait()
	if took := time.Since(begin); took < 300*time.Millisecond || took > 3*time.Second {
		t.Errorf("20 tasks of 300 ms side by side took %v", took)
	}
}

func TestPanicInTaskIsAFault(t *testing.T) {
	w := newWorld(t)
	vm := w.mustCreate("image")
	must(t, vm.MarkAsTemplate(w.ctx))
	dc, err := find.NewFinder(w.Client.Client.Client).Datacenter(w.ctx, "DC0")
	must(t, err)
	// The simulator follows a nil pointer when a VM cannot be powered on.
	expectFault(t, w.done(dc.PowerOnVM(w.ctx, []types.ManagedObjectReference{vm.Reference()})), &types.SystemError{})
	w.mustCreate("after")
}

func TestParentDiskGoesWithItsLastUser(t *testing.T) {
	w := newWorld(t)
	spec := w.spec("anchor")
	disk(&spec, "")
	anchor, err := w.create(spec)
	must(t, err)
	parent := "[LocalDS_0] anchor/anchor.vmdk"
	file := filepath.Join(w.config.DatastoreDir, "anchor", "anchor.vmdk")
	child := func(name string) *object.VirtualMachine {
		spec := w.spec(name)
		disk(&spec, parent)
		vm, err := w.create(spec)
		must(t, err)
		return vm
	}
	exists := func() bool { _, err := os.Stat(file); return err == nil }

	must(t, w.done(child("a").Destroy(w.ctx)))
	if !exists() {
		t.Fatal("the parent is gone while its anchor is registered")
	}
	b, c := child("b"), child("c")
	must(t, anchor.Unregister(w.ctx))
	must(t, w.done(b.Destroy(w.ctx)))
	if !exists() {
		t.Fatal("the parent is gone while a child is registered")
	}
	must(t, w.done(c.Destroy(w.ctx)))
	if exists() {
		t.Error("the parent survives the last VM that used it")
	}
}

// testGuests is the guests' end of the line.
type testGuests struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Scanner
}

func (w *world) guests() *testGuests {
	w.t.Helper()
	socket := filepath.Join(w.t.TempDir(), "s")
	listener, err := net.Listen("unix", socket)
	must(w.t, err)
	go w.server.guests.connect(socket)
	conn, err := listener.Accept()
	must(w.t, err)
	listener.Close()
	w.t.Cleanup(func() { conn.Close() })
	g := &testGuests{w.t, conn, bufio.NewScanner(conn)}
	g.expect("sync", "")
	return g
}

func (g *testGuests) expect(op, vm string) message {
	g.t.Helper()
	_ = g.conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	var m message
	if !g.in.Scan() {
		g.t.Fatalf("no line, want %s: %v", op, g.in.Err())
	}
	must(g.t, json.Unmarshal(g.in.Bytes(), &m))
	if m.Op != op || m.VM != vm {
		g.t.Fatalf("got %+v, want %s of %q", m, op, vm)
	}
	return m
}

func (g *testGuests) say(m message) {
	g.t.Helper()
	line, err := json.Marshal(m)
	must(g.t, err)
	_, err = g.conn.Write(append(line, '\n'))
	must(g.t, err)
}

// eventually waits until the VM looks as wanted.
func (w *world) eventually(vm *object.VirtualMachine, what string, ok func(*mo.VirtualMachine) bool) {
	w.t.Helper()
	err := property.Wait(w.ctx, property.DefaultCollector(w.Client.Client.Client), vm.Reference(),
		[]string{"config.extraConfig", "guest", "runtime.powerState"}, func([]types.PropertyChange) bool {
			var now mo.VirtualMachine
			must(w.t, vm.Properties(w.ctx, vm.Reference(), []string{"config.extraConfig", "guest", "runtime.powerState"}, &now))
			return ok(&now)
		})
	if err != nil {
		w.t.Fatalf("%s: %v", what, err)
	}
}

func extraConfig(m *mo.VirtualMachine, key string) string {
	for _, o := range m.Config.ExtraConfig {
		if v := o.GetOptionValue(); v.Key == key {
			return fmt.Sprint(v.Value)
		}
	}
	return "(none)"
}

func TestGuests(t *testing.T) {
	w := newWorld(t)
	g := w.guests()
	vm := w.mustCreate("one")
	id := vm.Reference().Value
	must(t, w.done(vm.PowerOn(w.ctx)))
	if m := g.expect("power_on", id); m.Name != "one" || m.GuestInfo["guestinfo.known"] != "-" || len(m.GuestInfo) != 1 {
		t.Errorf("power_on said %+v", m)
	}
	g.say(message{Op: "set", VM: id, GuestInfo: map[string]string{"guestinfo.known": "said", "guestinfo.new": "made"}})
	w.eventually(vm, "guestinfo", func(m *mo.VirtualMachine) bool {
		return extraConfig(m, "guestinfo.known") == "said" && extraConfig(m, "guestinfo.new") == "made"
	})
	g.say(message{Op: "net", VM: id, IP: []string{"127.9.0.5"}, Hostname: "pod"})
	w.eventually(vm, "address", func(m *mo.VirtualMachine) bool {
		return m.Guest.IpAddress == "127.9.0.5" && len(m.Guest.Net) == 1 && m.Guest.ToolsRunningStatus == "guestToolsRunning"
	})

	must(t, w.done(vm.Reset(w.ctx)))
	g.expect("reset", id)
	_, err := methods.ShutdownGuest(w.ctx, w.Client, &types.ShutdownGuest{This: vm.Reference()})
	must(t, err)
	g.expect("shutdown", id)
	g.say(message{Op: "powered_off", VM: id})
	w.eventually(vm, "off", func(m *mo.VirtualMachine) bool {
		return m.Runtime.PowerState == types.VirtualMachinePowerStatePoweredOff
	})
	g.expect("power_off", id)
	w.eventually(vm, "reset state", func(m *mo.VirtualMachine) bool {
		return extraConfig(m, "guestinfo.new") == "(none)" && extraConfig(m, "guestinfo.known") == "said" &&
			m.Guest.IpAddress == "" && m.Guest.ToolsRunningStatus == "guestToolsNotRunning"
	})
	g.say(message{Op: "set", VM: id, GuestInfo: map[string]string{"guestinfo.late": "x"}})
	must(t, w.done(vm.Destroy(w.ctx)))
}

func TestSessionsExpire(t *testing.T) {
	w := newWorld(t)
	pc := w.watch("name")
	first, err := w.wait(pc, "", 5)
	must(t, err)
	failed := make(chan error)
	go func() {
		_, err := w.wait(pc, first.Version, 30)
		failed <- err
	}()
	for w.server.stats.snapshot().Calls["WaitForUpdatesEx"] < 2 {
		time.Sleep(time.Millisecond)
	}
	w.server.expireSessions()
	expectFault(t, <-failed, &types.NotAuthenticated{})
	var folder mo.Folder
	expectFault(t, w.folder.Properties(w.ctx, w.folder.Reference(), []string{"name"}, &folder), &types.NotAuthenticated{})
	must(t, w.Client.Login(w.ctx, url.UserPassword(w.config.User, w.config.Password)))
	must(t, w.folder.Properties(w.ctx, w.folder.Reference(), []string{"name"}, &folder))
}

func TestOutageKeepsInventory(t *testing.T) {
	w := newWorld(t)
	w.mustCreate("one")
	w.server.door.shut()
	w.server.expireSessions()
	if _, err := Login(w.config, w.caFile, time.Second); err == nil {
		t.Fatal("a door that is shut lets people in")
	}
	must(t, w.server.door.open())
	all, err := w.login().List()
	if err != nil || len(all) != 1 || all[0].Name != "one" {
		t.Errorf("after the outage: %v, %v", all, err)
	}
}

func TestFilesNeedASession(t *testing.T) {
	w := newWorld(t)
	must(t, os.WriteFile(filepath.Join(w.config.DatastoreDir, "f"), []byte("text"), 0o644))
	get := func() int {
		t.Helper()
		req, err := http.NewRequest(http.MethodGet, "https://"+w.config.Address+"/folder/f?dcPath=DC0&dsName=LocalDS_0", nil)
		must(t, err)
		res, err := w.Client.Client.Client.Client.Client.Do(req) // the HTTP client, with the session's cookie
		must(t, err)
		res.Body.Close()
		return res.StatusCode
	}
	if code := get(); code != http.StatusOK {
		t.Errorf("with a session: %d", code)
	}
	w.server.expireSessions()
	if code := get(); code != http.StatusUnauthorized {
		t.Errorf("without a session: %d", code)
	}
}

func TestWrongPassword(t *testing.T) {
	w := newWorld(t)
	wrong := w.config
	wrong.Password = "guess"
	_, err := Login(wrong, w.caFile, time.Second)
	expectFault(t, err, &types.InvalidLogin{})
}

func TestFaultRules(t *testing.T) {
	w := newWorld(t)
	vm := w.mustCreate("one")
	_, err := w.server.addFault(FaultRule{Method: "PowerOnVM_Task", Fault: "InsufficientResourcesFault", Probability: 1, Skip: 1, Count: 1})
	must(t, err)
	must(t, w.done(vm.PowerOn(w.ctx)))
	expectFault(t, w.done(vm.PowerOn(w.ctx)), &types.InsufficientResourcesFault{})
	expectFault(t, w.done(vm.PowerOn(w.ctx)), &types.InvalidPowerState{})
	if rules := w.server.listFaults(); len(rules) != 1 || rules[0].Hits != 1 {
		t.Errorf("rules %+v", rules)
	}
	w.server.clearFaults()
	if _, err := w.server.addFault(FaultRule{Fault: "NoSuchThing"}); err == nil || !strings.Contains(err.Error(), "NoSuchThing") {
		t.Errorf("an unknown fault: %v", err)
	}
}
