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
	"github.com/vmware/govmomi/view"
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
	go w.server.guests.run(socket)
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

// watch makes a filter on a folder's VMs, as a controller does, and returns its collector.
func (w *world) watch(paths ...string) *property.Collector {
	w.t.Helper()
	pc, err := property.DefaultCollector(w.Client.Client.Client).Create(w.ctx)
	must(w.t, err)
	_, err = pc.CreateFilter(w.ctx, types.CreateFilter{Spec: types.PropertyFilterSpec{
		ObjectSet: []types.ObjectSpec{{Obj: w.folder.Reference(), Skip: types.NewBool(true),
			SelectSet: []types.BaseSelectionSpec{&types.TraversalSpec{Type: "Folder", Path: "childEntity"}}}},
		PropSet: []types.PropertySpec{{Type: "VirtualMachine", PathSet: paths}},
	}})
	must(w.t, err)
	return pc
}

func (w *world) wait(pc *property.Collector, version string, seconds int32) (*types.UpdateSet, error) {
	res, err := methods.WaitForUpdatesEx(w.ctx, w.Client, &types.WaitForUpdatesEx{This: pc.Reference(), Version: version,
		Options: &types.WaitOptions{MaxWaitSeconds: &seconds}})
	if err != nil {
		return nil, err
	}
	return res.Returnval, nil
}

func TestCollectorVersions(t *testing.T) {
	w := newWorld(t)
	vm := w.mustCreate("one")
	pc := w.watch("name", "runtime.powerState", `config.extraConfig["guestinfo.known"]`)
	first, err := w.wait(pc, "", 5)
	must(t, err)
	if len(first.FilterSet) != 1 || len(first.FilterSet[0].ObjectSet) != 1 || len(first.FilterSet[0].ObjectSet[0].ChangeSet) != 3 {
		t.Fatalf("first state %+v", first)
	}
	must(t, w.done(vm.PowerOn(w.ctx)))
	second, err := w.wait(pc, first.Version, 5)
	must(t, err)
	change := second.FilterSet[0].ObjectSet[0]
	if change.Kind != types.ObjectUpdateKindModify || change.ChangeSet[0].Name != "runtime.powerState" || change.ChangeSet[0].Val != types.VirtualMachinePowerStatePoweredOn {
		t.Errorf("after power on: %+v", change)
	}
	again, err := w.wait(pc, first.Version, 5)
	if err != nil || again.Version != second.Version || !reflect.DeepEqual(again, second) {
		t.Errorf("asked again: %+v, %v", again, err)
	}
	if none, err := w.wait(pc, second.Version, 1); none != nil || err != nil {
		t.Errorf("nothing happened: %+v, %v", none, err)
	}
	anew, err := w.wait(pc, "", 5)
	if err != nil || len(anew.FilterSet) != 1 || anew.FilterSet[0].ObjectSet[0].Kind != types.ObjectUpdateKindEnter {
		t.Errorf("started anew: %+v, %v", anew, err)
	}
	_, err = w.wait(pc, "4711", 5)
	expectFault(t, err, &types.InvalidCollectorVersion{})

	must(t, w.done(vm.PowerOff(w.ctx)))
	must(t, w.done(vm.Destroy(w.ctx)))
	for version := anew.Version; ; {
		set, err := w.wait(pc, version, 5)
		must(t, err)
		if set == nil {
			t.Fatal("no object left")
		}
		if set.FilterSet[0].ObjectSet[0].Kind == types.ObjectUpdateKindLeave {
			break
		}
		version = set.Version
	}
}

