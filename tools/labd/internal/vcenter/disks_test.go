//go:build overlay

package vcenter

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"

	"vch-kubelet/tools/labd/internal/guestline"
	"vch-kubelet/tools/labd/internal/vmdk"
)

// files returns what is on the datastore.
func (w *world) files() []string {
	w.t.Helper()
	var all []string
	must(w.t, filepath.WalkDir(w.config.DatastoreDir, func(path string, _ os.DirEntry, err error) error {
		if name, _ := filepath.Rel(w.config.DatastoreDir, path); name != "." {
			all = append(all, name)
		}
		return err
	}))
	return all
}

func TestDisksAreReal(t *testing.T) {
	w := newWorld(t)
	spec := w.spec("a")
	disk(&spec, "")
	vm, err := w.create(spec)
	must(t, err)
	info, err := os.Stat(filepath.Join(w.config.DatastoreDir, "a", "a-flat.vmdk"))
	if err != nil || info.Size() != 1<<20 {
		t.Fatalf("the disk's data: %v, %v", info, err)
	}
	spec = w.spec("b")
	disk(&spec, "[LocalDS_0] a/a.vmdk")
	b, err := w.create(spec)
	must(t, err)
	text, err := os.ReadFile(filepath.Join(w.config.DatastoreDir, "b", "b.vmdk"))
	if err != nil || !strings.Contains(string(text), `parentFileNameHint="../a/a.vmdk"`) {
		t.Errorf("the child is %q, %v", text, err)
	}
	must(t, w.done(b.PowerOn(w.ctx)))
	must(t, w.done(b.PowerOff(w.ctx)))
	hidden := filepath.Join(w.config.DatastoreDir, "a", "a-flat.vmdk")
	must(t, os.Rename(hidden, hidden+".away"))
	expectFault(t, w.done(b.PowerOn(w.ctx)), &types.FileNotFound{})
	must(t, os.Rename(hidden+".away", hidden))

	must(t, w.done(vm.Destroy(w.ctx)))
	if got := w.files(); !slices.Contains(got, "a/a.vmdk") || !slices.Contains(got, "a/a-flat.vmdk") || slices.Contains(got, "a/a.vmx") {
		t.Errorf("after its own VM, a parent has %v", got)
	}
	must(t, w.done(b.Destroy(w.ctx)))
	if got := w.files(); len(got) != 0 {
		t.Errorf("after the last child there is %v", got)
	}
}

