#include "podvm/vm_spec.h"

#include <gtest/gtest.h>

namespace vck::podvm {
namespace {

struct Built {
  explicit Built(std::string_view spec, VmSettings settings = {}, const std::vector<ImageDisk>& images = {}) {
    auto pod = json::Parse(absl::StrCat(R"({"spec":)", spec, "}"));
    EXPECT_TRUE(pod.ok());
    kubeapi::PodView view(*pod);
    settings.datastore = "ds1";
    size = SizeOf(view, settings);
    config = BuildCreateSpec(view, {.name = "n-p-1", .pod_key = "v1 vch=v7 uid=u ns=n name=p", .boot_config = "{}"},
                             settings, images);
  }
  [[nodiscard]] std::string Extra(std::string_view key) const {
    std::string found;
    for (const auto& option : config.extraConfig) {
      if (option.key != key) continue;
      EXPECT_TRUE(found.empty()) << key << " twice";
      found = std::get<std::string>(option.value);
    }
    return found;
  }
  VmSize size;
  vimtypes::VirtualMachineConfigSpec config;
};

TEST(VmSpec, SizeFollowsThePod) {
  Built b(
      R"({"containers":[{"name":"a","resources":{"limits":{"memory":"100Mi","cpu":"1500m"},"requests":{"memory":"50Mi","cpu":"250m"}}}]})",
      {.cpu_mhz_per_core = 2000, .guest_overhead_bytes = 65 << 20});
  EXPECT_EQ(b.size.memory_mb, 168);  // 165 rounded up
  EXPECT_EQ(b.size.memory_reservation_mb, 115);
  EXPECT_EQ(b.size.cpus, 2);
  EXPECT_EQ(b.size.cpu_reservation_mhz, 500);
  EXPECT_EQ(b.size.cpu_limit_mhz, 3000);
  EXPECT_EQ(b.config.memoryMB, 168);
  EXPECT_EQ(b.config.memoryAllocation->reservation, 115);
  EXPECT_FALSE(b.config.memoryAllocation->limit);
  EXPECT_EQ(b.config.cpuAllocation->limit, 3000);
}

TEST(VmSpec, TheGuestsOverheadIsOnTop) {
  constexpr std::string_view kTwo =
      R"({"containers":[{"name":"a","resources":{"limits":{"cpu":"2"},"requests":{"cpu":"250m"}}}]})";
  Built b(kTwo, {.cpu_mhz_per_core = 2000, .guest_overhead_cpu_milli = 100});
  EXPECT_EQ(b.size.cpus, 3) << "its containers may still use two";
  EXPECT_EQ(b.size.cpu_reservation_mhz, 700);
  EXPECT_EQ(b.size.cpu_limit_mhz, 4200);
  Built none(R"({"containers":[{"name":"a"}]})", {.default_cpu_milli = 900, .guest_overhead_cpu_milli = 100});
  EXPECT_EQ(none.size.cpus, 1);
  EXPECT_EQ(none.size.cpu_reservation_mhz, 0) << "what asks for nothing is promised nothing";
  EXPECT_EQ(none.size.cpu_limit_mhz, -1);
}

TEST(VmSpec, DefaultsAreForWhatIsNotStated) {
  Built none(R"({"containers":[{"name":"a"},{"name":"b"}]})",
             {.default_memory_bytes = 256 << 20, .guest_overhead_bytes = 64 << 20});
  EXPECT_EQ(none.size.memory_mb, 320);
  EXPECT_EQ(none.size.memory_reservation_mb, 0);
  EXPECT_EQ(none.size.cpus, 1);
  EXPECT_EQ(none.size.cpu_reservation_mhz, 0);
  EXPECT_EQ(none.size.cpu_limit_mhz, -1);
  // One that states a small limit does not shrink the room of one that states nothing.
  Built mixed(R"({"containers":[{"name":"a","resources":{"limits":{"memory":"32Mi"}}},{"name":"b"}]})",
              {.default_memory_bytes = 256 << 20, .guest_overhead_bytes = 0});
  EXPECT_EQ(mixed.size.memory_mb, 288);
  // However little it wants: its guest has to boot.
  Built tiny(R"({"containers":[{"name":"a","resources":{"limits":{"memory":"8Mi"}}}]})",
             {.guest_overhead_bytes = 64 << 20});
  EXPECT_EQ(tiny.size.memory_mb, 128);
  Built huge(R"({"containers":[{"name":"a","resources":{"limits":{"memory":"100Ei","cpu":"1e30"}}}]})");
  EXPECT_EQ(huge.size.cpus, 128);
  EXPECT_EQ(huge.size.memory_mb % 4, 0);
}

int64_t ScratchMiB(std::string_view spec, int64_t default_mib = 1024) {
  return Built(spec, {.default_ephemeral_bytes = default_mib << 20}).size.scratch_bytes >> 20;
}

TEST(VmSpec, TheScratchDiskHasRoomForWhatIsAskedAndForItsFileSystem) {
  // 1 GiB, a 32nd of it, and 64 MiB.
  EXPECT_EQ(ScratchMiB(R"({"containers":[{"name":"a"}]})"), 1024 + 32 + 64);
  EXPECT_EQ(ScratchMiB(R"({"containers":[{"name":"a"}]})", 0), 0);
  const std::string limited =
      R"({"containers":[{"name":"a","resources":{"requests":{"ephemeral-storage":"1Gi"},"limits":{"ephemeral-storage":"4Gi"}}},)"
      R"({"name":"b","resources":{"requests":{"ephemeral-storage":"4Gi"}}}])";
  EXPECT_EQ(ScratchMiB(limited + "}"), 8192 + 256 + 64);
  // Volumes live in what the containers may use, unless they were promised more; those in memory do not count.
  auto with_volume = [&](std::string_view volume) { return absl::StrCat(limited, R"(,"volumes":[)", volume, "]}"); };
  EXPECT_EQ(ScratchMiB(with_volume(R"({"name":"v","emptyDir":{"sizeLimit":"2Gi"}})")), 8192 + 256 + 64);
  EXPECT_EQ(ScratchMiB(with_volume(R"({"name":"v","emptyDir":{"sizeLimit":"15Gi"}})")), 16384 + 512 + 64);
  EXPECT_EQ(ScratchMiB(with_volume(R"({"name":"v","emptyDir":{"sizeLimit":"15Gi","medium":"Memory"}})")),
            8192 + 256 + 64);
  // However little is asked for, and however much.
  EXPECT_EQ(ScratchMiB(R"({"containers":[{"name":"a","resources":{"limits":{"ephemeral-storage":"1Mi"}}}]})"), 256);
  EXPECT_EQ(ScratchMiB(R"({"containers":[{"name":"a","resources":{"limits":{"ephemeral-storage":"100Ei"}}}]})"),
            int64_t{62} << 20);
  // It is the disk after those of the images.
  Built b(limited + "}", {}, {{.parent_path = "[ds1] i.vmdk", .capacity_bytes = 1 << 20}});
  std::vector<int64_t> kib;
  for (const auto& change : b.config.deviceChange) {
    if (const auto* disk = dynamic_cast<const vimtypes::VirtualDisk*>(change.device.get()); disk != nullptr)
      kib.push_back(disk->capacityInKB);
  }
  EXPECT_EQ(kib, (std::vector<int64_t>{1024, b.size.scratch_bytes >> 10}));
}

TEST(VmSpec, WhatIsAlwaysThere) {
  Built b("{}",
          {.hardware_version = "vmx-19",
           .iso_path = "[ds1] boot.iso",
           .default_ephemeral_bytes = 1 << 20,
           .extra_config = {{"vch.pod", "forged"}, {"my.key", "x"}}},
          {{.parent_path = "[ds1] i.vmdk", .capacity_bytes = 1 << 20}});
  EXPECT_EQ(b.config.firmware, "bios");
  EXPECT_EQ(b.config.version, "vmx-19");
  EXPECT_EQ(b.Extra("vch.pod"), "v1 vch=v7 uid=u ns=n name=p");
  EXPECT_EQ(b.Extra("vch.id"), "v7");
  EXPECT_EQ(b.Extra("vch.role"), "pod");
  EXPECT_EQ(b.Extra("guestinfo.vch.config"), "{}");
  EXPECT_EQ(b.Extra("guestinfo.vch.guest"), "-");
  EXPECT_EQ(b.Extra("answer.msg.disk.duplicateUUID"), "Yes");
  EXPECT_EQ(b.Extra("disk.EnableUUID"), "TRUE");
  EXPECT_EQ(b.Extra("vmprov.keepDisks"), "");  // its disks go with it
  EXPECT_EQ(b.Extra("log.keepOld"), "1");
  EXPECT_EQ(b.Extra("guest_rpc.rpci.auth.cmd.info-set"), "TRUE");
  EXPECT_EQ(b.Extra("my.key"), "x");
  std::string devices;
  for (const auto& change : b.config.deviceChange) absl::StrAppend(&devices, change.device->TypeName(), " ");
  EXPECT_EQ(devices,
            "ParaVirtualSCSIController VirtualDisk VirtualDisk VirtualAHCIController VirtualCdrom VirtualVmxnet3 ");
}

TEST(VmSpec, NetworkBackings) {
  auto backing = [](NetworkBacking network) {
    Built b("{}", {.network = std::move(network)});
    return std::string(b.config.deviceChange.back().device->backing->TypeName());
  };
  EXPECT_EQ(backing(StandardNetwork{.name = "VM Network"}), "VirtualEthernetCardNetworkBackingInfo");
  EXPECT_EQ(backing(DistributedNetwork{.switch_uuid = "u", .portgroup_key = "k"}),
            "VirtualEthernetCardDistributedVirtualPortBackingInfo");
  EXPECT_EQ(backing(OpaqueNetwork{.id = "i", .type = "nsx"}), "VirtualEthernetCardOpaqueNetworkBackingInfo");
}

}  // namespace
}  // namespace vck::podvm
