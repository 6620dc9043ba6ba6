#include "node/vm_reconciler.h"

#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_replace.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "http/message.h"
#include "node/fake_links.h"
#include "support/loop.h"
#include "vch/keys.h"
#include "vch/names.h"
#include "vch/pod_key.h"
#include "vimtypes/faults.h"

namespace vck::node {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using vck::testing::Loop;
using vimtypes::MoRef;
using vimtypes::PowerState;
using vimtypes::VmRecord;

// A vCenter whose inventory shows what was done as soon as it was done, unless `lag` is set.
class FakeOps : public VmOps {
 public:
  explicit FakeOps(VmIndex::Store& vms) : vms_(vms) {}
  Task<StatusOr<MoRef>> Create(vimtypes::VirtualMachineConfigSpec spec) override {
    calls.push_back("create");
    if (!next_create.ok()) {
      Status status = std::exchange(next_create, absl::OkStatus());
      if (create_happened_anyway) Add(spec);
      co_return status;
    }
    co_return Add(spec);
  }
  Task<Status> PowerOn(MoRef vm) override {
    calls.push_back("on");
    if (!next_power_on.ok()) co_return std::exchange(next_power_on, absl::OkStatus());
    co_return Set(vm, PowerState::kOn);
  }
  Task<Status> PowerOff(MoRef vm) override {
    calls.push_back("off");
    co_return Set(vm, PowerState::kOff);
  }
  Task<Status> Destroy(MoRef vm) override {
    calls.push_back("destroy");
    if (!next_destroy.ok()) co_return std::exchange(next_destroy, absl::OkStatus());
    real.erase(vm.value);
    if (!lag) vms_.Erase(vm.value);
    co_return absl::OkStatus();
  }
  Task<Status> AddImages(MoRef vm, std::vector<ImageAtUnit> images, std::string pod_key) override {
    for (const ImageAtUnit& image : images)
      calls.push_back(absl::StrCat("add ", image.disk.parent_path, "@", image.unit));
    VmRecord changed = real.at(vm.value);
    changed.pod_key = pod_key;
    Put(changed);
    co_return absl::OkStatus();
  }
  Task<Status> Answer(MoRef, std::string, std::string) override {
    calls.push_back("answer");
    co_return absl::OkStatus();
  }
  Task<StatusOr<std::optional<MoRef>>> FindByName(std::string name) override {
    calls.push_back("find");
    for (const auto& [moid, vm] : real) {
      if (vm.name == name) co_return vm.vm;
    }
    co_return std::nullopt;
  }
  MoRef Add(const vimtypes::VirtualMachineConfigSpec& spec) {
    VmRecord vm;
    vm.vm = {"VirtualMachine", "vm-" + std::to_string(++number)};
    vm.name = spec.name.value_or("");
    vm.power = PowerState::kOff;
    vm.connection = vimtypes::ConnectionState::kConnected;
    for (const auto& option : spec.extraConfig) {
      if (option.key == vch::kPodKey) vm.pod_key = std::get<std::string>(option.value);
    }
    vm.guest_key = "-";
    Put(vm);
    return vm.vm;
  }
  void Put(const VmRecord& vm) {
    real[vm.vm.value] = vm;
    if (!lag) vms_.Put(vm.vm.value, std::make_shared<const VmRecord>(vm));
  }
  Status Set(const MoRef& vm, PowerState power) {
    auto it = real.find(vm.value);
    if (it == real.end()) return absl::NotFoundError("ManagedObjectNotFound");
    VmRecord changed = it->second;
    changed.power = power;
    Put(changed);
    return absl::OkStatus();
  }
  void CatchUp() {
    lag = false;
    for (const auto& [moid, vm] : real) vms_.Put(moid, std::make_shared<const VmRecord>(vm));
  }

  std::vector<std::string> calls;
  std::map<std::string, VmRecord> real;
  Status next_create, next_power_on, next_destroy;
  bool create_happened_anyway = false;
  bool lag = false;
  int number = 0;