func TestHardwareOfAGuest(t *testing.T) {
	w := newWorld(t)
	g := w.guests()
	spec := w.spec("one")
	spec.NumCPUs, spec.MemoryMB = 2, 128
	disk(&spec, "")
	sata := &types.VirtualAHCIController{}
	sata.Key = -5
	cdrom := &types.VirtualCdrom{}
	cdrom.Key, cdrom.ControllerKey, cdrom.UnitNumber = -6, -5, types.NewInt32(0)
	cdrom.Backing = &types.VirtualCdromIsoBackingInfo{VirtualDeviceFileBackingInfo: types.VirtualDeviceFileBackingInfo{FileName: "[LocalDS_0] vch/boot.iso"}}
	cdrom.Connectable = &types.VirtualDeviceConnectInfo{StartConnected: true}
	nic := &types.VirtualVmxnet3{}
	nic.Key = -7
	nic.Backing = &types.VirtualEthernetCardNetworkBackingInfo{VirtualDeviceDeviceBackingInfo: types.VirtualDeviceDeviceBackingInfo{DeviceName: "VM Network"}}
	for _, d := range []types.BaseVirtualDevice{sata, cdrom, nic} {
		spec.DeviceChange = append(spec.DeviceChange, &types.VirtualDeviceConfigSpec{Operation: types.VirtualDeviceConfigSpecOperationAdd, Device: d})
	}
	vm, err := w.create(spec)
	must(t, err)
	must(t, w.done(vm.PowerOn(w.ctx)))
	first := g.expect("power_on", vm.Reference().Value)
	h := first.Hardware
	if h == nil || h.CPUs != 2 || h.MemoryMB != 128 || len(h.Cdroms) != 1 || len(h.Disks) != 1 || len(h.Nics) != 1 {
		t.Fatalf("hardware %+v", h)
	}
	dir := w.config.DatastoreDir
	if want := (guestline.Cdrom{File: filepath.Join(dir, "vch", "boot.iso"), Controller: "ahci"}); h.Cdroms[0] != want {
		t.Errorf("got %+v, want %+v", h.Cdroms[0], want)
	}
	if d := h.Disks[0]; d.File != filepath.Join(dir, "one", "one.vmdk") || d.Controller != "pvscsi" || d.Unit != 0 || d.Mode != "persistent" || d.UUID == "" {
		t.Errorf("disk %+v", d)
	}
	if n := h.Nics[0]; n.Model != "vmxnet3" || n.MAC == "" || n.Network != "VM Network" {
		t.Errorf("card %+v", n)
	}

	// What an earlier run said last does not count for a later one.
	must(t, w.done(vm.PowerOff(w.ctx)))
	g.expect("power_off", vm.Reference().Value)
	must(t, w.done(vm.PowerOn(w.ctx)))
	second := g.expect("power_on", vm.Reference().Value)
	if first.Run == second.Run || first.Run == 0 {
		t.Fatalf("runs %d and %d", first.Run, second.Run)
	}
	var more types.VirtualMachineConfigSpec
	disk(&more, "")
	added := more.DeviceChange[len(more.DeviceChange)-1].GetVirtualDeviceConfigSpec().Device.(*types.VirtualDisk)
	added.ControllerKey, added.UnitNumber = 1000, types.NewInt32(3)
	more.DeviceChange = more.DeviceChange[len(more.DeviceChange)-1:]
	must(t, w.done(vm.Reconfigure(w.ctx, more)))
	plugged := g.expect("hardware", vm.Reference().Value)
	if plugged.Run != second.Run || plugged.Hardware == nil || len(plugged.Hardware.Disks) != 2 || plugged.Hardware.Disks[1].Unit != 3 {
		t.Fatalf("after a disk was added: %+v", plugged.Hardware)
	}
	if _, err := os.Stat(plugged.Hardware.Disks[1].File); err != nil {
		t.Error(err)
	}
	g.say(message{Op: "powered_off", VM: vm.Reference().Value, Run: first.Run})
	g.say(message{Op: "net", VM: vm.Reference().Value, Run: second.Run, IP: []string{"10.0.0.2"}})
	w.eventually(vm, "address", func(m *mo.VirtualMachine) bool {
		return m.Runtime.PowerState == types.VirtualMachinePowerStatePoweredOn && m.Guest.IpAddress == "10.0.0.2"
	})
}

// startImport begins an import of a VM with one disk of a MiB and returns its lease, ready.
func (w *world) startImport(name string) (types.ManagedObjectReference, types.HttpNfcLeaseInfo) {
	w.t.Helper()
	spec := w.spec(name)
	disk(&spec, "")
	folder := w.folder.Reference()
	res, err := methods.ImportVApp(w.ctx, w.Client, &types.ImportVApp{This: w.pool.Reference(), Folder: &folder, Spec: &types.VirtualMachineImportSpec{ConfigSpec: spec}})
	must(w.t, err)
	for {
		lease := w.lease(res.Returnval)
		if lease.State == types.HttpNfcLeaseStateError {
			w.t.Fatalf("lease: %+v", lease.Error)
		}
		if lease.State == types.HttpNfcLeaseStateReady {
			return res.Returnval, *lease.Info
		}
		time.Sleep(time.Millisecond)
	}
}

func (w *world) lease(ref types.ManagedObjectReference) (lease mo.HttpNfcLease) {
	w.t.Helper()
	must(w.t, object.NewCommon(w.Client.Client.Client, ref).Properties(w.ctx, ref, []string{"state", "info", "error"}, &lease))
	return lease
}

