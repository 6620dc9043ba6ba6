#!/usr/bin/env python3
"""Writes test/vsphere/golden/requests.txt: how pyVmomi words the requests that lib/vimtypes words, for every method of allow.txt.

usage: golden.py [OUT]      (in an environment with pyvmomi 9.1)

test/vsphere/golden_test.cc makes the same calls and compares canonically, so that the test itself needs no Python.
"""
import datetime
import pathlib
import sys

from pyVmomi import SoapAdapter, vim, vmodl

stub = SoapAdapter.SoapStubAdapter(host="golden", version="vim.version.v7_0_3_2")
cases = []


def case(obj, method, *args, name=None):
    info = obj._GetMethodInfo(method)
    params = list(args) + [None] * (len(info.params) - len(args))
    # As ManagedObject does before it hands over to the stub.
    info_args = [None if a is None else a for a in params]
    text = stub.SerializeRequest(obj, info, info_args)
    cases.append((name or info.wsdlName, text.decode() if isinstance(text, bytes) else text))


def ref(kind, value):
    return kind(value, stub)


folder, pool, host = ref(vim.Folder, "group-v3"), ref(vim.ResourcePool, "resgroup-8"), ref(vim.HostSystem, "host-9")
vm, vm2, task = ref(vim.VirtualMachine, "vm-1"), ref(vim.VirtualMachine, "vm-2"), ref(vim.Task, "task-5")
dc, ds, cluster = ref(vim.Datacenter, "datacenter-2"), ref(vim.Datastore, "datastore-11"), ref(vim.ClusterComputeResource, "domain-c7")
instance = ref(vim.ServiceInstance, "ServiceInstance")
sessions, pc = ref(vim.SessionManager, "SessionManager"), ref(vmodl.query.PropertyCollector, "propertyCollector")
view = ref(vim.view.ListView, "listview-1")
lease, files = ref(vim.HttpNfcLease, "lease-1"), ref(vim.FileManager, "FileManager")
browser, events = ref(vim.host.DatastoreBrowser, "browser-1"), ref(vim.event.EventManager, "EventManager")
perf, index = ref(vim.PerformanceManager, "PerfMgr"), ref(vim.SearchIndex, "SearchIndex")
envb = ref(vim.EnvironmentBrowser, "envbrowser-7")

case(instance, "RetrieveContent")
case(instance, "CurrentTime")
case(sessions, "Login", "administrator@vsphere.local", "p<&>\"'w", None)
case(sessions, "Logout")
case(sessions, "SessionIsActive", "key-1", "user")
case(sessions, "AcquireGenericServiceTicket",
     vim.SessionManager.HttpServiceRequestSpec(method="httpPut", url="https://host/folder/a?dcPath=x&dsName=y"))

P = vmodl.query.PropertyCollector
traversal = P.TraversalSpec(name="children", type=vim.Folder, path="childEntity", skip=False, selectSet=[P.SelectionSpec(name="children")])
spec = P.FilterSpec(
    propSet=[P.PropertySpec(type=vim.VirtualMachine, all=False,
                            pathSet=["name", "runtime.powerState", 'config.extraConfig["vch.pod"]'])],
    objectSet=[P.ObjectSpec(obj=folder, skip=True, selectSet=[traversal])], reportMissingObjectsInResults=True)
case(pc, "CreatePropertyCollector")
case(pc, "Destroy")
case(pc, "CreateFilter", spec, False)
case(pc, "WaitForUpdatesEx", "12", P.WaitOptions(maxWaitSeconds=300, maxObjectUpdates=100))
case(pc, "WaitForUpdatesEx", "", None, name="WaitForUpdatesEx/first")
case(pc, "CancelWaitForUpdates")
case(pc, "RetrievePropertiesEx", [spec], P.RetrieveOptions(maxObjects=50))
case(pc, "ContinueRetrievePropertiesEx", "token-1")
case(pc, "CancelRetrievePropertiesEx", "token-1")
case(ref(P.Filter, "filter-1"), "Destroy")
case(ref(vim.view.ViewManager, "ViewManager"), "CreateListView", [vm, task])
case(view, "Modify", [task], [vm, vm2])
case(view, "Reset", [task])
case(ref(vim.view.View, "listview-1"), "Destroy")