 private:
  VmIndex::Store& vms_;
};

constexpr const char* kUid = "11111111-2222-3333-4444-555555555555";

class VmReconcilerTest : public ::testing::Test {
 protected:
  VmReconcilerTest() {
    vms.MarkSynced();
    pods.MarkSynced();
    ipam.SetRange(*ParseRange("10.0.0.0/24"));
  }
  static std::string PodJson(const std::string& extra_meta = "", const std::string& status = "{}",
                             const std::string& extra_spec = "") {
    return absl::StrCat(R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":"web","namespace":"default","uid":")",
                        kUid, R"(","resourceVersion":"1","generation":1)", extra_meta,
                        R"(},"spec":{"nodeName":"n","restartPolicy":"Always","containers":[{"name":"c","image":"i"}])",
                        extra_spec, R"(},"status":)", status, "}");
  }
  void PutPod(const std::string& json) {
    auto object = kube::Object::Parse(json);
    ASSERT_TRUE(object.ok()) << object.status();
    pods.Put(kUid, *object);
  }
  Status Once() {
    auto result = loop.Run(reconciler.Reconcile(kUid));
    last = result.ok() ? *result : flow::Result{};
    return result.status();
  }
  // With a second container, "d".
  static std::string TwoContainers(const std::string& image, const std::string& status = "{}",
                                   const std::string& extra_meta = "") {
    return absl::StrReplaceAll(
        PodJson(extra_meta, status),
        {{R"("image":"i"}])", absl::StrCat(R"("image":"i"},{"name":"d","image":")", image, R"("}])")}});
  }
  static image::ImageStatus FailedImage() {
    return {.state = image::ImageStatus::State::kFailed, .reason = "ErrImagePull", .message = "not found"};
  }
  [[nodiscard]] std::string ImagesOfVm() const {
    auto key = vch::ParsePodKey(ops.real.begin()->second.pod_key);
    return key.ok() ? key->images : std::string(key.status().message());
  }
  static image::ImageStatus ReadyImage(const std::string& name) {
    return {.state = image::ImageStatus::State::kReady,
            .image_id = name + "@sha256:1",
            .disk_path = absl::StrCat("[ds] ", name, ".vmdk"),
            .capacity_bytes = 1 << 20};
  }
  void GuestUp() {
    VmRecord vm = ops.real.begin()->second;
    vm.guest_key = guestapi::Encode(guestapi::GuestAnnouncement{.boot_id = "boot1", .key_hash = std::string(64, 'a')});
    ops.Put(vm);
  }

  Loop loop;
  ObjectStore pods, nodes;
  VmIndex::Store vms;
  VmIndex index{vms, "vch-1"};
  FakeLinks links;
  FakeOps ops{vms};
  Ipam ipam;
  PodMemories memories;
  bool fresh = true;
  // By reference; others are being pulled.
  std::map<std::string, image::ImageStatus> images{{"i", ReadyImage("i")}};
  std::vector<std::string> wanted;
  PullKeys keys;
  std::set<std::string> held;  // containers that may still want something
  PodImages pod_images{
      {.want =
           [this](const image::ImageRequest& request) {
             wanted.push_back(request.image);
             held.insert(request.container);
             auto it = images.find(request.image);
             return it == images.end() ? image::ImageStatus{} : it->second;
           },
       .release_container = [this](const std::string&, const std::string& container) { held.erase(container); },
       .release = [this](const std::string&) { held.clear(); },
       .keys = [this](const kubeapi::PodView&) { return keys; },
       .warn = [this](const std::string&, const std::string& reason,
                      const std::string& message) { events.push_back(absl::StrCat(reason, ": ", message)); }}};
  std::vector<std::string> events;
  VmReconciler reconciler{{.facts = {.clock = loop.clock(),
                                     .pods = pods,
                                     .vms = index,
                                     .links = links,
                                     .memories = memories,
                                     .vch_id = "vch-1",
                                     .fresh = [this] { return fresh; }},
                           .nodes = nodes,
                           .ops = ops,
                           .ipam = ipam,
                           .sync_spec =
                               [](const SpecSync::Pod& pod, PodMemory& memory) {
                                 if (memory.spec || memory.pushed_revision > 0) return;
                                 podvm::ResolveInputs inputs;
                                 inputs.pod = &pod.view;
                                 inputs.pod_ip = pod.ip;
                                 inputs.revision = 1;
                                 const podvm::ServiceEnv services;
                                 inputs.service_env = &services;
                                 if (auto spec = podvm::ResolveSpec(inputs).spec) {
                                   memory.spec_revision = spec->revision;
                                   memory.spec = std::make_shared<const guestapi::GuestSpec>(*std::move(spec));
                                 }
                               },
                           .settings =
                               [] {
                                 return podvm::VmSettings{.guest_id = "other5xLinux64Guest",
                                                          .network = podvm::StandardNetwork{},
                                                          .datastore = "ds"};
                               },
                           .images = &pod_images,
                           .events = {.event = [this](const kube::Object&, bool, std::string reason,
                                                      std::string) { events.push_back(reason); },
                                      .status_changed = [](const std::string&) {}}},
                          {.vch_id = "vch-1", .node_name = "n"}};
  flow::Result last;
};

