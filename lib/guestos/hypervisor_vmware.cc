#include "guestos/hypervisor_vmware.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <map>
#include <set>
#include <string>
#include <utility>

#include <linux/vm_sockets.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "async/backoff.h"
#include "base/log.h"
#include "guestos/fd.h"
#include "guestos/vmware_tools.h"

namespace vck::guestos {
namespace {

// tclodefs.h
constexpr unsigned kRpciPort = 976;
constexpr unsigned kHighestPrivileged = 1023, kLowestPrivileged = 1;
constexpr int kSocketSeconds = 2;
// As vmtoolsd polls: at once while there is something, then less and less often.
constexpr absl::Duration kPoll = absl::Milliseconds(10);
constexpr absl::Duration kMaxPoll = absl::Milliseconds(500);
constexpr absl::Duration kAfterError = absl::Seconds(5);

// A connection to the VMX from a privileged port, so that it knows that the kernel's own root asks. Unavailable when
// the host has none to offer.
StatusOr<Fd> ConnectVmx() {
  Fd fd(::socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return absl::UnavailableError("no vsock");
  const timeval limit{.tv_sec = kSocketSeconds};
  ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  ::setsockopt(fd.get(), AF_VSOCK, SO_VM_SOCKETS_CONNECT_TIMEOUT, &limit, sizeof limit);
  sockaddr_vm address{};
  address.svm_family = AF_VSOCK;
  address.svm_cid = VMADDR_CID_ANY;
  for (unsigned port = kHighestPrivileged;; --port) {
    address.svm_port = port;
    if (::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0) break;
    if (errno != EADDRINUSE || port == kLowestPrivileged) return absl::UnavailableError("vsock: no privileged port");
  }
  address.svm_cid = VMADDR_CID_HYPERVISOR;
  address.svm_port = kRpciPort;
  if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    return absl::UnavailableError("vsock: the host does not listen");
  }
  return fd;
}

StatusOr<std::string> AskByVsock(std::string_view command) {
  ASSIGN_OR_RETURN(Fd fd, ConnectVmx());
  const std::string packet = EncodePacket(command, /*fast_close=*/true);
  for (std::string_view rest = packet; !rest.empty();) {
    const ssize_t n = ::send(fd.get(), rest.data(), rest.size(), MSG_NOSIGNAL);
    if (n <= 0) return absl::UnavailableError("vsock: not sent");
    rest.remove_prefix(static_cast<size_t>(n));
  }
  std::string reply;
  size_t size = 0;
  while (size == 0 || reply.size() < size) {
    std::array<char, 4096> buffer{};
    const ssize_t n = ::recv(fd.get(), buffer.data(), buffer.size(), 0);
    if (n <= 0) return absl::UnavailableError("vsock: no reply");
    reply.append(buffer.data(), static_cast<size_t>(n));
    ASSIGN_OR_RETURN(size, PacketSize(reply));
  }
  ASSIGN_OR_RETURN(std::string payload, DecodePacket(std::string_view(reply).substr(0, size)));
  return payload;
}

class VmwareHypervisor : public Hypervisor {
 public:
  VmwareHypervisor(Clock& clock, std::unique_ptr<Backdoor> backdoor, VmwareOptions options)
      : clock_(clock), backdoor_(std::move(backdoor)), vsock_(options.vsock) {}

  [[nodiscard]] std::string_view name() const override { return "VMware"; }

  StatusOr<std::string> Get(std::string_view key) override { return Ask(InfoGet(key)); }

  void Set(std::string key, std::string value) override {
    values_[key] = std::move(value);
    pending_.insert(std::move(key));
    Deliver();
  }

  void ReportNet(GuestNet net) override {
    for (std::string& command : tools_.SetNet(std::move(net))) Tell(command);
  }

  Task<Status> Run(std::function<void(PowerRequest)> on_request) override {
    MessageChannel host(backdoor_.get(), MessageChannel::kTclo);
    Backoff poll({.initial = kPoll, .max = kMaxPoll, .jitter = 0});
    std::string reply;  // to the last request; an empty one says that we are here
    while (true) {
      auto request = Poll(&host, std::exchange(reply, {}));
      if (!request.ok()) {
        host.Close();
        co_await clock_.Sleep(kAfterError);
        continue;
      }
      Deliver();
      if (!request->has_value()) {
        co_await clock_.Sleep(poll.Next());
        continue;
      }
      poll.Reset();
      VmwareTools::Actions actions = tools_.OnRequest(**request);
      for (const std::string& command : actions.commands) Tell(command);
      reply = std::move(actions.reply);
      if (actions.power == VmwareTools::Actions::Power::kNone) continue;
      // The host hears that we are about to, and then we do.
      (void)host.Send(std::exchange(reply, {}));
      on_request(actions.power == VmwareTools::Actions::Power::kReboot ? PowerRequest::kReboot
                                                                       : PowerRequest::kShutdown);
      co_await clock_.Sleep(kPoll);
    }
  }

 private:
  static StatusOr<std::optional<std::string>> Poll(MessageChannel* host, const std::string& reply) {
    if (!host->open()) RETURN_IF_ERROR(host->Open());
    RETURN_IF_ERROR(host->Send(reply));
    auto request = host->Receive();
    if (request.ok() && request->has_value() && (*request)->empty()) return std::optional<std::string>();
    return request;
  }

  StatusOr<std::string> AskByBackdoor(std::string_view command) {
    MessageChannel channel(backdoor_.get(), MessageChannel::kRpci);
    RETURN_IF_ERROR(channel.Open());
    RETURN_IF_ERROR(channel.Send(command));
    ASSIGN_OR_RETURN(std::optional<std::string> reply, channel.Receive());
    if (!reply.has_value()) return absl::UnavailableError("VMware backdoor: no reply");
    return *std::move(reply);
  }

  StatusOr<std::string> Ask(std::string_view command) {
    if (command.empty()) return absl::InvalidArgumentError("VMware RPCI: a command that cannot be sent");
    if (vsock_) {
      auto reply = AskByVsock(command);
      if (reply.ok()) return ParseRpciReply(*reply);
      LogV(1, "VMware RPCI goes through the backdoor from now on", {{"err", reply.status()}});
      vsock_ = false;
    }
    ASSIGN_OR_RETURN(std::string reply, AskByBackdoor(command));
    return ParseRpciReply(reply);
  }

  void Tell(std::string_view command) {
    auto reply = Ask(command);
    if (reply.ok()) return;
    Log(Severity::kWarning, "VMware host refuses",
        {{"command", command.substr(0, command.find(' '))}, {"err", reply.status()}});
  }

  // What could not be delivered is tried again with the next poll.
  void Deliver() {
    for (auto it = pending_.begin(); it != pending_.end();) {
      auto reply = Ask(InfoSet(*it, values_[*it]));
      if (absl::IsUnavailable(reply.status())) return;
      if (!reply.ok()) Log(Severity::kError, "guestinfo not set", {{"key", *it}, {"err", reply.status()}});
      it = pending_.erase(it);
    }
  }

  Clock& clock_;
  std::unique_ptr<Backdoor> backdoor_;
  bool vsock_;
  VmwareTools tools_;
  std::map<std::string, std::string> values_;
  std::set<std::string> pending_;  // keys that are not delivered yet
};

}  // namespace

std::unique_ptr<Hypervisor> MakeVmwareHypervisor(Executor, Clock& clock, std::unique_ptr<Backdoor> backdoor,
                                                 VmwareOptions options) {
  return std::make_unique<VmwareHypervisor>(clock, std::move(backdoor), options);
}

}  // namespace vck::guestos
