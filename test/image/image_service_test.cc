#include "image/image_service.h"

#include <filesystem>
#include <fstream>
#include <set>

#include <boost/asio/thread_pool.hpp>

#include "absl/strings/str_cat.h"
#include "async/task_group.h"
#include "gmock/gmock.h"
#include "image/catalog.h"
#include "image/gc.h"
#include "image/tar_builder.h"
#include "image/vmdk.h"
#include "oci/authorizer.h"
#include "oci/fake_registry.h"
#include "support/pool_loop.h"

namespace vck::image {
namespace {

using ::testing::ElementsAre;
using testing::FakeReply;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using State = ImageStatus::State;

// Keeps images in memory; faults on demand.
class FakeStore : public ImageStore {
 public:
  explicit FakeStore(Clock& clock) : clock_(clock) {}
  Task<StatusOr<std::vector<StoredImage>>> List() override {
    ++lists;
    if (!list_error.ok()) co_return list_error;
    std::vector<StoredImage> out;
    for (const auto& [id, image] : images) out.push_back(image);
    co_return out;
  }
  Task<StatusOr<StoredImage>> Import(NewImage image) override {
    ++imports;
    if (import_delay > absl::ZeroDuration()) co_await clock_.Sleep(import_delay);
    if (!import_error.ok()) co_return import_error;
    http::BodySource source = image.open();
    int64_t bytes = 0;
    while (true) {
      CO_ASSIGN_OR_RETURN(std::string piece, co_await source());
      if (piece.empty()) break;
      bytes += static_cast<int64_t>(piece.size());
    }
    EXPECT_EQ(bytes, image.vmdk_bytes);
    EXPECT_EQ(image.capacity_bytes % (1 << 20), 0);
    std::string id = absl::StrCat("vm-", ++next_);
    images[id] = {.id = id,
                  .digest = image.digest,
                  .names = image.names,
                  .disk_path = "[ds] " + id + "/disk.vmdk",
                  .capacity_bytes = image.capacity_bytes,
                  .size_bytes = size,
                  .created = clock_.WallNow()};
    co_return images[id];
  }
  Task<Status> SetNames(StoredImage image, std::vector<std::string> names) override {
    ++renames;
    images.at(image.id).names = std::move(names);
    co_return absl::OkStatus();
  }
  Task<Status> Remove(StoredImage image) override {
    if (remove_delay > absl::ZeroDuration()) co_await clock_.Sleep(remove_delay);
    if (on_remove) on_remove(image);
    if (busy.contains(image.id)) co_return absl::FailedPreconditionError("in use");
    images.erase(image.id);
    co_return absl::OkStatus();
  }
  [[nodiscard]] uint64_t changes() const override { return changed; }
  [[nodiscard]] std::optional<Space> space() const override { return room; }

  std::map<std::string, StoredImage> images;
  std::set<std::string> busy;
  std::function<void(const StoredImage&)> on_remove;
  Status list_error, import_error;
  absl::Duration import_delay, remove_delay;
  std::optional<Space> room;
  int64_t size = 5 << 20;
  uint64_t changed = 0;
  int lists = 0, imports = 0, renames = 0;

