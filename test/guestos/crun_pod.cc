#include "guestos/crun_pod.h"

#include <cstdio>
#include <filesystem>

#include <sched.h>
#include <sys/mount.h>
#include <sys/statfs.h>
#include <sys/wait.h>

#include "absl/strings/str_cat.h"
#include "guestos/files.h"

namespace vck::guestos {
namespace {

namespace fs = std::filesystem;
using guestapi::StreamChannel;

constexpr long kCgroup2 = 0x63677270;

std::string OutputOf(const std::string& command) {
  FILE* pipe = ::popen((command + " 2>&1").c_str(), "r");
  if (pipe == nullptr) return "";
  std::string out;
  char buffer[4096];
  while (size_t n = ::fread(buffer, 1, sizeof buffer, pipe)) out.append(buffer, n);
  ::pclose(pipe);
  while (!out.empty() && out.back() == '\n') out.pop_back();
  return out;
}

// Mounts are seen by this process alone; crun wants a pure cgroup v2 host, even where it leaves cgroups alone.
std::string EnterNamespace() {
  if (::geteuid() != 0) return "only root can run containers";
  for (const char* program : {"/usr/bin/crun", "/usr/bin/mksquashfs", "/bin/busybox", "/sbin/losetup"}) {
    if (::access(program, X_OK) != 0) return absl::StrCat(program, " is not installed");
  }
  if (::unshare(CLONE_NEWNS) != 0) return "no mount namespace of its own";
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return "mounts cannot be made private";
  struct statfs info{};
  if (::statfs("/sys/fs/cgroup", &info) == 0 && info.f_type == kCgroup2) return "";
  ::umount2("/sys/fs/cgroup", MNT_DETACH);
  if (::mount("cgroup2", "/sys/fs/cgroup", "cgroup2", 0, nullptr) != 0) return "cgroup v2 cannot be mounted";
  return "";
}

struct ImageFile {
  TempDir dir;
  std::string device;
  ImageFile() {
    const std::string root = dir / "image/rootfs";
    for (const char* path : {"/bin", "/etc", "/tmp", "/proc", "/sys", "/dev", "/data", "/home/web"}) {
      (void)MakeDirs(root + path);
    }
    fs::copy_file("/bin/busybox", root + "/bin/busybox");
    for (const char* applet :
         {"sh",  "cat", "echo", "sleep", "id", "env",  "ls",   "stat", "stty",  "true",  "kill",     "head",
          "yes", "dd",  "wc",   "ps",    "nc", "tail", "grep", "pwd",  "touch", "mount", "readlink", "mkdir"}) {
      fs::create_symlink("busybox", root + "/bin/" + applet);
    }
    (void)WriteFile(root + "/etc/passwd", "root:x:0:0::/root:/bin/sh\nweb:x:33:33::/home/web:/bin/sh\n");
    (void)WriteFile(root + "/etc/group", "root:x:0:\nweb:x:33:\ndisk:x:6:web\n");
    (void)WriteFile(root + "/data/from-image", "x\n");
    (void)WriteFile(root + "/bin/not-executable", "x\n", 0644);
    (void)WriteFile(dir / "image/config.json",
                    R"({"config":{"Cmd":["sh","-c","echo default"],"Env":["FROM=image","PATH=/bin"],
                        "WorkingDir":"/work/dir","StopSignal":"SIGUSR1","Volumes":{"/data":{}}}})");
    OutputOf("mksquashfs " + dir / "image" + " " + dir / "disk" + " -noappend -quiet -no-progress");
    device = OutputOf("losetup --find --show --read-only " + dir / "disk");
  }
  ~ImageFile() { OutputOf("losetup --detach " + device); }
};

std::unique_ptr<ImageFile>& TheImage() {
  static std::unique_ptr<ImageFile> image;
  return image;
}

}  // namespace

std::string CrunPod::Unusable() {
  static const std::string why = EnterNamespace();
  return why;
}

std::string CrunPod::ImageDevice() {
  if (TheImage() == nullptr) TheImage() = std::make_unique<ImageFile>();
  return TheImage()->device;
}

void CrunPod::TearDownTestSuite() { TheImage().reset(); }

