#include "node/ipam.h"

#include <algorithm>

#include <arpa/inet.h>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"

namespace vck::node {

std::string FormatIp(uint32_t ip) {
  return absl::StrFormat("%d.%d.%d.%d", ip >> 24, (ip >> 16) & 255, (ip >> 8) & 255, ip & 255);
}

std::optional<uint32_t> ParseIp(std::string_view text) {
  in_addr address{};
  if (inet_pton(AF_INET, std::string(text).c_str(), &address) != 1) return std::nullopt;
  return ntohl(address.s_addr);
}

StatusOr<AddressRange> ParseRange(std::string_view text) {
  auto bad = [&](std::string_view why) {
    return absl::InvalidArgumentError(
        absl::StrCat("address range \"", text, "\": ", why, "; expected 10.1.0.0/20 or 10.1.0.10-10.1.0.99 (IPv4)"));
  };
  std::string_view rest = text;
  int prefix = -1;
  if (size_t slash = rest.find('/'); slash != std::string_view::npos) {
    if (!absl::SimpleAtoi(rest.substr(slash + 1), &prefix) || prefix < 0 || prefix > 32)
      return bad("bad prefix length");
    rest = rest.substr(0, slash);
  }
  AddressRange range;
  auto mask = [](int p) { return p == 0 ? 0u : ~0u << (32 - p); };
  if (size_t dash = rest.find('-'); dash != std::string_view::npos) {
    auto first = ParseIp(rest.substr(0, dash));
    auto last = ParseIp(rest.substr(dash + 1));
    if (!first || !last) return bad("not an IPv4 address");
    if (*first > *last) return bad("its end comes before its beginning");
    if (prefix < 0) {
      prefix = 32;
      while (prefix > 0 && ((*first ^ *last) & mask(prefix)) != 0) --prefix;
    }
    if (((*first ^ *last) & mask(prefix)) != 0) return bad("it does not fit into one network of that prefix length");
    range = {*first, *last, prefix, (*first & mask(prefix)) + 1};
    if (range.first == range.gateway && range.first < range.last) ++range.first;
    return range;
  }
  auto base = ParseIp(rest);
  if (!base) return bad("not an IPv4 address");
  if (prefix < 0) return bad("no prefix length");
  if (prefix > 29) return bad("a pod network needs at least 8 addresses");
  uint32_t network = *base & mask(prefix);
  if (network != *base) return bad(absl::StrCat("host bits are set, the network is ", FormatIp(network), "/", prefix));
  uint32_t broadcast = network | ~mask(prefix);
  range = {network + 2, broadcast - 1, prefix, network + 1};
  return range;
}

void Ipam::SetRange(AddressRange range) {
  if (range_ && range_->first == range.first && range_->last == range.last) return;
  range_ = range;
  next_ = range.first;
}

StatusOr<std::string> Ipam::Allocate(const std::string& owner) {
  if (auto own = Find(owner)) return *own;
  if (!range_)
    return absl::FailedPreconditionError("the node has no pod address range yet (spec.podCIDR or --pod-address-range)");
  for (int64_t tried = 0; tried < range_->size(); ++tried) {
    uint32_t ip = next_;
    next_ = next_ >= range_->last ? range_->first : next_ + 1;
    if (taken_.contains(ip)) continue;
    taken_[ip] = 1;
    owners_[owner].push_back(ip);
    return FormatIp(ip);
  }
  return absl::ResourceExhaustedError(absl::StrFormat("all %d addresses of %s-%s are taken", range_->size(),
                                                      FormatIp(range_->first), FormatIp(range_->last)));
}

void Ipam::Hold(const std::string& owner, std::string_view ip) {
  auto address = ParseIp(ip);
  if (!address) return;
  auto& held = owners_[owner];
  if (std::find(held.begin(), held.end(), *address) != held.end()) return;
  held.push_back(*address);
  ++taken_[*address];
}

void Ipam::Release(const std::string& owner) {
  auto held = owners_.find(owner);
  if (held == owners_.end()) return;
  for (uint32_t ip : held->second) {
    auto taken = taken_.find(ip);
    if (--taken->second == 0) taken_.erase(taken);
  }
  owners_.erase(held);
}

std::optional<std::string> Ipam::Find(const std::string& owner) const {
  auto it = owners_.find(owner);
  if (it == owners_.end()) return std::nullopt;
  return FormatIp(it->second.front());
}

int64_t Ipam::free() const {
  if (!range_) return 0;
  int64_t inside = std::count_if(taken_.begin(), taken_.end(), [&](const auto& entry) {
    return entry.first >= range_->first && entry.first <= range_->last;
  });
  return range_->size() - inside;
}

}  // namespace vck::node