func (w *world) put(info types.HttpNfcLeaseInfo, data []byte) int {
	w.t.Helper()
	for _, u := range info.DeviceUrl {
		if u.Disk == nil || !*u.Disk {
			continue
		}
		req, err := http.NewRequest(http.MethodPut, u.Url, bytes.NewReader(data))
		must(w.t, err)
		res, err := w.Client.Client.Client.Client.Client.Do(req)
		must(w.t, err)
		res.Body.Close()
		return res.StatusCode
	}
	w.t.Fatal("the lease has no disk")
	return 0
}

func TestImport(t *testing.T) {
	w := newWorld(t)
	data := bytes.Repeat([]byte{5}, 100<<10)
	ref, info := w.startImport("image")
	if code := w.put(info, []byte("no disk at all")); code < 400 {
		t.Errorf("nonsense was answered %d", code)
	}
	if code := w.put(info, vmdk.Pack(data, 2<<20)); code < 400 {
		t.Errorf("a disk of twice the size was answered %d", code)
	}
	if code := w.put(info, vmdk.Pack(data, 1<<20)); code != http.StatusOK {
		t.Fatalf("the upload was answered %d", code)
	}
	_, err := methods.HttpNfcLeaseComplete(w.ctx, w.Client, &types.HttpNfcLeaseComplete{This: ref})
	must(t, err)
	got, err := os.ReadFile(filepath.Join(w.config.DatastoreDir, "image", "image-flat.vmdk"))
	if err != nil || len(got) != 1<<20 || !bytes.Equal(got[:len(data)], data) || len(bytes.Trim(got[len(data):], "\x00")) != 0 {
		t.Errorf("the disk has %d bytes and other data, or %v", len(got), err)
	}
}

func TestImportThatIsAborted(t *testing.T) {
	w := newWorld(t)
	ref, info := w.startImport("image")
	if code := w.put(info, vmdk.Pack(nil, 1<<20)); code != http.StatusOK {
		t.Fatalf("the upload was answered %d", code)
	}
	_, err := methods.HttpNfcLeaseAbort(w.ctx, w.Client, &types.HttpNfcLeaseAbort{This: ref})
	must(t, err)
	w.untilEmpty()
}

func TestImportThatIsForgotten(t *testing.T) {
	w := newWorld(t)
	w.server.leaseTimeout = 50 * time.Millisecond
	ref, _ := w.startImport("image")
	w.untilEmpty()
	if lease := w.lease(ref); lease.State != types.HttpNfcLeaseStateError {
		t.Errorf("the lease is %s", lease.State)
	}
	_, err := methods.HttpNfcLeaseComplete(w.ctx, w.Client, &types.HttpNfcLeaseComplete{This: ref})
	expectFault(t, err, &types.InvalidState{})
}

// untilEmpty waits until neither VMs nor files are left.
func (w *world) untilEmpty() {
	w.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		vms, err := w.List()
		must(w.t, err)
		files := w.files()
		if len(vms) == 0 && len(files) == 0 {
			return
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("left are %v and %v", vms, files)
		}
	}
}

func TestPoolOfATemplate(t *testing.T) {
	w := newWorld(t)
	child, err := w.pool.Create(w.ctx, "child", types.DefaultResourceConfigSpec())
	must(t, err)
	root := w.pool
	w.pool = child
	vm := w.mustCreate("image")
	members := func(pool *object.ResourcePool) int {
		var p mo.ResourcePool
		must(t, pool.Properties(w.ctx, pool.Reference(), []string{"vm"}, &p))
		return len(p.Vm)
	}
	must(t, vm.MarkAsTemplate(w.ctx))
	if n := members(child); n != 0 {
		t.Errorf("a template is one of %d VMs of the pool", n)
	}
	must(t, vm.MarkAsVirtualMachine(w.ctx, *child, nil))
	if n := members(child); n != 1 {
		t.Errorf("the pool has %d VMs", n)
	}
	must(t, vm.MarkAsTemplate(w.ctx))
	must(t, w.done(vm.Destroy(w.ctx)))
	must(t, w.done(child.Destroy(w.ctx)))
	if n := members(root); n != 0 {
		t.Errorf("the root pool has %d VMs", n)
	}
}