void CrunPod::SetUp() {
  if (!unusable_.empty()) GTEST_SKIP() << unusable_;
  const std::string device = ImageDevice();
  if (device.rfind("/dev/loop", 0) != 0) GTEST_SKIP() << "no loop device: " << device;
  pod_.pod_uid = "uid";
  pod_.pod_namespace = "default";
  pod_.pod_name = "web";
  pod_.host_name = "web-0";
  pod_.hosts_file = "127.0.0.1 localhost\n";
  pod_.images = {{.id = "busybox@sha256:1", .unit = 0}};
  options_.device_of = [device](int unit) -> StatusOr<std::string> {
    if (unit != 0) return absl::NotFoundError("no such disk");
    return device;
  };
  options_.state_directory = dir_ / "state";
  options_.secrets_directory = dir_ / "secrets";
  options_.scratch_directory = dir_ / "scratch";
  options_.images_directory = dir_ / "images";
  options_.logs_directory = dir_ / "logs";
  options_.cgroup = "";
  options_.max_open_files = 0;
  options_.pause = {"/bin/busybox", "sleep", "1000"};
  runtime_ = std::make_unique<CrunRuntime>(context_.get_executor(), clock_, reaper_, pool_, options_);
  streams_ = std::make_unique<GuestStreams>(runtime_.get());
  handle_ = runtime_->Factory()([this](tether::Event event) {
    std::string run;
    if (auto* started = std::get_if<tether::Started>(&event)) run = started->run_id;
    if (auto* failed = std::get_if<tether::StartFailed>(&event)) run = failed->run_id;
    if (auto* exited = std::get_if<tether::Exited>(&event)) run = exited->run_id;
    events_.emplace_back(run, std::move(event));
    event_.NotifyAll();
  });
  handle_->SetWaits([this](std::string_view) { return waits_; });
  group_ = std::make_unique<TaskGroup>(context_.get_executor());
  auto server = http::Server::Listen(context_.get_executor(), clock_, {},
                                     [this](http::Exchange& exchange) { return streams_->Serve(&exchange); });
  ASSERT_TRUE(server.ok()) << server.status();
  server_ = *std::move(server);
  group_->Spawn("server", server_->Run());
}

void CrunPod::TearDown() {
  if (runtime_ == nullptr) return;
  EXPECT_TRUE(Run(ShutDown()).ok());
  handle_.reset();
  runtime_.reset();
  std::error_code ec;
  for (const auto& entry : fs::directory_iterator(dir_ / "scratch/containers", ec)) {
    ADD_FAILURE() << entry.path() << " was left behind";
  }
}

Task<Status> CrunPod::ShutDown() {
  group_->Cancel();
  (void)co_await group_->Join();
  co_await runtime_->Close();
  co_return absl::OkStatus();
}

guestapi::ContainerSpec CrunPod::Shell(std::string script) {
  guestapi::ContainerSpec out;
  out.name = "main";
  out.image = "busybox";
  out.image_id = "busybox@sha256:1";
  out.command = {"sh", "-c", std::move(script)};
  return out;
}

void CrunPod::Apply() {
  ++pod_.revision;
  handle_->Apply(std::make_shared<const guestapi::GuestSpec>(pod_));
}

std::string CrunPod::Start(const guestapi::ContainerSpec& container) {
  std::erase_if(pod_.containers, [&](const auto& c) { return c.name == container.name; });
  pod_.containers.push_back(container);
  Apply();
  const std::string id = absl::StrCat("run-", ++runs_);
  handle_->Start(id, attempts_[container.name]++, container);
  return id;
}

Task<tether::Event> CrunPod::NextEvent(std::string run_id) {
  while (true) {
    for (auto it = events_.begin(); it != events_.end(); ++it) {
      if (it->first != run_id) continue;
      tether::Event event = std::move(it->second);
      events_.erase(it);
      co_return event;
    }
    co_await event_.Wait();
  }
}

tether::Exited CrunPod::RunToEnd(const guestapi::ContainerSpec& container) {
  const std::string run = Start(container);
  if (Await<tether::Started>(run).run_id.empty()) return {.exit_code = -1};
  return Await<tether::Exited>(run);
}