TEST_F(VmReconcilerTest, TwoTasksBringAPodVmUp) {
  PutPod(PodJson());
  EXPECT_TRUE(Once().ok());
  EXPECT_THAT(ops.calls, ElementsAre("create", "on"));
  EXPECT_TRUE(Once().ok());
  EXPECT_THAT(ops.calls, ElementsAre("create", "on"));
  GuestUp();
  EXPECT_TRUE(Once().ok());
  ASSERT_TRUE(links.connected.contains(kUid));
  EXPECT_EQ(links.connected[kUid].address, "10.0.0.2");
  ASSERT_TRUE(links.pushed.contains(kUid));
  EXPECT_THAT(events, ElementsAre("Created"));
}

TEST_F(VmReconcilerTest, ASpecIsKeptUntilTheGuestHasItAndMadeAgainForOneThatLostIt) {
  PutPod(PodJson());
  EXPECT_TRUE(Once().ok());
  GuestUp();
  EXPECT_TRUE(Once().ok());
  ASSERT_TRUE(links.pushed.contains(kUid));
  const auto guest_has = [&](int64_t revision) {
    guestlink::LinkState state{.connected = true};
    state.guest.pod_uid = kUid;
    state.guest.boot_id = "boot1";
    state.guest.sequence = 1;
    state.guest.spec_revision = revision;
    links.store.Put(kUid, std::make_shared<const guestlink::LinkState>(state));
    links.pushed.clear();
    EXPECT_TRUE(Once().ok());
  };
  guest_has(0);
  EXPECT_NE(memories[kUid]->spec, nullptr);
  guest_has(1);
  EXPECT_EQ(memories[kUid]->spec, nullptr);
  EXPECT_TRUE(links.pushed.empty());
  guest_has(0);
  ASSERT_TRUE(links.pushed.contains(kUid));
  EXPECT_EQ(links.pushed[kUid]->revision, 1);
}

TEST_F(VmReconcilerTest, AGuestThatDoesNotBootIsToldOfOnce) {
  PutPod(PodJson());
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(Once().ok());
  ASSERT_TRUE(last.requeue_after.has_value());
  EXPECT_LE(*last.requeue_after, absl::Minutes(3));
  EXPECT_THAT(events, ElementsAre("Created"));
  loop.Advance(absl::Minutes(3));
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(Once().ok());
  EXPECT_THAT(events, ElementsAre("Created", "GuestNotAnnounced"));
  GuestUp();
  EXPECT_TRUE(Once().ok());
  EXPECT_EQ(memories[kUid]->booting_since, std::nullopt);
}

TEST_F(VmReconcilerTest, AnEphemeralContainersImageIsAddedToTheVm) {
  PutPod(PodJson());
  EXPECT_TRUE(Once().ok());
  GuestUp();
  EXPECT_TRUE(Once().ok());
  EXPECT_THAT(held, IsEmpty()) << "its VM tells what it uses";
  ops.calls.clear();
  wanted.clear();
  PutPod(
      PodJson("", "{}", R"(,"ephemeralContainers":[{"name":"debug","image":"tools"},{"name":"again","image":"i"}])"));
  EXPECT_TRUE(Once().ok());
  EXPECT_THAT(wanted, ElementsAre("tools"));
  EXPECT_THAT(ops.calls, IsEmpty());
  images["tools"] = ReadyImage("tools");
  EXPECT_TRUE(Once().ok());
  // The first disk is the container's, the second the scratch disk.
  EXPECT_THAT(ops.calls, ElementsAre("add [ds] tools.vmdk@2"));
  EXPECT_EQ(ImagesOfVm(), "i|i@sha256:1,|,tools|tools@sha256:1");
  EXPECT_TRUE(Once().ok());
  EXPECT_EQ(ops.calls.size(), 1u);
  EXPECT_THAT(held, IsEmpty());
  // A kubelet that has forgotten everything finds all of it.
  memories.clear();
  wanted.clear();
  EXPECT_TRUE(Once().ok());
  EXPECT_THAT(wanted, IsEmpty());
  EXPECT_EQ(ops.calls.size(), 1u);
}

