#include "guestos/network.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <string_view>
#include <vector>

#include <linux/netlink.h>
#include <net/if.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "absl/strings/numbers.h"
#include "base/log.h"
#include "guestos/fd.h"
#include "guestos/files.h"
#include "guestos/kernel_files.h"
#include "guestos/netlink.h"
#include "guestos/poll.h"

namespace vck::guestos {
namespace {

namespace fs = std::filesystem;

constexpr absl::Duration kNicLimit = absl::Seconds(10);
constexpr int kAnswerSeconds = 5;
constexpr std::string_view kEthernet = "1";  // ARPHRD_ETHER

class RouteSocket {
 public:
  static StatusOr<RouteSocket> Open() {
    RouteSocket out;
    out.fd_.Reset(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
    if (!out.fd_.valid()) return absl::ErrnoToStatus(errno, "netlink socket");
    const timeval limit{.tv_sec = kAnswerSeconds};
    ::setsockopt(out.fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    return out;
  }

  // Sends what `make` makes of a sequence number, and waits for the acknowledgement.
  template <class Make>
  Status Do(std::string_view what, const Make& make) {
    const std::string message = make(++sequence_);
    sockaddr_nl kernel{};
    kernel.nl_family = AF_NETLINK;
    if (::sendto(fd_.get(), message.data(), message.size(), 0, reinterpret_cast<sockaddr*>(&kernel), sizeof kernel) <
        0) {
      return absl::ErrnoToStatus(errno, what);
    }
    std::array<char, 8192> buffer{};
    while (true) {
      const ssize_t n = ::recv(fd_.get(), buffer.data(), buffer.size(), 0);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return absl::ErrnoToStatus(errno, what);
      Status status = netlink::ParseAck({buffer.data(), static_cast<size_t>(n)}, sequence_);
      if (!absl::IsNotFound(status) || n == 0) return Annotate(std::move(status), what);
    }
  }

 private:
  Fd fd_;
  uint32_t sequence_ = 0;
};

// "" while there is none.
std::string FindNic() {
  std::vector<std::string> found;
  std::error_code ec;
  for (const auto& entry : fs::directory_iterator("/sys/class/net", ec)) {
    if (!fs::exists(entry.path() / "device", ec)) continue;
    if (ReadKernelFile((entry.path() / "type").string()).value_or("") != kEthernet) continue;
    found.push_back(entry.path().filename().string());
  }
  return found.empty() ? "" : *std::min_element(found.begin(), found.end());
}

Status Field(std::string_view name, const Status& status) {
  return absl::InvalidArgumentError(absl::StrCat(name, ": ", status.message()));
}

}  // namespace

Status BringUpLoopback() {
  ASSIGN_OR_RETURN(RouteSocket socket, RouteSocket::Open());
  const int link = static_cast<int>(::if_nametoindex("lo"));
  return socket.Do("loopback", [&](uint32_t sequence) { return netlink::LinkUp(link, sequence); });
}

StatusOr<Nic> BringUpNetwork(const guestapi::BootConfig& config) {
  auto address = ParsePrefix(config.address);
  if (!address.ok()) return Field("address", address.status());
  StatusOr<Prefix> gateway = Prefix{};
  if (!config.gateway.empty()) {
    gateway = ParsePrefix(config.gateway);
    if (!gateway.ok()) return Field("gateway", gateway.status());
    if (gateway->v6() != address->v6()) {
      return absl::InvalidArgumentError("gateway: is of another address family than the address");
    }
  }
  if (!config.host_name.empty() && ::sethostname(config.host_name.data(), config.host_name.size()) != 0) {
    return Field("hostName", absl::ErrnoToStatus(errno, config.host_name));
  }

  Nic nic;
  if (!PollUntil(kNicLimit, [&nic] { return !(nic.name = FindNic()).empty(); })) {
    return absl::NotFoundError(absl::StrCat("no network interface within ", absl::FormatDuration(kNicLimit)));
  }
  const std::string sys = "/sys/class/net/" + nic.name;
  nic.mac = ReadKernelFile(sys + "/address").value_or("");
  (void)absl::SimpleAtoi(ReadKernelFile(sys + "/mtu").value_or(""), &nic.mtu);
  // Neighbours learn at once where a moved address is; and no router's advertisement adds to what the kubelet says.
  (void)WriteKernelFile(absl::StrCat("/proc/sys/net/ipv4/conf/", nic.name, "/arp_notify"), "1");
  (void)WriteKernelFile(absl::StrCat("/proc/sys/net/ipv6/conf/", nic.name, "/accept_ra"), "0");

  ASSIGN_OR_RETURN(RouteSocket socket, RouteSocket::Open());
  const int link = static_cast<int>(::if_nametoindex(nic.name.c_str()));
  RETURN_IF_ERROR(socket.Do("address", [&](uint32_t s) { return netlink::AddAddress(link, *address, s); }));
  RETURN_IF_ERROR(socket.Do("link", [&](uint32_t s) { return netlink::LinkUp(link, s); }));
  if (!gateway->bytes.empty()) {
    const bool on_link = !address->Contains(gateway->bytes);
    RETURN_IF_ERROR(
        socket.Do("route", [&](uint32_t s) { return netlink::AddDefaultRoute(link, gateway->bytes, on_link, s); }));
  }
  for (const auto& [path, content] :
       {std::pair{"/etc/resolv.conf", ResolvConf(config)}, {"/etc/hosts", HostsFile(config)}}) {
    Status status = WriteFile(path, content);
    if (!status.ok()) Log(Severity::kWarning, "File not written", {{"err", status}});
  }
  return nic;
}

std::string ResolvConf(const guestapi::BootConfig& config) {
  std::string out;
  for (const std::string& server : config.dns) absl::StrAppend(&out, "nameserver ", server, "\n");
  return out;
}

std::string HostsFile(const guestapi::BootConfig& config) {
  std::string out = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n";
  if (!config.host_name.empty()) {
    absl::StrAppend(&out, config.address.substr(0, config.address.find('/')), "\t", config.host_name, "\n");
  }
  return out;
}

}  // namespace vck::guestos