 private:
  Clock& clock_;
  int next_ = 0;
};

class ImageServiceTest : public ::testing::Test {
 protected:
  ImageServiceTest() {
    dir_ = std::filesystem::temp_directory_path() / absl::StrCat("image-service-", RandomHex(6));
    std::filesystem::create_directories(dir_);
    registry_.hosts["https://registry-1.docker.io:443"] = registry_.Serve();
  }
  ~ImageServiceTest() override {
    Stop();
    loop_.Run([](oci::RegistryClient& c) -> Task<bool> {
      co_await c.Close();
      co_return true;
    }(client_));
    std::filesystem::remove_all(dir_);
  }
  void Start(ImageServiceOptions options = {}) {
    options.work_dir = (dir_ / "work").string();
    options.pool = &loop_.pool();
    service_ = std::make_unique<ImageService>(
        loop_.executor(), loop_.clock(), metrics_, client_, store_,
        ImageCallbacks{.changed = [this](const std::string& uid) { changed_.push_back(uid); },
                       .event =
                           [this](const std::string& uid, const std::string& container, const ImageEvent& e) {
                             events_.push_back(
                                 absl::StrCat(uid, "/", container, e.warning ? " !" : " ", e.reason, ": ", e.message));
                           },
                       .node_event = [this](const ImageEvent& e) { node_events_.push_back(e.reason); },
                       .in_use = [this] { return in_use_; }},
        options);
    group_ = std::make_unique<TaskGroup>(loop_.executor());
    group_->Spawn("service", service_->Run());
    Settle();
  }
  void Stop() {
    if (!group_) return;
    group_->Cancel();
    (void)loop_.Run(group_->Join());
    group_.reset();
    service_.reset();
  }
  void Settle() { loop_.RunReady(); }
  void Advance(absl::Duration d) { loop_.Advance(d); }

  std::string Image(const std::string& repository, const std::string& tag, const std::string& content = "hello") {
    std::string tar = TarBuilder().Dir("bin/").File("bin/sh", content, 0755).End();
    return registry_.AddImage(repository, tag, {Gzip(tar)}, {Digest(tar)});
  }
  ImageStatus Want(const std::string& image, PullPolicy policy = PullPolicy::kIfNotPresent,
                   const std::string& pod = "pod", std::shared_ptr<const oci::Keyring> keyring = nullptr) {
    return service_->Want({.pod_uid = pod, .container = "c", .image = image, .policy = policy, .keyring = keyring});
  }
  ImageStatus WantUntilSettled(const std::string& image, PullPolicy policy = PullPolicy::kIfNotPresent,
                               const std::string& pod = "pod") {
    ImageStatus status = Want(image, policy, pod);
    // Retries of a broken connection wait a little.
    for (int i = 0; i < 20 && status.state == State::kPulling; ++i) {
      Advance(absl::Milliseconds(500));
      status = Want(image, policy, pod);
    }
    return status;
  }
  size_t Files() const {
    auto all = std::filesystem::recursive_directory_iterator(dir_ / "work");
    return static_cast<size_t>(std::distance(std::filesystem::begin(all), std::filesystem::end(all)));
  }