TEST_F(VmReconcilerTest, AnImageIsPulledWithItsSecretsOrWhenThereAreNone) {
  keys.known = false;
  PutPod(PodJson());
  EXPECT_TRUE(Once().ok());
  EXPECT_THAT(wanted, IsEmpty()) << "the secrets are still being read";
  EXPECT_THAT(ops.calls, IsEmpty());
  EXPECT_THAT(events, IsEmpty());
  keys = {.missing = "gone, other"};
  EXPECT_TRUE(Once().ok());
  EXPECT_THAT(wanted, ElementsAre("i"));
  EXPECT_THAT(events,
              Contains("FailedToRetrieveImagePullSecret: Unable to retrieve some image pull secrets (gone, other); "
                       "attempting to pull the image may not succeed."));
  const size_t told = events.size();
  EXPECT_TRUE(Once().ok());
  EXPECT_EQ(std::count_if(events.begin() + static_cast<std::ptrdiff_t>(told), events.end(),
                          [](const std::string& e) { return e.starts_with("FailedToRetrieve"); }),
            0)
      << "told once";
}

TEST_F(VmReconcilerTest, AnImageThatCannotBePulledHoldsUpItsOwnContainerOnly) {
  PutPod(TwoContainers("j"));
  EXPECT_TRUE(Once().ok());
  EXPECT_THAT(ops.calls, IsEmpty()) << "it is being pulled for the first time";
  images["j"] = FailedImage();
  EXPECT_TRUE(Once().ok());
  EXPECT_THAT(ops.calls, ElementsAre("create", "on"));
  EXPECT_EQ(ImagesOfVm(), "i|i@sha256:1,|");
  GuestUp();
  EXPECT_TRUE(Once().ok());
  EXPECT_TRUE(links.pushed.contains(kUid));
  EXPECT_THAT(held, ElementsAre("d")) << "goes on being pulled";
  const auto& waits = memories[kUid]->image_waits;
  ASSERT_EQ(waits.size(), 1u);
  EXPECT_EQ(waits.at("d").reason, "ErrImagePull");
  // A kubelet that has forgotten everything looks what is missing.
  memories.clear();
  held.clear();
  wanted.clear();
  EXPECT_TRUE(Once().ok());
  EXPECT_THAT(wanted, ElementsAre("j"));
  EXPECT_EQ(memories[kUid]->image_waits.at("d").message, "not found");
  EXPECT_THAT(ops.calls, ElementsAre("create", "on"));
  images["j"] = ReadyImage("j");
  EXPECT_TRUE(Once().ok());
  EXPECT_THAT(ops.calls, ElementsAre("create", "on", "add [ds] j.vmdk@2"));
  EXPECT_EQ(ImagesOfVm(), "i|i@sha256:1,|,j|j@sha256:1");
  EXPECT_TRUE(Once().ok());
  EXPECT_THAT(memories[kUid]->image_waits, IsEmpty());
  EXPECT_THAT(held, IsEmpty());
}

TEST_F(VmReconcilerTest, AContainerThatIsGivenAnImageThatIsThereAsksForNoOther) {
  images["j"] = FailedImage();
  PutPod(TwoContainers("j"));
  EXPECT_TRUE(Once().ok());
  GuestUp();
  EXPECT_TRUE(Once().ok());
  EXPECT_THAT(held, ElementsAre("d"));
  PutPod(TwoContainers("i"));
  EXPECT_TRUE(Once().ok());
  EXPECT_THAT(held, IsEmpty());
  EXPECT_THAT(memories[kUid]->image_waits, IsEmpty());
  EXPECT_THAT(ops.calls, ElementsAre("create", "on"));
}

