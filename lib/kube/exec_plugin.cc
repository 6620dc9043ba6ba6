#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "json/json.h"
#include "kube/credentials.h"

extern char** environ;

namespace vck::kube {
namespace {

constexpr size_t kMaxOutput = 1024 * 1024;
constexpr size_t kMaxComplaint = 4096;

struct Pipe {
  std::array<int, 2> fd{-1, -1};
  Pipe() = default;
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  ~Pipe() {
    Close(0);
    Close(1);
  }
  void Close(int end) {
    if (fd[end] >= 0) ::close(std::exchange(fd[end], -1));
  }
};

std::string Hint(const ExecConfig& config) {
  return config.install_hint.empty() ? "" : absl::StrCat("\n", absl::StripAsciiWhitespace(config.install_hint));
}

Status Fail(const ExecConfig& config, std::string_view problem, std::string_view complaint = "") {
  return absl::UnauthenticatedError(absl::StrCat("exec plugin ", config.command, ": ", problem,
                                                 complaint.empty() ? "" : ": ", absl::StripAsciiWhitespace(complaint),
                                                 Hint(config)));
}

// Reads what there is; false at the end.
bool Drain(int fd, std::string* out, size_t limit) {
  std::array<char, 4096> buffer;
  ssize_t n = ::read(fd, buffer.data(), buffer.size());
  if (n < 0) return errno == EINTR || errno == EAGAIN;
  if (out->size() < limit) out->append(buffer.data(), std::min(static_cast<size_t>(n), limit - out->size()));
  return n > 0;
}

std::vector<std::string> Environment(const ExecConfig& config) {
  std::vector<std::string> environment;
  auto replaced = [&](std::string_view entry) {
    std::string_view name = entry.substr(0, entry.find('='));
    if (name == "KUBERNETES_EXEC_INFO") return true;
    for (const auto& [key, value] : config.env) {
      if (key == name) return true;
    }
    return false;
  };
  for (char** entry = environ; *entry != nullptr; ++entry) {
    if (!replaced(*entry)) environment.emplace_back(*entry);
  }
  for (const auto& [key, value] : config.env) environment.push_back(absl::StrCat(key, "=", value));
  environment.push_back(absl::StrCat("KUBERNETES_EXEC_INFO=", ExecInfo(config)));
  return environment;
}

std::vector<char*> Pointers(std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  pointers.reserve(strings.size() + 1);
  for (std::string& s : strings) pointers.push_back(s.data());
  pointers.push_back(nullptr);
  return pointers;
}

}  // namespace

std::string ExecInfo(const ExecConfig& config) {
  json::Object spec;
  spec["interactive"] = false;
  if (config.provide_cluster_info && !config.cluster_json.empty()) {
    if (auto cluster = json::Parse(config.cluster_json); cluster.ok()) spec["cluster"] = *std::move(cluster);
  }
  json::Object info;
  info["kind"] = "ExecCredential";
  info["apiVersion"] = config.api_version;
  info["spec"] = std::move(spec);
  return json::Serialize(json::Value(std::move(info)));
}

StatusOr<ExecResult> ParseExecCredential(const ExecConfig& config, std::string_view output) {
  auto parsed = json::Parse(output);
  if (!parsed.ok())
    return Fail(config, absl::StrCat("expected an ExecCredential as JSON, got ", parsed.status().message()));
  if (json::String(*parsed, "kind") != "ExecCredential") {
    return Fail(config, absl::StrCat("kind: expected ExecCredential, got \"", json::String(*parsed, "kind"), "\""));
  }
  if (json::String(*parsed, "apiVersion") != config.api_version) {
    return Fail(config, absl::StrCat("apiVersion: expected ", config.api_version, " as in the kubeconfig, got \"",
                                     json::String(*parsed, "apiVersion"), "\""));
  }
  const json::Value* status = json::Get(*parsed, "status");
  if (status == nullptr) return Fail(config, "status: expected credentials, it is missing");
  ExecResult result;
  result.token = json::String(status, "token");
  result.client_cert_pem = json::String(status, "clientCertificateData");
  result.client_key_pem = json::String(status, "clientKeyData");
  if (result.client_cert_pem.empty() != result.client_key_pem.empty()) {
    return Fail(config, "status: expected clientCertificateData and clientKeyData together");
  }
  if (result.token.empty() && result.client_cert_pem.empty()) {
    return Fail(config, "status: expected a token or a client certificate, there is neither");
  }
  if (result.token.find_first_of("\r\n") != std::string::npos) return Fail(config, "status.token: expected one line");
  std::string_view expiry = json::String(status, "expirationTimestamp");
  if (!expiry.empty()) {
    absl::Time time;
    if (!absl::ParseTime(absl::RFC3339_full, expiry, &time, nullptr)) {
      return Fail(config, "status.expirationTimestamp: expected a time as in RFC 3339");
    }
    result.expiry = time;
  }
  return result;
}

StatusOr<ExecResult> RunExecPlugin(const ExecConfig& config, absl::Duration timeout) {
  Pipe out;
  Pipe err;
  if (::pipe2(out.fd.data(), O_CLOEXEC) != 0 || ::pipe2(err.fd.data(), O_CLOEXEC) != 0) {
    return Fail(config, absl::StrCat("pipe: ", std::strerror(errno)));
  }
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  absl::Cleanup destroy_actions = [&] { posix_spawn_file_actions_destroy(&actions); };
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, out.fd[1], 1);
  posix_spawn_file_actions_adddup2(&actions, err.fd[1], 2);
  // A group of its own, so that the deadline reaches what the plugin has started; signals as a shell would give them.
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  absl::Cleanup destroy_attributes = [&] { posix_spawnattr_destroy(&attributes); };
  sigset_t set;
  sigemptyset(&set);
  posix_spawnattr_setsigmask(&attributes, &set);
  sigaddset(&set, SIGPIPE);
  posix_spawnattr_setsigdefault(&attributes, &set);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);

  std::vector<std::string> args{config.command};
  args.insert(args.end(), config.args.begin(), config.args.end());
  std::vector<std::string> environment = Environment(config);
  pid_t pid = 0;
  int error = ::posix_spawnp(&pid, config.command.c_str(), &actions, &attributes, Pointers(args).data(),
                             Pointers(environment).data());
  if (error != 0) {
    return Fail(config, error == ENOENT ? "not found" : absl::StrCat("cannot be run: ", std::strerror(error)));
  }
  out.Close(1);
  err.Close(1);

  auto deadline = std::chrono::steady_clock::now() + absl::ToChronoNanoseconds(timeout);
  std::string output;
  std::string complaint;
  bool timed_out = false;
  // Until the plugin has closed its output; its stderr may live on in a daemon that it left behind.
  while (out.fd[0] >= 0) {
    auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now()).count();
    if (left <= 0) {
      timed_out = true;
      break;
    }
    std::array<pollfd, 2> fds{pollfd{out.fd[0], POLLIN, 0}, pollfd{err.fd[0], POLLIN, 0}};
    if (::poll(fds.data(), fds.size(), static_cast<int>(left)) < 0 && errno != EINTR) break;
    if (fds[0].revents != 0 && !Drain(out.fd[0], &output, kMaxOutput)) out.Close(0);
    if (err.fd[0] >= 0 && fds[1].revents != 0 && !Drain(err.fd[0], &complaint, kMaxComplaint)) err.Close(0);
  }
  int status = 0;
  if (timed_out) ::kill(-pid, SIGKILL);
  while (true) {
    pid_t done = ::waitpid(pid, &status, timed_out ? 0 : WNOHANG);
    if (done == pid || (done < 0 && errno != EINTR)) break;
    if (std::chrono::steady_clock::now() >= deadline) {
      timed_out = true;
      ::kill(-pid, SIGKILL);
      continue;
    }
    ::usleep(2000);
  }
  if (timed_out) return Fail(config, absl::StrCat("not done after ", absl::FormatDuration(timeout)), complaint);
  // What it wrote last, without waiting for more.
  if (err.fd[0] >= 0) {
    pollfd fd{err.fd[0], POLLIN, 0};
    while (::poll(&fd, 1, 0) > 0 && Drain(err.fd[0], &complaint, kMaxComplaint)) {
    }
  }
  if (WIFSIGNALED(status)) return Fail(config, absl::StrCat("killed by signal ", WTERMSIG(status)), complaint);
  if (WEXITSTATUS(status) == 127 && output.empty()) return Fail(config, "not found or not runnable", complaint);
  if (WEXITSTATUS(status) != 0) return Fail(config, absl::StrCat("exit code ", WEXITSTATUS(status)), complaint);
  return ParseExecCredential(config, output);
}

}  // namespace vck::kube
