#include "podvm/sysctls.h"

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "podvm/go_quote.h"

namespace vck::podvm {
namespace {

constexpr std::string_view kSafe[] = {
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_wmem",
};
constexpr std::string_view kIpc[] = {
    "kernel.sem", "kernel.shmall", "kernel.shmmax", "kernel.shmmni", "kernel.shm_rmid_forced",
    "kernel.shm", "kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.msg",
};
constexpr size_t kMaxLength = 253;

// Parts of [a-z0-9]([-_a-z0-9]*[a-z0-9])?, between dots or slashes; the last may end in '*'
// (SysctlContainSlashPatternFmt).
bool IsPattern(std::string_view text) {
  if (text.empty() || text.size() > kMaxLength) return false;
  std::string_view body = text;
  const bool star = absl::ConsumeSuffix(&body, "*");
  if (star && body.empty()) return false;
  std::vector<std::string_view> parts = absl::StrSplit(body, absl::ByAnyChar("./"));
  for (size_t i = 0; i < parts.size(); ++i) {
    std::string_view part = parts[i];
    const bool last = i + 1 == parts.size();
    if (part.empty()) {
      if (last && star && i > 0) continue;  // "net.*"
      return false;
    }
    for (char c : part) {
      const auto u = static_cast<unsigned char>(c);
      if (!absl::ascii_islower(u) && !absl::ascii_isdigit(u) && c != '-' && c != '_') return false;
    }
    const auto alnum = [](char c) { return c != '-' && c != '_'; };
    if (!alnum(part.front()) || (!alnum(part.back()) && !(last && star))) return false;
  }
  return true;
}

}  // namespace

std::string NormalizeSysctl(std::string_view name) {
  std::string out(name);
  const size_t separator = name.find_first_of("./");
  if (separator == std::string_view::npos || name[separator] == '.') return out;
  for (char& c : out) c = c == '.' ? '/' : c == '/' ? '.' : c;
  return out;
}

SysctlAllowlist::Namespace SysctlAllowlist::NamespaceOf(std::string_view name) {
  for (std::string_view ipc : kIpc) {
    if (name == ipc) return Namespace::kIpc;
  }
  if (name.starts_with("fs.mqueue.")) return Namespace::kIpc;
  return name.starts_with("net.") ? Namespace::kNet : Namespace::kUnknown;
}

void SysctlAllowlist::Add(std::string_view pattern, Namespace ns) {
  const bool prefix = absl::ConsumeSuffix(&pattern, "*");
  entries_.push_back({std::string(pattern), prefix, ns});
}

SysctlAllowlist::SysctlAllowlist() {
  for (std::string_view name : kSafe) Add(name, NamespaceOf(name));
}

StatusOr<SysctlAllowlist> SysctlAllowlist::Make(const std::vector<std::string>& unsafe) {
  SysctlAllowlist list;
  for (const std::string& pattern : unsafe) {
    if (!IsPattern(pattern)) {
      return absl::InvalidArgumentError(
          absl::StrCat("\"", pattern, "\": expected a sysctl such as kernel.msgmax, or a prefix such as net.ipv4.*"));
    }
    const std::string name = NormalizeSysctl(pattern);
    const Namespace ns = NamespaceOf(absl::StripSuffix(name, "*"));
    if (ns == Namespace::kUnknown) {
      return absl::InvalidArgumentError(absl::StrCat("the sysctl \"", pattern, "\" is not known to be namespaced"));
    }
    list.Add(name, ns);
  }
  return list;
}

std::string SysctlAllowlist::Problem(std::string_view sysctl, bool host_network, bool host_ipc) const {
  const std::string name = NormalizeSysctl(sysctl);
  for (const Entry& entry : entries_) {
    if (entry.prefix ? !name.starts_with(entry.name) : name != entry.name) continue;
    if (entry.ns == Namespace::kIpc && host_ipc) return GoQuote(name) + " not allowed with host IPC enabled";
    if (entry.ns == Namespace::kNet && host_network) return GoQuote(name) + " not allowed with host Net enabled";
    return "";
  }
  return GoQuote(name) + " not allowlisted";
}

}  // namespace vck::podvm
