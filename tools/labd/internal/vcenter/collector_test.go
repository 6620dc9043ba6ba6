//go:build overlay

package vcenter

import (
	"fmt"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/view"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/types"
)

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