TEST_F(VmReconcilerTest, NoVmWithoutTheFirstInitContainersImage) {
  images["j"] = FailedImage();
  PutPod(PodJson("", "{}", R"(,"initContainers":[{"name":"first","image":"j"},{"name":"second","image":"i"}])"));
  EXPECT_TRUE(Once().ok());
  EXPECT_THAT(ops.calls, IsEmpty());
  EXPECT_EQ(memories[kUid]->image_waits.at("first").reason, "ErrImagePull");
  images["j"] = ReadyImage("j");
  EXPECT_TRUE(Once().ok());
  EXPECT_THAT(ops.calls, ElementsAre("create", "on"));
}

TEST_F(VmReconcilerTest, APodThatEndsWantsNoImages) {
  images["j"] = FailedImage();
  PutPod(TwoContainers("j"));
  EXPECT_TRUE(Once().ok());
  GuestUp();
  EXPECT_TRUE(Once().ok());
  PutPod(TwoContainers("j", "{}", R"(,"deletionTimestamp":"2026-01-01T00:00:30Z","deletionGracePeriodSeconds":30)"));
  wanted.clear();
  EXPECT_TRUE(Once().ok());
  EXPECT_THAT(wanted, IsEmpty());
  EXPECT_THAT(held, IsEmpty());
  held.insert("d");
  PutPod(TwoContainers("j", R"({"phase":"Failed"})"));
  EXPECT_TRUE(Once().ok());
  EXPECT_THAT(wanted, IsEmpty());
  EXPECT_THAT(held, IsEmpty());
}

TEST_F(VmReconcilerTest, MoreImagesThanAVmHasRoomForAreToldOf) {
  std::string debuggers;
  for (int i = 0; i < 13; ++i) {
    const std::string image = absl::StrCat("t", i);
    images[image] = ReadyImage(image);
    absl::StrAppend(&debuggers, i == 0 ? "" : ",", R"({"name":"e)", i, R"(","image":")", image, R"("})");
  }
  PutPod(PodJson());
  EXPECT_TRUE(Once().ok());
  GuestUp();
  EXPECT_TRUE(Once().ok());
  events.clear();
  ops.calls.clear();
  PutPod(PodJson("", "{}", absl::StrCat(R"(,"ephemeralContainers":[)", debuggers, "]")));
  EXPECT_TRUE(Once().ok());
  EXPECT_EQ(ops.calls.size(), 12u) << "those that there is room for";
  EXPECT_THAT(events, ElementsAre("Failed"));
  const auto& waits = memories[kUid]->image_waits;
  ASSERT_EQ(waits.size(), 1u);
  EXPECT_EQ(waits.at("e12").reason, "CreateContainerError");
  EXPECT_EQ(waits.at("e12").message, "the pod has 14 images, and a pod VM has room for 13");
  EXPECT_TRUE(Once().ok());
  EXPECT_EQ(ops.calls.size(), 12u);
}

TEST_F(VmReconcilerTest, NothingIsDoneBeforeBothSidesAreKnown) {
  PutPod(PodJson());
  vms.MarkUnsynced();
  EXPECT_TRUE(Once().ok());
  vms.MarkSynced();
  fresh = false;  // an outage of vCenter
  EXPECT_TRUE(Once().ok());
  EXPECT_THAT(ops.calls, IsEmpty());
  EXPECT_TRUE(last.requeue_after.has_value());
  EXPECT_EQ(ipam.held(), 0u) << "no address is given out while it is not known which are taken";
}

TEST_F(VmReconcilerTest, RestartedKubeletAdoptsTheVmAndItsAddress) {
  PutPod(PodJson());
  EXPECT_TRUE(Once().ok());
  GuestUp();
  memories.clear();
  ipam.Release(kUid);
  links.connected.clear();
  EXPECT_TRUE(Once().ok());
  EXPECT_THAT(ops.calls, ElementsAre("create", "on"));
  EXPECT_EQ(*ipam.Find(kUid), "10.0.0.2");
  EXPECT_TRUE(links.connected.contains(kUid));
}