Task<StatusOr<http::Response>> CrunPod::DoGet(std::string target) {
  CO_ASSIGN_OR_RETURN(http::Url origin, http::ParseUrl(absl::StrCat("http://127.0.0.1:", server_->port())));
  auto client = http::Client::Create(context_.get_executor(), clock_, {.origin = origin, .http2 = false});
  auto response = co_await client->Do({.target = std::move(target)});
  co_await client->Close();
  co_return response;
}

StatusOr<http::Response> CrunPod::Get(const std::string& target) { return Run(DoGet(target)); }

Task<StatusOr<std::unique_ptr<CrunPod::Client>>> CrunPod::DoOpen(std::string target) {
  auto client = std::make_unique<Client>();
  CO_ASSIGN_OR_RETURN(client->stream, co_await http::Dial(clock_, "127.0.0.1", server_->port(), nullptr, {}));
  http::Request request{.method = target.rfind("/v1/portforward", 0) == 0 ? "GET" : "POST", .target = target};
  request.headers = {
      {"Host", "tether.vch"},
      {"Connection", "Upgrade"},
      {"Upgrade", std::string(request.method == "GET" ? guestapi::kTunnelProtocol : guestapi::kStreamProtocol)}};
  std::string leftover;
  CO_ASSIGN_OR_RETURN(auto response, co_await http::Upgrade(*client->stream, std::move(request), &leftover));
  if (response.status != 101) co_return absl::UnavailableError(absl::StrCat(response.status, " ", response.body));
  CO_RETURN_IF_ERROR(client->decoder.Feed(leftover, [](StreamChannel, std::string_view) { return absl::OkStatus(); }));
  co_return client;
}

StatusOr<std::unique_ptr<CrunPod::Client>> CrunPod::Open(std::string target) { return Run(DoOpen(std::move(target))); }

Task<Status> CrunPod::DoSend(Client* client, std::string frame) { co_return co_await client->stream->Write(frame); }

Status CrunPod::Send(Client* client, StreamChannel channel, std::string data) {
  return Run(DoSend(client, guestapi::EncodeStreamFrame(channel, data)));
}

Task<Status> CrunPod::DoRead(Client* client, std::string text) {
  char buffer[16384];
  while (text.empty() || client->seen.out.find(text) == std::string::npos) {
    CO_ASSIGN_OR_RETURN(size_t n, co_await client->stream->ReadSome(buffer));
    if (n == 0) co_return text.empty() ? absl::OkStatus() : absl::UnavailableError("closed");
    SessionResult& seen = client->seen;
    CO_RETURN_IF_ERROR(client->decoder.Feed({buffer, n}, [&](StreamChannel channel, std::string_view piece) -> Status {
      if (channel == StreamChannel::kStdout) seen.out += piece;
      if (channel == StreamChannel::kStderr) seen.err += piece;
      if (channel == StreamChannel::kStatus) {
        ASSIGN_OR_RETURN(seen.status, guestapi::DecodeStreamStatus(piece));
      }
      return absl::OkStatus();
    }));
  }
  co_return absl::OkStatus();
}

Task<StatusOr<std::string>> CrunPod::Exchange(Client* client, std::string bytes) {
  CO_RETURN_IF_ERROR(co_await client->stream->Write(bytes));
  std::string out;
  char buffer[4096];
  while (true) {
    CO_ASSIGN_OR_RETURN(size_t n, co_await client->stream->ReadSome(buffer));
    if (n == 0) co_return out;
    out.append(buffer, n);
  }
}

void CrunPod::AwaitOutput(const std::string& container, const std::string& text) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (Output(container).find(text) == std::string::npos) {
    ASSERT_LT(std::chrono::steady_clock::now(), end) << Output(container);
  }
}

Status CrunPod::ReadUntil(Client* client, std::string text) { return Run(DoRead(client, std::move(text))); }

StatusOr<SessionResult> CrunPod::Session(const std::string& target, std::string input, bool end_input) {
  ASSIGN_OR_RETURN(auto client, Open(target));
  if (!input.empty()) RETURN_IF_ERROR(Send(client.get(), StreamChannel::kStdin, std::move(input)));
  if (end_input) RETURN_IF_ERROR(Send(client.get(), StreamChannel::kStdin, ""));
  RETURN_IF_ERROR(ReadUntil(client.get(), ""));
  return client->seen;
}

}  // namespace vck::guestos
