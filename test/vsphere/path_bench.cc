// What a pod's way through the vSphere layer costs without the network: the request bodies of create and power-on, and
// the update sets that tell of the VM and its tasks. For valgrind --tool=callgrind; prints times as well.
//   path_bench [ROUNDS]
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "vimtypes/methods.gen.h"
#include "vimtypes/soap.h"
#include "vimtypes/vm_spec.h"
#include "vsphere/update_set.h"

namespace vck::vsphere {
namespace {

const RecordKeys kKeys{.pod = "vch.pod", .guest = "guestinfo.vch.guest"};
const std::string kPodKeyText =
    "v1 vch=vch-0123456789ab pod=11111111-2222-3333-4444-555555555555 ns=default name=web-6d5f8c7b9d-x2x4z "
    "ip=10.244.1.17 node=vch1 images=registry.example.com/team/web:1.27|registry.example.com/team/web@sha256:"
    "3d6f6e0c2f4a1b5c8d7e9f00112233445566778899aabbccddeeff0011223344,|";

__attribute__((noinline)) std::string CreateRequest(int i) {
  vim::VmSpec vm;
  vm.name = absl::StrCat("default-web-6d5f8c7b9d-x2x4z-0123456789", 10 + i % 90);
  vm.datastore = "vsanDatastore";
  vm.guest_id = "other5xLinux64Guest";
  vm.hardware_version = "vmx-19";
  vm.memory_mb = 384;
  vm.memory_reservation_mb = 192;
  vm.cpu_reservation_mhz = 250;
  vm.cpu_limit_mhz = 1200;
  vm.annotation = "Pod default/web-6d5f8c7b9d-x2x4z of node vch1";
  vm.iso = "[vsanDatastore] vch/bootstrap.iso";
  vm.network = vim::DistributedPort{.switch_uuid = "50 2e 11 22 33 44 55 66-77 88 99 aa bb cc dd ee",
                                    .portgroup_key = "dvportgroup-1017"};
  vm.disks = {{.parent = "[vsanDatastore] image-0123456789ab/image-0123456789ab.vmdk", .parent_bytes = 64 << 20},
              {.new_bytes = 1 << 30}};
  // The boot configuration is JSON with a certificate: quotes and newlines.
  std::string boot = R"({"version":1,"pod":"11111111-2222-3333-4444-555555555555","address":"10.244.1.17/20","ca":")";
  for (int line = 0; line < 12; ++line) boot += "MIIBfTCCASOgAwIBAgIUQ2VydGlmaWNhdGVPZlRoZUt1YmVsZXQwCgYIKoZIzj0E\\n";
  boot += R"("})";
  vm.extra_config = {{"vch.pod", kPodKeyText},
                     {"vch.role", "pod"},
                     {"guestinfo.vch.config", boot},
                     {"guestinfo.vch.guest", "-"},
                     {"guest_rpc.rpci.auth.cmd.info-set", "TRUE"},
                     {"guest_rpc.rpci.auth.cmd.info-get", "TRUE"},
                     {"vch.id", "vch-0123456789ab"}};
  auto call = vim::CreateVM_Task({.type = "Folder", .value = "group-v1021"}, vim::BuildConfigSpec(vm).value(),
                                 {.type = "ResourcePool", .value = "resgroup-1023"}, std::nullopt);
  return vim::Envelope(call.body);
}

__attribute__((noinline)) std::string PowerOnRequest() {
  std::vector<MoRef> vms;
  for (int i = 0; i < 64; ++i) vms.push_back({.type = "VirtualMachine", .value = absl::StrCat("vm-", 1000 + i)});
  auto call = vim::PowerOnMultiVM_Task({.type = "Datacenter", .value = "datacenter-3"}, vms, {});
  return vim::Envelope(call.body);
}

std::string Change(std::string_view name, std::string_view type, std::string_view value) {
  return absl::StrCat("<changeSet><name>", name, "</name><op>assign</op><val xsi:type=\"", type, "\">", value,
                      "</val></changeSet>");
}

