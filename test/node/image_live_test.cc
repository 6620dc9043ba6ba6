// Images against a vCenter and a registry that are really there (tools/lab up; . DIR/env). Skipped where VCENTER_URL or
// REGISTRIES_FILE is not set.
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <sstream>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/thread_pool.hpp>
#include <sys/resource.h>
#include <unistd.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "async/task_group.h"
#include "base/digest.h"
#include "gmock/gmock.h"
#include "image/image_service.h"
#include "node/image_store.h"
#include "node/placement.h"
#include "support/live.h"
#include "vch/keys.h"
#include "vch/names.h"
#include "vch/pod_key.h"
#include "vimtypes/vm_spec.h"

namespace vck::node {
namespace {

using image::ImageStatus;
using ::testing::HasSubstr;
using State = ImageStatus::State;
using vck::testing::Env;

std::string ReadFile(const std::string& path) {
  std::stringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

class ImageLiveTest : public ::testing::Test {
 public:
  ImageLiveTest() : dir_((std::filesystem::temp_directory_path() / ("image-live-" + RandomHex(4))).string()) {
    std::filesystem::create_directories(dir_);
  }
  ~ImageLiveTest() override { std::filesystem::remove_all(dir_); }

  void SetUp() override {
    if (Env("VCENTER_URL").empty()) GTEST_SKIP() << "no VCENTER_URL";
    if (Env("REGISTRIES_FILE").empty()) GTEST_SKIP() << "no REGISTRIES_FILE";
    auto url = http::ParseUrl(Env("VCENTER_URL"));
    ASSERT_TRUE(url.ok()) << url.status();
    http::ClientOptions client{.origin = *url, .http2 = false, .max_connections = 10};
    auto tls = http::TlsContext::Client({.ca_pem = ReadFile(Env("VCENTER_CA"))});
    ASSERT_TRUE(tls.ok()) << tls.status();
    client.tls = *tls;
    http_ = http::Client::Create(context_.get_executor(), clock_, client);
    vsphere::SessionOptions session{.origin = *url};
    session.credentials = [] { return vsphere::Credentials{Env("VCENTER_USER"), Env("VCENTER_PASSWORD")}; };
    session_ = std::make_unique<vsphere::Session>(clock_, http_, std::move(session));
  }

  void Live(Task<> (ImageLiveTest::*body)()) {
    if (session_ == nullptr) return;
    bool done = false;
    asio::co_spawn(context_, Around(body), [this, &done](std::exception_ptr e) {
      done = true;
      context_.stop();
      if (e) std::rethrow_exception(e);
    });
    context_.run();
    EXPECT_TRUE(done);
  }

  Task<> Around(Task<> (ImageLiveTest::*body)()) {
    StatusOr<Placement> placement = co_await FindPlacement(*session_,
                                                           {.datacenter = Env("VCENTER_DATACENTER"),
                                                            .compute_resource = Env("VCENTER_CLUSTER"),
                                                            .datastore = Env("VCENTER_DATASTORE"),
                                                            .pod_network = Env("VCENTER_NETWORK")},
                                                           vch_id_);
    EXPECT_TRUE(placement.ok()) << placement.status();
    auto registries = oci::ParseRegistryConfig(ReadFile(Env("REGISTRIES_FILE")));
    EXPECT_TRUE(registries.ok()) << registries.status();
    if (placement.ok() && registries.ok()) {
      placement_ = *placement;
      inventory_ =
          std::make_unique<vsphere::Inventory>(clock_, *session_,
                                               vsphere::InventoryOptions{.folder = placement_.folder,
                                                                         .resource_pool = placement_.pool,
                                                                         .compute_resource = placement_.compute,
                                                                         .datastores = {placement_.datastore}});
      calls_ = std::make_unique<vsphere::Calls>(context_.get_executor(), clock_, *session_, *inventory_,
                                                vsphere::CallsOptions{});
      registry_ = std::make_unique<oci::RegistryClient>(context_.get_executor(), clock_, pool_,
                                                        oci::RegistryOptions{.config = *registries});
      TaskGroup group(context_.get_executor());
      group.Spawn("inventory", inventory_->Run());
      co_await inventory_->vms().WaitSynced();
      co_await (this->*body)();
      co_await Stop();
      for (const auto& [moid, vm] : std::map(inventory_->vms().items().begin(), inventory_->vms().items().end())) {
        Status gone = co_await calls_->Destroy(vm->vm);
        EXPECT_TRUE(gone.ok()) << gone;
      }
      EXPECT_TRUE((co_await calls_->Destroy(placement_.folder)).ok());
      EXPECT_TRUE((co_await calls_->Destroy(placement_.pool)).ok());
      co_await calls_->Drain(clock_.Now() + absl::Seconds(30));
      group.Cancel();
      (void)co_await group.Join();
      co_await registry_->Close();
      co_await session_->Logout();
    }
    co_await http_->Close();
  }

  void Start() {
    vsphere::ClientFactory none = [](http::Url, std::string) -> StatusOr<std::shared_ptr<http::Client>> {
      return absl::UnimplementedError("another host");
    };
    store_ = std::make_unique<VSphereImageStore>(clock_, *calls_, placement_, vch_id_, none);
    service_ = std::make_unique<image::ImageService>(
        context_.get_executor(), clock_, metrics_, *registry_, *store_,
        image::ImageCallbacks{.changed = [](const std::string&) {},
                              .event = [](const std::string&, const std::string&, const image::ImageEvent&) {},
                              .node_event = [](const image::ImageEvent&) {},
                              .in_use = [] { return std::nullopt; }},
        image::ImageServiceOptions{.work_dir = dir_ + "/work"});
    running_ = std::make_unique<TaskGroup>(context_.get_executor());
    running_->Spawn("images", service_->Run());
  }
  Task<> Stop() {
    if (!running_) co_return;
    running_->Cancel();
    (void)co_await running_->Join();
    running_.reset();
    service_.reset();
    store_.reset();
  }
  Task<bool> Eventually(std::function<bool()> holds, int seconds = 60) {
    for (int i = 0; i < seconds * 20 && !holds(); ++i) co_await clock_.Sleep(absl::Milliseconds(50));
    co_return holds();
  }
  ImageStatus Ask(const std::string& image) {
    return service_->Want({.pod_uid = "pod " + image, .container = "c", .image = image, .keyring = keyring_});
  }
  Task<ImageStatus> Pull(std::string image) {
    co_await Eventually([&] { return Ask(image).state != State::kPulling; });
    ImageStatus status = Ask(image);
    co_return status;
  }
  // What is in the datastore, unpacked into `where`.
  void Unpack(const std::string& disk_path, const std::string& where) {
    auto path = vch::ParseDatastorePath(disk_path);
    ASSERT_TRUE(path.ok()) << path.status();
    std::string file = Env("VCENTER_DATASTORE_DIR") + "/" + path->path;
    std::string command = absl::StrCat("cd ", dir_, " && qemu-img convert -f vmdk -O raw '", file, "' disk && rm -rf ",
                                       where, " && unsquashfs -q -n -d ", where, " disk >log 2>&1 && rm disk");
    ASSERT_EQ(std::system(command.c_str()), 0) << ReadFile(dir_ + "/log");
  }

  Task<> PullsWhatTheLabHas();
  Task<> TroubleOnTheWay();
  Task<> AfterARestart();
  Task<> Leftovers();
  Task<> Children();

  std::string dir_;
  std::string vch_id_ = "live-" + RandomHex(4);
  asio::io_context context_;
  RealClock clock_{context_.get_executor()};
  asio::thread_pool pool_{1};
  metrics::Registry metrics_;
  std::shared_ptr<http::Client> http_;
  std::unique_ptr<vsphere::Session> session_;
  std::unique_ptr<vsphere::Inventory> inventory_;
  std::unique_ptr<vsphere::Calls> calls_;
  std::unique_ptr<oci::RegistryClient> registry_;
  std::unique_ptr<VSphereImageStore> store_;
  std::unique_ptr<image::ImageService> service_;
  std::unique_ptr<TaskGroup> running_;
  std::shared_ptr<oci::Keyring> keyring_;
  Placement placement_;
};

Task<> ImageLiveTest::PullsWhatTheLabHas() {
  Start();
  for (const char* name : {"busybox", "lab/zstd", "registry.k8s.io/pause:3.10.2", "lab/layers"}) {
    Instant start = clock_.Now();
    ImageStatus status = co_await Pull(name);
    EXPECT_EQ(status.state, State::kReady) << status.message;
    if (status.state != State::kReady) continue;
    auto stored = service_->Find(status.image_id);
    EXPECT_TRUE(stored.has_value());
    if (!stored) continue;
    std::cout << name << ": " << absl::FormatDuration(clock_.Now() - start) << ", disk of "
              << (stored->capacity_bytes >> 20) << " MiB\n";
    EXPECT_TRUE(co_await Eventually([&] {
      auto vm = inventory_->vms().Get(stored->id);
      return vm != nullptr && vm->is_template;
    }));
    Unpack(status.disk_path, "x");
    EXPECT_TRUE(std::filesystem::exists(dir_ + "/x/config.json")) << name;
    EXPECT_TRUE(std::filesystem::is_directory(dir_ + "/x/rootfs")) << name;
  }
  // Its own command tells what is wrong.
  if (geteuid() == 0) {
    std::string run = absl::StrCat(
        "cd ", dir_,
        "/x && eval set -- $(python3 -c 'import json,shlex; c=json.load(open(\"config.json\"))[\"config\"]; "
        "print(\" \".join(map(shlex.quote, (c.get(\"Entrypoint\") or []) + (c.get(\"Cmd\") or []))))')"
        " && unshare -m sh -c 'mount -t proc proc rootfs/proc && exec chroot rootfs \"$@\"' sh \"$@\" >../log 2>&1");
    EXPECT_EQ(std::system(run.c_str()), 0) << ReadFile(dir_ + "/log");
  }
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  std::cout << "peak RSS " << usage.ru_maxrss / 1024 << " MiB\n";
  EXPECT_TRUE(std::filesystem::is_empty(dir_ + "/work"));
}
TEST_F(ImageLiveTest, PullsWhatTheLabHas) { Live(&ImageLiveTest::PullsWhatTheLabHas); }

Task<> ImageLiveTest::TroubleOnTheWay() {
  Start();
  ImageStatus status = co_await Pull("nope/nothing:x");
  EXPECT_EQ(status.reason, "ErrImagePull");
  EXPECT_EQ(status.message,
            "failed to pull and unpack image \"docker.io/nope/nothing:x\": failed to resolve reference "
            "\"docker.io/nope/nothing:x\": docker.io/nope/nothing:x: not found");
  status = co_await Pull("arm64v8/hello-world");
  EXPECT_THAT(status.message, HasSubstr("no match for platform"));
  status = co_await Pull("corrupt/busybox");
  EXPECT_THAT(status.message, HasSubstr("unexpected digest"));
  for (const char* name : {"token/hello-world", "redirect/busybox", "cut/busybox", "token/redirect/cut/hello-world"}) {
    status = co_await Pull(name);
    EXPECT_EQ(status.state, State::kReady) << name << ": " << status.message;
  }
  for (const char* name : {"private/hello-world", "basic/hello-world"}) {
    status = co_await Pull(name);
    EXPECT_EQ(status.reason, "ErrImagePull") << name;
  }
  // The mirror's own credentials; a pod's for docker.io would not be told to it.
  std::string host = Env("REGISTRY_URL").substr(8);
  keyring_ = std::make_shared<oci::Keyring>();
  keyring_->Add(host, {.username = Env("REGISTRY_USER"), .password = Env("REGISTRY_PASSWORD")});
  for (const char* name : {"private/hello-world", "basic/hello-world"}) {
    status = co_await Pull(absl::StrCat(host, "/", name));
    EXPECT_EQ(status.state, State::kReady) << name << ": " << status.message;
  }
  EXPECT_TRUE(std::filesystem::is_empty(dir_ + "/work"));
}
TEST_F(ImageLiveTest, TroubleOnTheWay) { Live(&ImageLiveTest::TroubleOnTheWay); }

Task<> ImageLiveTest::AfterARestart() {
  Start();
  ImageStatus status = co_await Pull("hello-world");
  EXPECT_EQ(status.state, State::kReady) << status.message;
  // The same image by another name: no second disk, and both names are remembered.
  ImageStatus other = co_await Pull("docker.io/hello-world@" + status.image_id.substr(status.image_id.find('@') + 1));
  EXPECT_EQ(other.disk_path, status.disk_path);
  co_await Stop();
  registry_ = std::make_unique<oci::RegistryClient>(
      context_.get_executor(), clock_, pool_,
      oci::RegistryOptions{
          .config = *oci::ParseRegistryConfig(
              R"({"registries":[{"prefix":"*","mirrors":["https://127.0.0.1:1"],"mirrorsOnly":true}]})")});
  Start();
  EXPECT_TRUE(co_await Eventually([&] { return service_->synced(); }));
  ImageStatus again = Ask("hello-world");
  EXPECT_EQ(again.state, State::kReady);
  EXPECT_EQ(again.image_id, status.image_id);
  EXPECT_EQ(again.disk_path, status.disk_path);
  EXPECT_EQ(again.capacity_bytes, status.capacity_bytes);
}
TEST_F(ImageLiveTest, AfterARestart) { Live(&ImageLiveTest::AfterARestart); }

Task<> ImageLiveTest::Leftovers() {
  // What an import that was killed leaves: a VM with an image's keys that is no template.
  vimtypes::VmSpec spec;
  spec.name = vch::ImageVmName(vch_id_, "sha256:0123456789ab");
  spec.datastore = placement_.datastore_name;
  spec.disks = {{.new_bytes = 1 << 20}};
  spec.extra_config = {{std::string(vch::kVchKey), vch_id_},
                       {std::string(vch::kRoleKey), std::string(vch::kRoleImage)},
                       {std::string(vch::kImageKey), "sha256:0123456789ab"}};
  LIVE_ASSIGN(vimtypes::MoRef half,
              co_await calls_->CreateVm(placement_.folder, vimtypes::BuildConfigSpec(spec).value(), placement_.pool));
  // And one of another VCH, which is none of our business.
  spec.name = vch::ImageVmName("another", "sha256:0123456789ab");
  spec.extra_config[0].second = "another";
  LIVE_ASSIGN(vimtypes::MoRef foreign,
              co_await calls_->CreateVm(placement_.folder, vimtypes::BuildConfigSpec(spec).value(), placement_.pool));
  EXPECT_TRUE(co_await Eventually(
      [&] { return inventory_->vms().Get(half.value) != nullptr && inventory_->vms().Get(foreign.value) != nullptr; }));
  Start();
  EXPECT_TRUE(co_await Eventually([&] { return inventory_->vms().Get(half.value) == nullptr; }));
  EXPECT_NE(inventory_->vms().Get(foreign.value), nullptr);
  // Stopped in the middle of a pull: nothing is left, and the next one does it.
  EXPECT_TRUE(co_await Eventually([&] { return service_->synced(); }));
  for (int i = 0; i < 5; ++i) {
    (void)Ask("busybox");
    co_await clock_.Sleep(absl::Milliseconds(60 * i));
    co_await Stop();
    EXPECT_TRUE(std::filesystem::is_empty(dir_ + "/work"));
    Start();
    EXPECT_TRUE(co_await Eventually([&] { return service_->synced(); }));
  }
  ImageStatus status = co_await Pull("busybox");
  EXPECT_EQ(status.state, State::kReady) << status.message;
  EXPECT_TRUE(co_await Eventually([&] { return inventory_->vms().size() == 2; }, 10)) << inventory_->vms().size();
}
TEST_F(ImageLiveTest, Leftovers) { Live(&ImageLiveTest::Leftovers); }

Task<> ImageLiveTest::Children() {
  Start();
  ImageStatus status = co_await Pull("hello-world");
  EXPECT_EQ(status.state, State::kReady) << status.message;
  auto stored = service_->Find(status.image_id);
  EXPECT_TRUE(stored.has_value());
  if (!stored) co_return;
  vimtypes::VmSpec spec;
  spec.name = "child";
  spec.datastore = placement_.datastore_name;
  spec.disks = {{.parent = status.disk_path, .datastore = placement_.datastore, .parent_bytes = status.capacity_bytes}};
  vch::PodKey key{.vch_id = vch_id_, .pod_uid = "u", .pod_namespace = "n", .pod_name = "p"};
  key.images = vch::EncodeImages({{.reference = "hello-world", .id = status.image_id}});
  spec.extra_config = {{std::string(vch::kPodKey), vch::Encode(key)}};
  LIVE_ASSIGN(vimtypes::MoRef child,
              co_await calls_->CreateVm(placement_.folder, vimtypes::BuildConfigSpec(spec).value(), placement_.pool));
  EXPECT_TRUE(co_await Eventually([&] { return inventory_->vms().Get(child.value) != nullptr; }));
  Status busy = co_await store_->Remove(*stored);
  EXPECT_TRUE(absl::IsFailedPrecondition(busy)) << busy;
  auto path = vch::ParseDatastorePath(status.disk_path);
  std::string file = Env("VCENTER_DATASTORE_DIR") + "/" + path->path;
  EXPECT_TRUE(std::filesystem::exists(file));
  // The child goes, the image stays: the next pod needs it.
  LIVE_OK(co_await calls_->Destroy(child));
  EXPECT_TRUE(co_await Eventually([&] { return inventory_->vms().Get(child.value) == nullptr; }));
  EXPECT_TRUE(std::filesystem::exists(file));
  LIVE_OK(co_await store_->Remove(*stored));
  EXPECT_FALSE(std::filesystem::exists(file));
  LIVE_OK(co_await store_->Remove(*stored));
}
TEST_F(ImageLiveTest, Children) { Live(&ImageLiveTest::Children); }

}  // namespace
}  // namespace vck::node