TEST_F(VmReconcilerTest, AResizeTakesOfTheNodeWhatItCanBeGiven) {
  nodes.Put("n", *kube::Object::Parse(R"({"metadata":{"name":"n"},"status":{"allocatable":{"cpu":"4"}}})"));
  const auto with_cpu = [](const std::string& cpu, const std::string& status) {
    return absl::StrReplaceAll(
        PodJson("", status),
        {{R"("image":"i"}])", absl::StrCat(R"("image":"i","resources":{"requests":{"cpu":")", cpu, R"("}}}])")}});
  };
  const auto put = [&](const char* cpu, const char* has, const char* resize) {
    PutPod(with_cpu(cpu, absl::StrFormat(R"({"phase":"Running","conditions":[
      {"type":"PodResizePending","status":"True","reason":"%s"}],"containerStatuses":[{"name":"c","containerID":"vch://1",
      "resources":{"requests":{"cpu":"%s"}},"allocatedResources":{"cpu":"%s"}}]})",
                                         resize, has, has)));
    EXPECT_TRUE(Once().ok());
  };
  // Whether there is room for another pod, which then fails and gives it back.
  int number = 0;
  const auto room_for = [&](const std::string& cpu) {
    const std::string uid = absl::StrFormat("22222222-2222-3333-4444-%012d", ++number);
    for (const char* status : {"{}", R"({"phase":"Failed"})"}) {
      pods.Put(uid, *kube::Object::Parse(absl::StrReplaceAll(with_cpu(cpu, status), {{kUid, uid}})));
      EXPECT_TRUE(loop.Run(reconciler.Reconcile(uid)).ok());
    }
    return memories.at(uid)->admitted;
  };
  put("64", "1", "Infeasible");  // as after a restart
  EXPECT_TRUE(room_for("3"));
  EXPECT_FALSE(room_for("3001m"));
  put("2", "1", "");  // the spec is another one now, and it can be done
  EXPECT_TRUE(room_for("2"));
  EXPECT_FALSE(room_for("2001m"));
  put("2", "2", "");
  EXPECT_FALSE(room_for("2001m"));
  put("500m", "500m", "");
  EXPECT_TRUE(room_for("3500m"));
  put("64", "500m", "Infeasible");
  EXPECT_TRUE(room_for("3500m"));
  EXPECT_FALSE(room_for("3501m"));
}

TEST_F(VmReconcilerTest, LostAnswerOfACreateIsReadBackNotRepeated) {
  PutPod(PodJson());
  Status lost = absl::UnavailableError("connection reset");
  lost.SetPayload(http::kMaybeSent, absl::Cord("1"));
  ops.next_create = lost;
  ops.create_happened_anyway = true;
  ops.lag = true;
  EXPECT_FALSE(Once().ok());
  EXPECT_TRUE(Once().ok());
  EXPECT_THAT(ops.calls, ElementsAre("create", "find"));
  ops.CatchUp();
  EXPECT_TRUE(Once().ok());
  EXPECT_THAT(ops.calls, ElementsAre("create", "find", "on"));
}

TEST_F(VmReconcilerTest, CreateWhoseAnswerWasLostAndNeverHappenedIsRepeatedLater) {
  PutPod(PodJson());
  Status lost = absl::UnavailableError("connection reset");
  lost.SetPayload(http::kMaybeSent, absl::Cord("1"));
  ops.next_create = lost;
  EXPECT_FALSE(Once().ok());
  EXPECT_TRUE(Once().ok());
  EXPECT_THAT(ops.calls, ElementsAre("create", "find"));
  loop.Advance(absl::Seconds(31));
  EXPECT_TRUE(Once().ok());
  EXPECT_TRUE(Once().ok());
  EXPECT_EQ(ops.real.size(), 1u);
}

TEST_F(VmReconcilerTest, ErrorOfACreateThatWasNotSentIsRetriedAndTold) {
  PutPod(PodJson());
  ops.next_create = absl::ResourceExhaustedError("InsufficientResourcesFault");
  EXPECT_FALSE(Once().ok());
  EXPECT_TRUE(Once().ok());
  EXPECT_THAT(ops.calls, ElementsAre("create", "create", "on"));
  EXPECT_EQ(events.front(), "FailedCreatePodSandBox");
}