V = vim.vm.device
disk = V.VirtualDisk(
    key=-10, controllerKey=-1, unitNumber=0, capacityInKB=1048576, capacityInBytes=1073741824,
    backing=V.VirtualDisk.FlatVer2BackingInfo(fileName="", datastore=ds, diskMode="persistent", thinProvisioned=True))
child = V.VirtualDisk(
    key=-11, controllerKey=-1, unitNumber=1, capacityInKB=2048, capacityInBytes=2097152,
    backing=V.VirtualDisk.FlatVer2BackingInfo(
        fileName="", datastore=ds, diskMode="persistent", thinProvisioned=True,
        parent=V.VirtualDisk.FlatVer2BackingInfo(fileName="[ds 1] images/a & b.vmdk", datastore=ds, diskMode="persistent")))
existing = V.VirtualDisk(
    key=-12, controllerKey=-1, unitNumber=2, capacityInKB=0,
    backing=V.VirtualDisk.FlatVer2BackingInfo(fileName="[ds 1] volumes/v.vmdk", diskMode="independent_persistent"))


def connected():
    return V.VirtualDevice.ConnectInfo(startConnected=True, allowGuestControl=True, connected=True)


def nic(backing):
    return V.VirtualVmxnet3(key=-4, backing=backing, connectable=connected(), addressType="generated")


def add(device, create=False):
    change = V.VirtualDeviceSpec(operation="add", device=device)
    if create:
        change.fileOperation = "create"
    return change


def config(network):
    devices = [add(V.ParaVirtualSCSIController(key=-1, busNumber=0, sharedBus="noSharing")), add(disk, True), add(child, True),
               add(existing), add(V.VirtualAHCIController(key=-2, busNumber=0)),
               add(V.VirtualCdrom(key=-3, controllerKey=-2, unitNumber=0, connectable=connected(),
                                  backing=V.VirtualCdrom.IsoBackingInfo(fileName="[ds 1] iso/bootstrap.iso"))), add(nic(network))]
    options = [("disk.EnableUUID", "TRUE"), ("answer.msg.disk.duplicateUUID", "Yes"), ("log.keepOld", "1"),
               ("vch.pod", "v1 a=b%20c"), ("guestinfo.vch.guest", "-")]
    return vim.vm.ConfigSpec(
        name="default-web-0123456789ab", version="vmx-14", guestId="otherLinux64Guest", annotation="a <pod>",
        files=vim.vm.FileInfo(vmPathName="[ds 1]"), flags=vim.vm.FlagInfo(diskUuidEnabled=True), numCPUs=2, memoryMB=512,
        cpuAllocation=vim.ResourceAllocationInfo(reservation=100, limit=2000),
        memoryAllocation=vim.ResourceAllocationInfo(reservation=256), firmware="bios",
        managedBy=vim.ext.ManagedByInfo(extensionKey="io.vch.kubelet", type="pod"), deviceChange=devices,
        bootOptions=vim.vm.BootOptions(bootOrder=[vim.vm.BootOptions.BootableCdromDevice()]),
        extraConfig=[vim.option.OptionValue(key=k, value=v) for k, v in options])


standard = V.VirtualEthernetCard.NetworkBackingInfo(deviceName="VM Network", network=ref(vim.Network, "network-4"))
port = V.VirtualEthernetCard.DistributedVirtualPortBackingInfo(
    port=vim.dvs.PortConnection(switchUuid="50 2c", portgroupKey="dvportgroup-3"))