// What one pod brings in its life up: the VM enters, its tasks end, it is on, its guest announces itself.
std::string Updates(int pods) {
  std::string objects;
  for (int i = 0; i < pods; ++i) {
    std::string vm = absl::StrCat("<obj type=\"VirtualMachine\">vm-", 1000 + i, "</obj>");
    auto option = [](std::string_view key, std::string_view value) {
      return absl::StrCat("<key>", key, "</key><value xsi:type=\"xsd:string\">", value, "</value>");
    };
    absl::StrAppend(
        &objects, "<objectSet><kind>enter</kind>", vm,
        Change("config.extraConfig[\"guestinfo.vch.guest\"]", "OptionValue", option("guestinfo.vch.guest", "-")),
        Change("config.extraConfig[\"vch.pod\"]", "OptionValue", option("vch.pod", kPodKeyText)),
        Change("config.files.vmPathName", "xsd:string", "[vsanDatastore] default-web/default-web.vmx"),
        Change("config.template", "xsd:boolean", "false"), Change("name", "xsd:string", "default-web-6d5f8c7b9d-x2x4z"),
        Change("runtime.connectionState", "VirtualMachineConnectionState", "connected"),
        "<changeSet><name>runtime.host</name><op>assign</op><val type=\"HostSystem\" "
        "xsi:type=\"ManagedObjectReference\">host-12</val></changeSet>",
        Change("runtime.powerState", "VirtualMachinePowerState", "poweredOff"), "</objectSet>");
    for (const char* task : {"task-1", "task-2"}) {
      absl::StrAppend(&objects, "<objectSet><kind>modify</kind><obj type=\"Task\">", task, i, "</obj>",
                      "<changeSet><name>info.result</name><op>assign</op><val type=\"VirtualMachine\" "
                      "xsi:type=\"ManagedObjectReference\">vm-1000</val></changeSet>",
                      Change("info.state", "TaskInfoState", "success"), "</objectSet>");
    }
    absl::StrAppend(&objects, "<objectSet><kind>modify</kind>", vm,
                    Change("runtime.powerState", "VirtualMachinePowerState", "poweredOn"), "</objectSet>",
                    "<objectSet><kind>modify</kind>", vm,
                    Change("config.extraConfig[\"guestinfo.vch.guest\"]", "OptionValue",
                           option("guestinfo.vch.guest", std::string(180, 'a'))),
                    "</objectSet>");
  }
  return absl::StrCat(
      "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<soapenv:Envelope xmlns:soapenc=\"http://schemas.xmlsoap.org/soap/"
      "encoding/\" xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\" xmlns:xsd=\"http://www.w3.org/2001/"
      "XMLSchema\" xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\"><soapenv:Body><WaitForUpdatesExResponse "
      "xmlns=\"urn:vim25\"><returnval><version>17</version><filterSet><filter type=\"PropertyFilter\">f</filter>",
      objects, "</filterSet></returnval></WaitForUpdatesExResponse></soapenv:Body></soapenv:Envelope>");
}

__attribute__((noinline)) size_t ParseUpdates(std::string text) {
  auto reply = vim::Reply::Parse(std::move(text));
  auto set = ParseUpdateSet(*reply);
  size_t size = 0;
  vim::VmRecord record;
  for (const ObjectChange& change : (*set)->objects) {
    if (change.object.type == "VirtualMachine") {
      ApplyChange(kKeys, change, record);
      size += record.pod_key.size();
    } else {
      TaskProgress task;
      ApplyChange(change, task);
      size += static_cast<size_t>(task.done());
    }
  }
  return size;
}

template <class Fn>
void Measure(const char* what, int rounds, Fn fn) {
  auto start = std::chrono::steady_clock::now();
  size_t bytes = 0;
  for (int i = 0; i < rounds; ++i) bytes += fn(i);
  std::chrono::duration<double, std::micro> took = std::chrono::steady_clock::now() - start;
  std::printf("%-28s %8.1f us, %zu\n", what, took.count() / rounds, bytes / static_cast<size_t>(rounds));
}

}  // namespace
}  // namespace vck::vsphere

int main(int argc, char** argv) {
  using namespace vck::vsphere;
  const int rounds = argc > 1 ? std::atoi(argv[1]) : 1000;
  const std::string one = Updates(1), many = Updates(50);
  Measure("create request", rounds, [](int i) { return CreateRequest(i).size(); });
  Measure("power-on of 64, a 64th", rounds, [](int) { return PowerOnRequest().size() / 64; });
  Measure("updates of one pod", rounds, [&](int) { return ParseUpdates(one); });
  Measure("updates of 50 pods at once", rounds, [&](int) { return ParseUpdates(many); });
}
