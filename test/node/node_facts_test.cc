#include "node/node_facts.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace vck::node {
namespace {

using ::testing::HasSubstr;
using HealthState = vsphere::Health::State;

TEST(NodeFacts, CapacityIsThePoolsAndGuestsTakeTheirShare) {
  vsphere::Health health{.state = HealthState::kOk};
  vsphere::Capacity capacity;
  capacity.effective_cpu_mhz = capacity.total_cpu_mhz = capacity.pool_max_cpu_mhz = 8000;
  capacity.cpu_cores = 4;
  capacity.effective_memory_mb = 1000;
  capacity.pool_max_memory_bytes = int64_t{1000} << 20;
  capacity.pool_used_memory_bytes = int64_t{250} << 20;
  capacity.datastores["datastore-1"] = {.name = "ds", .free_bytes = 25, .capacity_bytes = 100, .accessible = true};
  NodeFacts facts = MakeNodeFacts({.health = health,
                                   .capacity = &capacity,
                                   .pods = 3,
                                   .max_pods = 4000,
                                   .addresses = 254,
                                   .overhead = {.cpu_millis = 100, .memory_bytes = int64_t{64} << 20}});
  EXPECT_EQ(facts.capacity,
            (Resources{.cpu_millis = 4000, .memory_bytes = int64_t{1000} << 20, .ephemeral_bytes = 100, .pods = 254}));
  EXPECT_EQ(facts.allocatable.cpu_millis, 3700);
  EXPECT_EQ(facts.allocatable.memory_bytes, int64_t{1000 - 3 * 64} << 20);
  EXPECT_EQ(facts.memory_free_ratio, 0.75);
  EXPECT_EQ(facts.datastore_free_ratio, 0.25);
  EXPECT_TRUE(facts.has_pod_range && facts.vcenter_ok);
}

TEST(NodeFacts, NothingIsKnownBeforeVCenterHasAnswered) {
  vsphere::Health health;
  NodeFacts facts =
      MakeNodeFacts({.health = health, .pods = 1000, .max_pods = 10, .overhead = {.memory_bytes = int64_t{64} << 20}});
  EXPECT_TRUE(facts.vcenter_connecting);
  EXPECT_FALSE(facts.vcenter_ok || facts.inventory_synced || facts.has_pod_range);
  EXPECT_EQ(facts.capacity, Resources{.pods = 10});
  EXPECT_EQ(facts.allocatable, facts.capacity) << "not less than nothing";
}

TEST(NodeFacts, WhyVCenterIsOfNoUse) {
  struct Case {
    vsphere::Health health;
    std::string placement_error;
    bool ok, refuses;
    const char* message;
  };
  const Status error = absl::UnavailableError("no route");
  for (const Case& c : {Case{{.state = HealthState::kOk}, "", true, false, ""},
                        Case{{.state = HealthState::kOk}, "no such datastore", false, false, "no such datastore"},
                        Case{{.state = HealthState::kUnreachable, .error = error}, "", false, false, ": no route"},
                        Case{{.state = HealthState::kOk, .refusal = absl::UnauthenticatedError("password")},
                             "",
                             false,
                             true,
                             "invalid login; the session that there is goes on until it ends: password"}}) {
    NodeFacts facts = MakeNodeFacts({.health = c.health, .placement_error = c.placement_error});
    EXPECT_EQ(facts.vcenter_ok, c.ok) << c.message;
    EXPECT_EQ(facts.vcenter_refuses, c.refuses) << c.message;
    EXPECT_THAT(facts.vcenter_message, HasSubstr(c.message));
  }
}

}  // namespace
}  // namespace vck::node
