#include "guestos/modules.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace vck::guestos {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr const char* kDep =
    "ext4.ko: mbcache.ko jbd2.ko crc16.ko\n"
    "mbcache.ko:\n"
    "kernel/fs/jbd2/jbd2.ko:\n"
    "crc16.ko:\n"
    "nft_chain_nat.ko: nf_nat.ko nf_tables.ko\n"
    "nf_nat.ko: nf_conntrack.ko\n"
    "nf_conntrack.ko:\n"
    "nf_tables.ko: nf-net-link.ko\n"
    "nf-net-link.ko:\n"
    "a.ko: b.ko\n"
    "b.ko: a.ko\n"
    "broken.ko: missing.ko\n"
    "no colon here\n";
constexpr const char* kAlias =
    "# comment\n"
    "alias fs-ext3 ext4\n"
    "alias nft-chain-2-nat nft_chain_nat\n"
    "alias pci:v000015ADd000007B0sv*sd*bc*sc*i* vmxnet3\n"
    "alias ip_conntrack nf_conntrack\n"
    "alias broken\n";

std::vector<std::string> Names(const std::vector<std::string>& wanted) {
  auto order = ModuleIndex::Parse(kDep, kAlias).LoadOrder(wanted);
  EXPECT_TRUE(order.ok()) << order.status();
  std::vector<std::string> out;
  for (const auto& module : order.value_or(std::vector<ModuleIndex::Module>{})) out.push_back(module.name);
  return out;
}

TEST(Modules, WhatIsNeededComesFirstAndOnce) {
  EXPECT_THAT(Names({"ext4"}), ElementsAre("mbcache", "jbd2", "crc16", "ext4"));
  EXPECT_THAT(Names({"jbd2", "ext4", "ext4"}), ElementsAre("jbd2", "mbcache", "crc16", "ext4"));
  EXPECT_THAT(Names({"nft_chain_nat"}),
              ElementsAre("nf_conntrack", "nf_nat", "nf_net_link", "nf_tables", "nft_chain_nat"));
  EXPECT_THAT(Names({}), IsEmpty());
}

TEST(Modules, DashesAreUnderscores) {
  EXPECT_THAT(Names({"nf-nat"}), ElementsAre("nf_conntrack", "nf_nat"));
  EXPECT_THAT(Names({"nf_net_link"}), ElementsAre("nf_net_link"));
}

TEST(Modules, PathsAreKept) {
  auto order = ModuleIndex::Parse(kDep, "").LoadOrder({"jbd2"});
  ASSERT_TRUE(order.ok());
  EXPECT_EQ(order->front().path, "kernel/fs/jbd2/jbd2.ko");
}

TEST(Modules, UnknownOnesAndCirclesAreErrors) {
  ModuleIndex index = ModuleIndex::Parse(kDep, kAlias);
  EXPECT_EQ(index.LoadOrder({"nothing"}).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(index.LoadOrder({"broken"}).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(index.LoadOrder({"a"}).status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST(Modules, AliasesResolve) {
  ModuleIndex index = ModuleIndex::Parse(kDep, kAlias);
  EXPECT_THAT(index.Resolve("ext4"), ElementsAre("ext4"));
  EXPECT_THAT(index.Resolve("fs-ext3"), ElementsAre("ext4"));
  EXPECT_THAT(index.Resolve("nft-chain-2-nat"), ElementsAre("nft_chain_nat"));
  EXPECT_THAT(index.Resolve("ip-conntrack"), ElementsAre("nf_conntrack"));
  EXPECT_THAT(index.Resolve("pci:v000015ADd000007B0sv000015ADsd000007B0bc02sc00i00"), ElementsAre("vmxnet3"));
  EXPECT_THAT(index.Resolve("pci:v000015ADd000007B1sv000015ADsd000007B0bc02sc00i00"), IsEmpty());
  EXPECT_THAT(index.Resolve("fs-xfs"), IsEmpty());
}

TEST(Modules, ParametersOfTheCommandLine) {
  constexpr const char* kLine = "console=ttyS0 scsi_mod.scan=sync vmxnet3.debug=1 scsi-mod.max_luns=8 quiet\n";
  EXPECT_EQ(ModuleParameters(kLine, "scsi_mod"), "scan=sync max_luns=8");
  EXPECT_EQ(ModuleParameters(kLine, "vmxnet3"), "debug=1");
  EXPECT_EQ(ModuleParameters(kLine, "ext4"), "");
}

}  // namespace
}  // namespace vck::guestos