TEST_F(VmReconcilerTest, AFaultThatLeavesOpenWhatHappenedIsReadBackNotRepeated) {
  for (const char* fault : {"Timedout", "RequestCanceled"}) {
    PutPod(PodJson());
    ops.next_create = vimtypes::FaultStatus({.type = fault});
    ops.create_happened_anyway = true;
    ops.lag = true;
    EXPECT_FALSE(Once().ok());
    EXPECT_TRUE(Once().ok());
    EXPECT_THAT(ops.calls, ElementsAre("create", "find")) << fault;
    ops.CatchUp();
    EXPECT_TRUE(Once().ok());
    EXPECT_THAT(ops.calls, ElementsAre("create", "find", "on")) << fault;
    EXPECT_EQ(ops.real.size(), 1U) << "adopted";
    for (const auto& [moid, vm] : std::exchange(ops.real, {})) vms.Erase(moid);
    memories.clear();
    ops.calls.clear();
  }
}

TEST_F(VmReconcilerTest, WhatPeopleHaveToMendIsRetriedSlowly) {
  for (const char* fault : {"NoPermission", "InvalidArgument", "NoDiskSpace"}) {
    PutPod(PodJson());
    ops.calls.clear();
    events.clear();
    ops.next_create = vimtypes::FaultStatus({.type = fault});
    EXPECT_TRUE(Once().ok()) << "no error, which would bring the queue's short back-off";
    ASSERT_TRUE(last.requeue_after.has_value());
    EXPECT_GE(*last.requeue_after, absl::Seconds(90)) << fault;
    EXPECT_THAT(events, ElementsAre("FailedCreatePodSandBox"));
    // Its status is written, which enqueues the key.
    EXPECT_TRUE(Once().ok());
    EXPECT_THAT(ops.calls, ElementsAre("create"));
    ASSERT_TRUE(last.requeue_after.has_value());
    EXPECT_GE(*last.requeue_after, absl::Seconds(90));
    loop.Advance(*last.requeue_after);
    EXPECT_TRUE(Once().ok());
    EXPECT_THAT(ops.calls, ElementsAre("create", "create", "on")) << fault;
    for (const auto& [moid, vm] : std::exchange(ops.real, {})) vms.Erase(moid);
    memories.clear();
  }
}

TEST_F(VmReconcilerTest, WhatPassesByItselfIsRetriedSoon) {
  for (const char* fault : {"TaskInProgress", "ConcurrentAccess", "HostCommunication"}) {
    PutPod(PodJson());
    ops.calls.clear();
    ops.next_create = vimtypes::FaultStatus({.type = fault});
    EXPECT_FALSE(Once().ok()) << "the queue's back-off";
    EXPECT_TRUE(Once().ok());
    EXPECT_THAT(ops.calls, ElementsAre("create", "create", "on")) << fault;
    for (const auto& [moid, vm] : std::exchange(ops.real, {})) vms.Erase(moid);
    memories.clear();
  }
}

TEST_F(VmReconcilerTest, AMissingDiskIsNoMissingVm) {
  PutPod(PodJson());
  ops.next_power_on = vimtypes::FaultStatus({.type = "FileNotFound"});
  EXPECT_TRUE(Once().ok());
  EXPECT_GE(last.requeue_after.value_or(absl::ZeroDuration()), absl::Seconds(90));
  EXPECT_THAT(events, ElementsAre("FailedCreatePodSandBox"));
  pods.Erase(kUid);
  EXPECT_TRUE(Once().ok());
  loop.Advance(absl::Minutes(1));
  ops.next_destroy = vimtypes::FaultStatus({.type = "InvalidDatastore"});
  for (int i = 0; i < 4 && ops.calls.back() != "destroy"; ++i) (void)Once();
  EXPECT_EQ(ops.calls.back(), "destroy");
  EXPECT_EQ(ops.real.size(), 1U);
  EXPECT_GE(last.requeue_after.value_or(absl::ZeroDuration()), absl::Seconds(90)) << "told, and not taken for done";
  ops.next_destroy = vimtypes::FaultStatus({.type = "ManagedObjectNotFound"});
  EXPECT_TRUE(Once().ok());
}

