package main

// edit replaces one place of a file of the simulator. Old must occur in it exactly once; why says what is wrong with it.
type edit struct {
	file, why, old, new string
}

var edits = []edit{
	{"property_collector.go", "collects a whole filter for each update, knows no versions",
		"func (pc *PropertyCollector) WaitForUpdatesEx(", "func (pc *PropertyCollector) labReplacedWaitForUpdatesEx("},
	{"property_collector.go", "state of the replacement",
		"\tcancel  context.CancelFunc\n}", "\tcancel  context.CancelFunc\n\tlab     labCollector\n}"},
	{"property_collector.go", "a waiting call must learn of an update",
		"\tpc.updates = append(pc.updates, u)\n", "\tpc.updates = append(pc.updates, u)\n\tpc.labSignal()\n"},
	{"property_collector.go", "a waiting call must learn of a filter",
		"\tpc.Filter = append(pc.Filter, ctx.Session.Put(filter).Reference())\n", "\tpc.labAddFilter(ctx.Session.Put(filter).Reference())\n"},
	{"property_collector.go", "the collector is known by its listener",
		"\tctx.Map.RemoveHandler(pc)\n", "\tpc.labClose(false)\n"},

	{"property_filter.go", "state of the replacement",
		"\tsync bool\n}", "\tsync bool\n\tlab  labFilter\n}"},
	{"property_filter.go", "takes the filter's lock while a view's is held, and elsewhere the other way round: a deadlock",
		"ctx.WithLock(f, func() { f.sync = true })", "f.lab.moved.Store(true)"},
	{"property_filter.go", "changes a list that others read",
		"\tctx.WithLock(f.pc, func() {\n\t\tRemoveReference(&f.pc.Filter, c.This)\n\t})\n", "\tf.pc.labRemoveFilter(c.This)\n"},

	{"session_manager.go", "a session's collectors and filters outlive it",
		"\tdelete(m.sessions, id)\n", "\tm.labForget(id)\n\tdelete(m.sessions, id)\n"},

	{"registry.go", "a panic leaves the object locked for ever",
		"\tunlock := r.AcquireLock(onBehalfOf, obj)\n\tf()\n\tunlock()\n", "\tunlock := r.AcquireLock(onBehalfOf, obj)\n\tdefer unlock()\n\tf()\n"},

	{"task.go", "the lab decides whether a task may start and how long it lasts",
		"\tgo func() {\n\t\tTaskDelay.delay(t.Info.Name)\n",
		"\trefused := simhook.Active.TaskStarts(t.Self, *t.Info.Entity, t.Info.Name, ctx)\n\tgo func() {\n\t\tif refused == nil {\n\t\t\tsimhook.Active.Delay(t.Info.Name)\n\t\t}\n"},
	{"task.go", "a panic in a task ends the process",
		"\t\tres, err := t.Execute(t)\n\t\tunlock()\n", "\t\tres, err := t.labExecute(refused)\n\t\tunlock()\n"},
	{"task.go", "import of the hooks",
		"\t\"github.com/vmware/govmomi/vim25\"\n", "\t\"github.com/vmware/govmomi/vim25\"\n\t\"vch-kubelet/tools/labd/simhook\"\n"},

	{"folder.go", "accepts duplicate names, unknown datastores and guest ids",
		"\tvm, err := NewVirtualMachine(c.ctx, c.Folder.Self, &c.req.Config)\n",
		"\tif fault := c.labCheck(); fault != nil {\n\t\treturn nil, fault\n\t}\n\n\tvm, err := NewVirtualMachine(c.ctx, c.Folder.Self, &c.req.Config)\n"},
	{"virtual_machine.go", "shows VMs that are half made, and never the rest",
		"\tref := ctx.Map.reference(vm)\n\n\tfolder := ctx.Map.Get(parent)\n",
		"\tref := ctx.Map.reference(vm)\n\tlabHold(ctx, ref)\n\n\tfolder := ctx.Map.Get(parent)\n"},
	{"virtual_machine.go", "keeps the parents of linked disks for ever",
		"\t\terr := vm.svm.remove(ctx)\n\t\tif err != nil {\n\t\t\treturn nil, &types.RuntimeFault{",
		"\t\tvm.labDeleteOrphans(ctx, dc.Self)\n\n\t\terr := vm.svm.remove(ctx)\n\t\tif err != nil {\n\t\t\treturn nil, &types.RuntimeFault{"},
	{"virtual_machine.go", "powers off at once, without a guest",
		") ShutdownGuest(", ") labReplacedShutdownGuest("},
	{"virtual_machine.go", "does nothing to the guest",
		") RebootGuest(", ") labReplacedRebootGuest("},
	{"virtual_machine.go", "powers the VM off and on",
		") ResetVMTask(", ") labReplacedResetVMTask("},
	{"virtual_machine.go", "changes properties without a word",
		") MarkAsTemplate(", ") labMarkAsTemplate("},
	{"virtual_machine.go", "changes properties without a word",
		") MarkAsVirtualMachine(", ") labMarkAsVirtualMachine("},
	{"virtual_machine.go", "calls what takes a context now",
		"clone.MarkAsTemplate(&types.MarkAsTemplate{This: clone.Self})", "clone.MarkAsTemplate(ctx, &types.MarkAsTemplate{This: clone.Self})"},
}