// A controller watches its tasks through one list view that it changes as they come and go.
func TestListViewOfTasks(t *testing.T) {
	w := newWorld(t)
	vm := w.mustCreate("one")
	list, err := view.NewManager(w.Client.Client.Client).CreateListView(w.ctx, nil)
	must(t, err)
	pc, err := property.DefaultCollector(w.Client.Client.Client).Create(w.ctx)
	must(t, err)
	_, err = pc.CreateFilter(w.ctx, types.CreateFilter{Spec: types.PropertyFilterSpec{
		ObjectSet: []types.ObjectSpec{{Obj: list.Reference(), Skip: types.NewBool(true),
			SelectSet: []types.BaseSelectionSpec{&types.TraversalSpec{Type: "ListView", Path: "view"}}}},
		PropSet: []types.PropertySpec{{Type: "Task", PathSet: []string{"info.state", "info.error"}}},
	}})
	must(t, err)
	set, err := w.wait(pc, "", 5)
	must(t, err)

	_, err = w.server.setDelays("on=200ms")
	must(t, err)
	task, err := vm.PowerOn(w.ctx)
	must(t, err)
	_, err = list.Add(w.ctx, []types.ManagedObjectReference{task.Reference()})
	must(t, err)
	for state := types.TaskInfoState(""); state != types.TaskInfoStateSuccess; {
		set, err = w.wait(pc, set.Version, 5)
		must(t, err)
		if set == nil {
			t.Fatalf("the task's state stays %q", state)
		}
		update := set.FilterSet[0].ObjectSet[0]
		if update.Obj != task.Reference() {
			t.Fatalf("update of %v", update.Obj)
		}
		for _, change := range update.ChangeSet {
			if change.Name == "info.state" {
				state = change.Val.(types.TaskInfoState)
			}
		}
	}
	_, err = list.Remove(w.ctx, []types.ManagedObjectReference{task.Reference()})
	must(t, err)
	set, err = w.wait(pc, set.Version, 5)
	must(t, err)
	if set == nil || set.FilterSet[0].ObjectSet[0].Kind != types.ObjectUpdateKindLeave {
		t.Errorf("after the task was taken from the list: %+v", set)
	}
}

func TestSecondWaitCancelsTheFirst(t *testing.T) {
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
	_, err = w.wait(pc, first.Version, 0)
	must(t, err)
	expectFault(t, <-failed, &types.RequestCanceled{})
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

// A container view that is watched while VMs come and go made the plain simulator freeze.
func TestWatchedContainerViewDoesNotFreeze(t *testing.T) {
	w := newWorld(t)
	v, err := view.NewManager(w.Client.Client.Client).CreateContainerView(w.ctx, w.Client.ServiceContent.RootFolder, []string{"VirtualMachine"}, true)
	must(t, err)
	seen, left := map[types.ManagedObjectReference]bool{}, map[types.ManagedObjectReference]bool{}
	const vms = 60
	var filter property.WaitFilter
	filter.Add(v.Reference(), "VirtualMachine", []string{"name", "runtime.powerState"}, v.TraversalSpec())
	watching := make(chan error, 1)
	go func() {
		watching <- property.WaitForUpdates(w.ctx, property.DefaultCollector(w.Client.Client.Client), &filter, func(updates []types.ObjectUpdate) bool {
			for _, u := range updates {
				switch u.Kind {
				case types.ObjectUpdateKindEnter:
					seen[u.Obj] = true
				case types.ObjectUpdateKindLeave:
					left[u.Obj] = true
				}
			}
			return len(left) == vms
		})
	}()
	var wg sync.WaitGroup
	for worker := range 6 {
		wg.Go(func() {
			for i := range vms / 6 {
				vm, err := w.create(w.spec(fmt.Sprintf("vm-%d-%d", worker, i)))
				if err == nil {
					err = w.done(vm.PowerOn(w.ctx))
				}
				time.Sleep(30 * time.Millisecond) // long enough to be seen
				if err == nil {
					err = w.done(vm.PowerOff(w.ctx))
				}
				if err == nil {
					err = w.done(vm.Destroy(w.ctx))
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	select {
	case err := <-watching:
		must(t, err)
	case <-time.After(20 * time.Second):
		t.Errorf("seen %d, left %d of %d VMs", len(seen), len(left), vms)
	}
}