TEST_F(VmReconcilerTest, VmOfAVanishedPodGoesAtTheSecondSighting) {
  PutPod(PodJson());
  EXPECT_TRUE(Once().ok());
  pods.Erase(kUid);
  ops.calls.clear();
  EXPECT_TRUE(Once().ok());
  EXPECT_THAT(ops.calls, IsEmpty()) << "one sighting is not enough";
  ASSERT_TRUE(last.requeue_after.has_value());
  loop.Advance(absl::Seconds(11));
  for (int i = 0; i < 4; ++i) {
    EXPECT_TRUE(Once().ok());
    loop.Advance(absl::Minutes(1));
  }
  EXPECT_THAT(ops.real, IsEmpty());
  EXPECT_EQ(ipam.held(), 0u);
  EXPECT_TRUE(memories.empty());
}

TEST_F(VmReconcilerTest, OrphansStayWhileVCenterIsAway) {
  PutPod(PodJson());
  EXPECT_TRUE(Once().ok());
  pods.Erase(kUid);
  fresh = false;
  ops.calls.clear();
  for (int i = 0; i < 5; ++i) {
    EXPECT_TRUE(Once().ok());
    loop.Advance(absl::Minutes(1));
  }
  EXPECT_THAT(ops.calls, IsEmpty());
}

TEST_F(VmReconcilerTest, AddressIsHeldUntilDestroyIsConfirmed) {
  PutPod(PodJson());
  EXPECT_TRUE(Once().ok());
  pods.Erase(kUid);
  loop.Advance(absl::Seconds(1));
  EXPECT_TRUE(Once().ok());
  loop.Advance(absl::Seconds(30));
  ops.lag = true;  // vCenter has not shown yet that it is gone
  for (int i = 0; i < 4; ++i) {
    (void)Once();
    loop.Advance(absl::Minutes(1));
  }
  EXPECT_TRUE(ipam.Find(kUid).has_value());
}

TEST_F(VmReconcilerTest, VmsOfAnotherVchAreNeverTouched) {
  VmRecord other;
  other.vm = {"VirtualMachine", "vm-99"};
  other.name = vch::PodVmName("vch-1", kUid, "default", "web");
  other.power = PowerState::kOn;
  other.connection = vimtypes::ConnectionState::kConnected;
  other.pod_key =
      vch::Encode(vch::PodKey{.vch_id = "vch-2", .pod_uid = kUid, .pod_namespace = "default", .pod_name = "web"});
  ops.Put(other);
  PutPod(PodJson());
  (void)Once();
  EXPECT_THAT(ops.calls, IsEmpty());
  EXPECT_THAT(events, ElementsAre("NameConflict"));
  pods.Erase(kUid);
  loop.Advance(absl::Minutes(5));
  (void)Once();
  loop.Advance(absl::Minutes(5));
  (void)Once();
  EXPECT_THAT(ops.calls, IsEmpty());
}

TEST_F(VmReconcilerTest, UnreachableVmIsNeitherReplacedNorRemoved) {
  PutPod(PodJson());
  EXPECT_TRUE(Once().ok());
  VmRecord vm = ops.real.begin()->second;
  vm.connection = vimtypes::ConnectionState::kDisconnected;
  ops.Put(vm);
  ops.calls.clear();
  EXPECT_TRUE(Once().ok());
  pods.Erase(kUid);
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(Once().ok());
    loop.Advance(absl::Minutes(5));
  }
  EXPECT_THAT(ops.calls, IsEmpty());
  EXPECT_TRUE(ipam.Find(kUid).has_value()) << "its address is not given away";
}

TEST_F(VmReconcilerTest, NoFreeAddressKeepsThePodWaiting) {
  ipam.SetRange(*ParseRange("10.1.0.0/29"));
  for (int i = 0; i < 5; ++i) (void)ipam.Allocate("other" + std::to_string(i));
  PutPod(PodJson());
  EXPECT_TRUE(Once().ok());
  EXPECT_THAT(ops.calls, IsEmpty());
  EXPECT_THAT(events, ElementsAre("FailedCreatePodSandBox"));
}

}  // namespace
}  // namespace vck::node