  testing::PoolLoop loop_;
  std::filesystem::path dir_;
  oci::FakeRegistry registry_{loop_.clock()};
  metrics::Registry metrics_;
  oci::RegistryClient client_{loop_.executor(), loop_.clock(), loop_.pool(), {}, registry_.Factory()};
  FakeStore store_{loop_.clock()};
  std::unique_ptr<ImageService> service_;
  std::unique_ptr<TaskGroup> group_;
  std::vector<std::string> changed_, events_, node_events_;
  std::optional<absl::flat_hash_set<std::string>> in_use_ = absl::flat_hash_set<std::string>();
};

TEST_F(ImageServiceTest, PullsOnceHoweverManyAsk) {
  std::string digest = Image("library/busybox", "latest");
  Start();
  store_.import_delay = absl::Seconds(5);
  EXPECT_EQ(Want("busybox", PullPolicy::kIfNotPresent, "a").state, State::kPulling);
  EXPECT_EQ(Want("docker.io/library/busybox:latest", PullPolicy::kIfNotPresent, "b").state, State::kPulling);
  EXPECT_EQ(Want("busybox", PullPolicy::kAlways, "c").state, State::kPulling);
  Advance(absl::Seconds(6));
  for (const char* pod : {"a", "b", "c"}) {
    ImageStatus status = Want("busybox", pod[0] == 'c' ? PullPolicy::kAlways : PullPolicy::kIfNotPresent, pod);
    ASSERT_EQ(status.state, State::kReady) << status.message;
    EXPECT_EQ(status.image_id, "docker.io/library/busybox@" + digest);
    EXPECT_EQ(status.disk_path, "[ds] vm-1/disk.vmdk");
    EXPECT_EQ(status.capacity_bytes, 1 << 20);
  }
  EXPECT_EQ(store_.imports, 1);
  EXPECT_THAT(changed_, ::testing::IsSupersetOf({"a", "b", "c"}));
  EXPECT_EQ(Files(), 0U);
  EXPECT_THAT(metrics_.Text(),
              HasSubstr("kubelet_image_pull_duration_seconds_count{image_size_in_bytes=\"0-10MB\"} 1"));
  EXPECT_THAT(store_.images.at("vm-1").names, ElementsAre("docker.io/library/busybox:latest@" + digest));
}

TEST_F(ImageServiceTest, EventsAsTheKubelets) {
  Image("library/busybox", "latest");
  Start();
  EXPECT_EQ(WantUntilSettled("busybox").state, State::kReady);
  ASSERT_EQ(events_.size(), 2U);
  EXPECT_EQ(events_[0], "pod/c Pulling: Pulling image \"busybox\"");
  EXPECT_THAT(events_[1], HasSubstr("pod/c Pulled: Successfully pulled image \"busybox\" in "));
  EXPECT_THAT(events_[1], HasSubstr(" including waiting). Image size: 5242880 bytes."));
  Want("busybox");
  EXPECT_THAT(events_, SizeIs(2));
  Want("busybox", PullPolicy::kIfNotPresent, "other");
  ASSERT_THAT(events_, SizeIs(3));
  EXPECT_EQ(events_[2],
            "other/c Pulled: Container image \"busybox\" already present on machine and can be accessed by the pod");
}

TEST_F(ImageServiceTest, AlwaysAsksForTheDigestAndReusesTheImage) {
  std::string first = Image("library/app", "latest", "one");
  Start();
  EXPECT_EQ(WantUntilSettled("app", PullPolicy::kAlways, "a").image_id, "docker.io/library/app@" + first);
  registry_.log.clear();
  EXPECT_EQ(WantUntilSettled("app", PullPolicy::kAlways, "b").image_id, "docker.io/library/app@" + first);
  EXPECT_THAT(registry_.log, ElementsAre("HEAD https://registry-1.docker.io:443/v2/library/app/manifests/latest"));
  EXPECT_EQ(store_.imports, 1);
  // The tag moves: new pods get the new image, the old ones keep theirs.
  std::string second = Image("library/app", "latest", "two");
  EXPECT_EQ(WantUntilSettled("app", PullPolicy::kAlways, "c").image_id, "docker.io/library/app@" + second);
  EXPECT_EQ(Want("app", PullPolicy::kAlways, "a").image_id, "docker.io/library/app@" + first);
  EXPECT_EQ(Want("app", PullPolicy::kIfNotPresent, "d").image_id, "docker.io/library/app@" + second);
  EXPECT_EQ(store_.imports, 2);
  EXPECT_THAT(store_.images.at("vm-1").names, ElementsAre("docker.io/library/app@" + first));
  // And back: no import.
  registry_.tags["library/app:latest"] = first;
  EXPECT_EQ(WantUntilSettled("app", PullPolicy::kAlways, "e").image_id, "docker.io/library/app@" + first);
  EXPECT_EQ(Want("app", PullPolicy::kIfNotPresent, "f").image_id, "docker.io/library/app@" + first);
  EXPECT_EQ(store_.imports, 2);
}

TEST_F(ImageServiceTest, TwoReferencesOneImage) {
  std::string digest = Image("library/app", "v1");
  registry_.tags["library/app:v2"] = digest;
  Start();
  store_.import_delay = absl::Seconds(1);
  Want("app:v1", PullPolicy::kIfNotPresent, "a");
  Want("app:v2", PullPolicy::kIfNotPresent, "b");
  Advance(absl::Seconds(3));
  EXPECT_EQ(Want("app:v1", PullPolicy::kIfNotPresent, "a").state, State::kReady);
  EXPECT_EQ(Want("app:v2", PullPolicy::kIfNotPresent, "b").state, State::kReady);
  EXPECT_EQ(Want("app@" + digest, PullPolicy::kIfNotPresent, "c").state, State::kReady);
  EXPECT_EQ(store_.imports, 1);
  ASSERT_EQ(service_->List().size(), 1U);
  EXPECT_THAT(service_->List()[0].names,
              ElementsAre("docker.io/library/app@" + digest, "docker.io/library/app:v1", "docker.io/library/app:v2"));
}

TEST_F(ImageServiceTest, NeverPullsWithNever) {
  Image("library/busybox", "latest");
  Start();
  ImageStatus status = Want("busybox", PullPolicy::kNever);
  EXPECT_EQ(status.reason, "ErrImageNeverPull");
  EXPECT_EQ(status.message, "Container image \"busybox\" is not present with pull policy of Never");
  EXPECT_THAT(events_,
              ElementsAre("pod/c !ErrImageNeverPull: " + status.message, "pod/c !Failed: Error: ErrImageNeverPull"));
  EXPECT_THAT(registry_.log, IsEmpty());
  EXPECT_EQ(WantUntilSettled("busybox", PullPolicy::kIfNotPresent, "other").state, State::kReady);
  EXPECT_EQ(Want("busybox", PullPolicy::kNever).state, State::kReady);
}

TEST_F(ImageServiceTest, NamesThatAreNone) {
  Start();
  ImageStatus status = Want("UPPER");
  EXPECT_EQ(status.state, State::kFailed);
  EXPECT_EQ(status.reason, "InvalidImageName");
  EXPECT_EQ(
      status.message,
      "Failed to apply default image tag \"UPPER\": couldn't parse image name \"UPPER\": invalid reference format: "
      "repository name (library/UPPER) must be lowercase");
  EXPECT_THAT(events_,
              ElementsAre("pod/c !InspectFailed: " + status.message, "pod/c !Failed: Error: InvalidImageName"));
}

TEST_F(ImageServiceTest, BackOff) {
  Start();
  ImageStatus status = WantUntilSettled("nope");
  ASSERT_EQ(status.state, State::kFailed);
  EXPECT_EQ(status.reason, "ErrImagePull");
  std::string error =
      "failed to pull and unpack image \"docker.io/library/nope:latest\": failed to resolve reference "
      "\"docker.io/library/nope:latest\": docker.io/library/nope:latest: not found";
  EXPECT_EQ(status.message, error);
  EXPECT_THAT(events_, ElementsAre("pod/c Pulling: Pulling image \"nope\"",
                                   "pod/c !Failed: Failed to pull image \"nope\": " + error,
                                   "pod/c !Failed: Error: ErrImagePull"));
  size_t asked = registry_.log.size();
  changed_.clear();
  Advance(absl::Seconds(6));
  status = Want("nope");
  EXPECT_EQ(status.reason, "ImagePullBackOff");
  EXPECT_EQ(status.message, "Back-off pulling image \"nope\": ErrImagePull: " + error);
  EXPECT_THAT(changed_, ElementsAre("pod"));
  EXPECT_EQ(registry_.log.size(), asked);
  EXPECT_THAT(events_, ::testing::Contains("pod/c BackOff: Back-off pulling image \"nope\""));
  // 10, 20, 40 … 300 seconds.
  std::vector<int> attempts;
  Instant start = loop_.clock().Now();
  for (int second = 0; second < 1500; ++second) {
    size_t before = registry_.log.size();
    Advance(absl::Seconds(1));
    Want("nope");
    if (registry_.log.size() > before) {
      attempts.push_back(static_cast<int>(absl::ToInt64Seconds(loop_.clock().Now() - start)));
    }
  }
  ASSERT_GE(attempts.size(), 7U);
  EXPECT_NEAR(attempts[1] - attempts[0], 20, 1);
  EXPECT_NEAR(attempts[2] - attempts[1], 40, 1);
  EXPECT_NEAR(attempts[6] - attempts[5], 300, 1);
  // What was missing comes: the next attempt finds it.
  Image("library/nope", "latest");
  Advance(absl::Minutes(6));
  EXPECT_EQ(Want("nope").state, State::kReady);
}

TEST_F(ImageServiceTest, AContainerThatWantsItNoMoreHearsOfItNoMore) {
  Start();
  ASSERT_EQ(WantUntilSettled("nope").state, State::kFailed);
  service_->Release("pod", "another");
  service_->Release("nobody", "c");
  Advance(absl::Seconds(20));
  EXPECT_THAT(events_, ::testing::Contains("pod/c BackOff: Back-off pulling image \"nope\""));
  service_->Release("pod", "c");
  events_.clear();
  changed_.clear();
  Advance(absl::Minutes(10));
  EXPECT_THAT(events_, IsEmpty());
  EXPECT_THAT(changed_, IsEmpty());
}

TEST_F(ImageServiceTest, OtherCredentialsNeedNotWait) {
  Image("team/app", "1");
  registry_.authorization = {oci::BasicAuthorization({.username = "u", .password = "p"})};
  registry_.challenge = "Basic realm=x";
  Start();
  EXPECT_EQ(WantUntilSettled("team/app:1").reason, "ErrImagePull");
  auto wrong = std::make_shared<oci::Keyring>();
  wrong->Add("docker.io", {.username = "u", .password = "no"});
  Want("team/app:1", PullPolicy::kIfNotPresent, "other", wrong);
  Settle();
  EXPECT_EQ(Want("team/app:1", PullPolicy::kIfNotPresent, "other", wrong).reason, "ErrImagePull");
  auto right = std::make_shared<oci::Keyring>();
  right->Add("docker.io", {.username = "u", .password = "p"});
  Want("team/app:1", PullPolicy::kIfNotPresent, "pod", right);
  Settle();
  EXPECT_EQ(Want("team/app:1", PullPolicy::kIfNotPresent, "pod", right).state, State::kReady);
}

TEST_F(ImageServiceTest, BrokenLayersSayWhere) {
  registry_.AddImage("library/bad", "tar",
                     {Gzip("no tar at all, but long enough to be more than a block of it" + std::string(600, 'x'))},
                     {Digest("no tar at all, but long enough to be more than a block of it" + std::string(600, 'x'))});
  std::string tar = TarBuilder().File("../x", "").End();
  registry_.AddImage("library/bad", "escape", {Gzip(tar)}, {Digest(tar)});
  registry_.AddImage("library/bad", "diff", {Gzip(TarBuilder().End())}, {Digest("other")});
  Start();
  EXPECT_THAT(WantUntilSettled("bad:tar", PullPolicy::kIfNotPresent, "a").message,
              HasSubstr("\"docker.io/library/bad:tar\": failed to extract layers: layer 1 of 1: tar: a header with a "
                        "wrong checksum"));
  EXPECT_THAT(WantUntilSettled("bad:escape", PullPolicy::kIfNotPresent, "b").message,
              HasSubstr("leads out of the root"));
  EXPECT_THAT(WantUntilSettled("bad:diff", PullPolicy::kIfNotPresent, "c").message, HasSubstr("wrong diff id"));
  EXPECT_EQ(Files(), 0U);
  EXPECT_EQ(store_.imports, 0);
}

TEST_F(ImageServiceTest, StoreTroubles) {
  Image("library/busybox", "latest");
  store_.list_error = absl::UnavailableError("vCenter is away");
  Start();
  EXPECT_FALSE(service_->synced());
  EXPECT_EQ(Want("busybox").state, State::kPulling);
  EXPECT_EQ(Want("busybox", PullPolicy::kNever, "never").state, State::kPulling);
  EXPECT_THAT(registry_.log, IsEmpty());
  store_.list_error = absl::OkStatus();
  store_.import_error = absl::ResourceExhaustedError("NoDiskSpace: the datastore is full");
  Advance(absl::Seconds(3));
  EXPECT_TRUE(service_->synced());
  EXPECT_THAT(changed_, ::testing::Contains("never"));
  ImageStatus status = WantUntilSettled("busybox");
  EXPECT_EQ(status.reason, "ErrImagePull");
  EXPECT_THAT(status.message, HasSubstr("failed to store: NoDiskSpace: the datastore is full"));
  EXPECT_EQ(Files(), 0U);
}

TEST_F(ImageServiceTest, AfterARestart) {
  Image("library/busybox", "1.36");
  Start();
  std::string id = WantUntilSettled("busybox:1.36").image_id;
  Stop();
  std::filesystem::create_directories(dir_ / "work" / "left");
  std::ofstream(dir_ / "work" / "left" / "layer") << "x";
  registry_.log.clear();
  Start();
  EXPECT_EQ(Files(), 0U);
  ImageStatus status = Want("busybox:1.36");
  EXPECT_EQ(status.state, State::kReady);
  EXPECT_EQ(status.image_id, id);
  ASSERT_TRUE(service_->Find(id));
  EXPECT_EQ(service_->Find(id)->disk_path, "[ds] vm-1/disk.vmdk");
  EXPECT_FALSE(service_->Find("docker.io/library/busybox@sha256:0"));
  EXPECT_THAT(registry_.log, IsEmpty());
}

TEST_F(ImageServiceTest, StopsInTheMiddle) {
  Image("library/busybox", "latest");
  Start();
  store_.import_delay = absl::Hours(1);
  Want("busybox");
  Settle();
  EXPECT_EQ(store_.imports, 1);
  Stop();
  EXPECT_EQ(Files(), 0U);
}

TEST_F(ImageServiceTest, RemovedBySomebodyElse) {
  Image("library/busybox", "latest");
  Start();
  EXPECT_EQ(WantUntilSettled("busybox").state, State::kReady);
  store_.images.clear();
  ++store_.changed;
  Advance(absl::Minutes(6));
  EXPECT_EQ(WantUntilSettled("busybox").disk_path, "[ds] vm-2/disk.vmdk");
}

TEST_F(ImageServiceTest, AnIdleNodeAsksTheStoreForNothing) {
  Image("library/app", "1");
  Start();
  EXPECT_EQ(WantUntilSettled("app:1").state, State::kReady);
  ++store_.changed;  // the store saw the import
  Advance(absl::Minutes(6));
  EXPECT_EQ(store_.lists, 2);
  Advance(absl::Minutes(54));
  EXPECT_EQ(store_.lists, 2);
  // What it does not hear of is found within an hour and a collection.
  Advance(absl::Minutes(11));
  EXPECT_EQ(store_.lists, 3);
  // A change is seen at the next collection, and again where it could not be read.
  ++store_.changed;
  store_.list_error = absl::UnavailableError("away");
  Advance(absl::Minutes(10));
  EXPECT_EQ(store_.lists, 5);
  store_.list_error = absl::OkStatus();
  Advance(absl::Minutes(50));
  EXPECT_EQ(store_.lists, 6);
}

TEST_F(ImageServiceTest, CollectsForSpaceTheLongestUnusedFirst) {
  Start();
  for (const char* tag : {"1", "2", "3", "4"}) {
    Image("library/app", tag, tag);
    EXPECT_EQ(WantUntilSettled(absl::StrCat("app:", tag), PullPolicy::kIfNotPresent, tag).state, State::kReady);
    Advance(absl::Seconds(10));
  }
  // 1 is used by a VM, 3 is wanted by a pod, 4 cannot be removed although nothing is known to use it.
  in_use_->insert("docker.io/library/app@" + store_.images.at("vm-1").digest);
  for (const char* pod : {"1", "2", "4"}) service_->Release(pod);
  store_.busy = {"vm-4"};
  store_.room = ImageStore::Space{.capacity_bytes = 100 << 20, .free_bytes = 50 << 20};
  Advance(absl::Minutes(6));
  EXPECT_EQ(store_.images.size(), 4U);
  store_.room->free_bytes = 10 << 20;
  Advance(absl::Minutes(6));
  EXPECT_FALSE(store_.images.contains("vm-2"));
  EXPECT_EQ(store_.images.size(), 3U);
  EXPECT_THAT(node_events_, ElementsAre("FreeDiskSpaceFailed"));
  EXPECT_THAT(metrics_.Text(), HasSubstr("kubelet_image_garbage_collected_total{reason=\"space\"} 1"));
  // It is not known which VMs there are: nothing is touched.
  in_use_.reset();
  service_->Release("3");
  Advance(absl::Minutes(10));
  EXPECT_EQ(store_.images.size(), 3U);
  in_use_.emplace();
  Advance(absl::Minutes(10));
  EXPECT_EQ(store_.images.size(), 1U);
}

TEST_F(ImageServiceTest, ACollectionThatFailsIsToldOnceARound) {
  Image("library/app", "1");
  Start();
  EXPECT_EQ(WantUntilSettled("app:1").state, State::kReady);
  const auto next_round = [this] {
    node_events_.clear();
    Advance(absl::Minutes(5));
    return node_events_;
  };
  // The only image is in use.
  store_.room = ImageStore::Space{.capacity_bytes = 100 << 20, .free_bytes = 10 << 20};
  EXPECT_THAT(next_round(), ElementsAre("FreeDiskSpaceFailed"));
  EXPECT_THAT(next_round(), ElementsAre("FreeDiskSpaceFailed"));
  in_use_.reset();
  EXPECT_THAT(next_round(), IsEmpty()) << "it is not known what could go";
  in_use_.emplace();
  store_.room->free_bytes = 50 << 20;
  EXPECT_THAT(next_round(), IsEmpty());
  store_.list_error = absl::UnavailableError("away");
  ++store_.changed;
  EXPECT_THAT(next_round(), IsEmpty()) << "once is not worth an event";
  EXPECT_THAT(next_round(), ElementsAre("ImageGCFailed"));
  EXPECT_THAT(next_round(), ElementsAre("ImageGCFailed"));
  store_.list_error = absl::OkStatus();
  EXPECT_THAT(next_round(), IsEmpty());
  store_.list_error = absl::UnavailableError("away");
  ++store_.changed;
  EXPECT_THAT(next_round(), IsEmpty());
}

TEST_F(ImageServiceTest, CollectsByAge) {
  Image("library/app", "1");
  Start({.gc_max_age = absl::Hours(1)});
  EXPECT_EQ(WantUntilSettled("app:1").state, State::kReady);
  Advance(absl::Hours(2));
  EXPECT_EQ(store_.images.size(), 1U);
  service_->Release("pod");
  Advance(absl::Minutes(50));
  EXPECT_EQ(store_.images.size(), 1U);
  Advance(absl::Minutes(20));
  EXPECT_EQ(store_.images.size(), 0U);
  EXPECT_EQ(WantUntilSettled("app:1").state, State::kReady);
}

TEST_F(ImageServiceTest, WhatIsWantedWhileOthersAreRemovedStays) {
  Start({.gc_max_age = absl::Hours(1)});
  for (const char* tag : {"1", "2"}) {
    Image("library/app", tag, tag);
    EXPECT_EQ(WantUntilSettled(absl::StrCat("app:", tag)).state, State::kReady);
  }
  service_->Release("pod");
  std::string wanted;
  store_.on_remove = [&](const StoredImage& image) {
    if (!wanted.empty()) return;
    wanted = image.names[0].find("app:1@") != std::string::npos ? "app:2" : "app:1";
    EXPECT_EQ(Want(wanted).state, State::kReady);
  };
  Advance(absl::Minutes(70));
  EXPECT_EQ(store_.images.size(), 1U);
  EXPECT_EQ(Want(wanted).state, State::kReady);
}

TEST_F(ImageServiceTest, WhatIsBeingRemovedIsPulledAgainOnceItIsGone) {
  Start({.gc_max_age = absl::Hours(1)});
  Image("library/app", "1");
  EXPECT_EQ(WantUntilSettled("app:1").state, State::kReady);
  service_->Release("pod");
  store_.remove_delay = absl::Minutes(1);
  Advance(absl::Minutes(65) + absl::Seconds(30));  // it is being removed
  ASSERT_EQ(store_.images.size(), 1U);
  EXPECT_EQ(Want("app:1").state, State::kPulling);
  Advance(absl::Seconds(20));
  EXPECT_EQ(store_.imports, 1) << "the store has no place for another yet";
  Advance(absl::Minutes(3));
  EXPECT_EQ(Want("app:1").state, State::kReady);
  EXPECT_EQ(store_.imports, 2);
  EXPECT_EQ(store_.images.size(), 1U);
}

// ---- pure parts ----

TEST(PullPolicyTest, Defaults) {
  EXPECT_EQ(PullPolicyOf("", "busybox"), PullPolicy::kAlways);
  EXPECT_EQ(PullPolicyOf("", "busybox:latest"), PullPolicy::kAlways);
  EXPECT_EQ(PullPolicyOf("", "busybox:1"), PullPolicy::kIfNotPresent);
  EXPECT_EQ(PullPolicyOf("Never", "busybox"), PullPolicy::kNever);
}

TEST(GcTest, Thresholds) {
  GcPolicy policy{.high = 85, .low = 80};
  EXPECT_EQ(UsedPercent({.capacity_bytes = 1000, .free_bytes = 151}), 85);
  EXPECT_EQ(BytesToFree(policy, {.capacity_bytes = 1000, .free_bytes = 160}), 0);
  EXPECT_EQ(BytesToFree(policy, {.capacity_bytes = 1000, .free_bytes = 150}), 50);
  EXPECT_EQ(BytesToFree(policy, {.capacity_bytes = 1000, .free_bytes = 0}), 200);
  EXPECT_EQ(BytesToFree(policy, {}), 0);
  EXPECT_EQ(BytesToFree({.high = 100, .low = 80}, {.capacity_bytes = 1000, .free_bytes = 0}), 0);
  EXPECT_EQ(FormatSize(100), "100 B");
  EXPECT_EQ(FormatSize(1536), "1.5 KiB");
  EXPECT_EQ(FormatSize(int64_t{5} << 40), "5.0 TiB");
}

TEST(CatalogTest, NewestOfATag) {
  Catalog catalog;
  auto put = [&](const char* digest, const char* name, int day) {
    catalog.Put({.id = digest,
                 .digest = absl::StrCat("sha256:", std::string(64, digest[0])),
                 .names = {name},
                 .created = absl::UnixEpoch() + day * absl::Hours(24)});
  };
  std::string old_name = "docker.io/library/a:1@sha256:" + std::string(64, '1');
  std::string new_name = "docker.io/library/a:1@sha256:" + std::string(64, '2');
  put("b", new_name.c_str(), 2);
  put("a", old_name.c_str(), 1);
  auto found = catalog.Find(oci::ParseReference("a:1").value());
  ASSERT_TRUE(found);
  EXPECT_EQ(found->image->id, "b");
  EXPECT_EQ(found->digest, "sha256:" + std::string(64, '2'));
  // By the index's digest and by the manifest's.
  EXPECT_EQ(catalog.Find(oci::ParseReference("a@sha256:" + std::string(64, '1')).value())->image->id, "a");
  EXPECT_EQ(catalog.Find(oci::ParseReference("a@sha256:" + std::string(64, 'a')).value())->image->id, "a");
  EXPECT_FALSE(catalog.Find(oci::ParseReference("b@sha256:" + std::string(64, 'a')).value()));
  EXPECT_EQ(catalog.FindById("docker.io/library/a@sha256:" + std::string(64, '1'))->id, "a");
}

}  // namespace
}  // namespace vck::image