opaque = V.VirtualEthernetCard.OpaqueNetworkBackingInfo(opaqueNetworkId="net-1", opaqueNetworkType="nsx.LogicalSwitch")
case(folder, "CreateFolder", "pods %2f")
case(folder, "CreateVm", config(standard), pool, host)
case(folder, "CreateVm", config(port), pool, None, name="CreateVM_Task/dvs")
case(folder, "CreateVm", config(opaque), pool, None, name="CreateVM_Task/opaque")
case(vm, "Destroy")
case(vm, "Rename", "new")
values = [("s", "text"), ("i", 1), ("b", True), ("e", "")]
case(vm, "Reconfigure", vim.vm.ConfigSpec(extraConfig=[vim.option.OptionValue(key=k, value=v) for k, v in values]))
case(vm, "PowerOn", None)
case(vm, "PowerOff")
case(vm, "Reset")
case(vm, "ShutdownGuest")
case(vm, "MarkAsTemplate")
case(vm, "MarkAsVirtualMachine", pool, host)
case(vm, "Unregister")
case(vm, "Answer", "question-1", "0")
case(dc, "PowerOnVm", [vm, vm2], [])


def allocation(limit):
    return vim.ResourceAllocationInfo(reservation=0, expandableReservation=True, limit=limit, shares=vim.SharesInfo(shares=0, level="normal"))


resources = vim.ResourceConfigSpec(cpuAllocation=allocation(-1), memoryAllocation=allocation(4096))
case(pool, "CreateResourcePool", "vch-1", resources)
case(pool, "UpdateConfig", None, resources)
case(pool, "ImportVApp", vim.vm.VmImportSpec(configSpec=vim.vm.ConfigSpec(name="image")), folder, None)
case(task, "Cancel")
case(envb, "QueryConfigOption", "vmx-13", host)
case(envb, "QueryConfigOptionDescriptor")
case(cluster, "PlaceVm", vim.cluster.PlacementSpec(configSpec=vim.vm.ConfigSpec(name="a"), datastores=[ds], placementType="create"))
case(index, "FindByInventoryPath", "/DC0/vm/a%2fb")
case(index, "FindChild", folder, "x")
case(index, "FindByUuid", dc, "4206", True, False)
case(lease, "Progress", 50)
case(lease, "Complete")
case(lease, "Abort", None)
case(files, "DeleteFile", "[ds] a", dc)
case(files, "MoveFile", "[ds] a", dc, "[ds] b", dc, True)
case(files, "CopyFile", "[ds] a", dc, "[ds] b", dc, False)
case(files, "MakeDirectory", "[ds] d", dc, True)
B = vim.host.DatastoreBrowser
search = B.SearchSpec(details=B.FileInfo.Details(fileType=True, fileSize=True, modification=True, fileOwner=False), matchPattern=["*.log"])
case(browser, "Search", "[ds] d", search)
case(browser, "SearchSubFolders", "[ds] d", search)
E = vim.event.EventFilterSpec
events_of = E(entity=E.ByEntity(entity=folder, recursion="all"), eventTypeId=["VmPoweredOnEvent"], maxCount=10)
case(events, "QueryEvent", events_of)
case(events, "CreateCollector", events_of)
case(ref(vim.event.EventHistoryCollector, "collector-1"), "ReadNext", 10)
case(ref(vim.HistoryCollector, "collector-1"), "Remove")
case(perf, "QueryCounter", [1, 2])
case(perf, "QueryAvailableMetric", host, None, None, 20)
M = vim.PerformanceManager
case(perf, "QueryStats", [M.QuerySpec(entity=vm, maxSample=1, metricId=[M.MetricId(counterId=6, instance="")], intervalId=20, format="normal")])
case(perf, "QueryProviderSummary", host)
case(ref(vim.AuthorizationManager, "AuthorizationManager"), "FetchUserPrivilegeOnEntities", [folder, pool], "VSPHERE.LOCAL\\vch")

out = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).resolve().parents[2] / "test/vsphere/golden/requests.txt")
out.write_text("".join(f"== {name}\n{' '.join(text.split(chr(10)))}\n" for name, text in cases))
print(len(cases), "requests")
