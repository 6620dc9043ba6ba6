// Pod addresses: which of a range are taken, and which one is next. Pure; the truth is the VMs' keys in vCenter.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/container/flat_hash_map.h"
#include "absl/container/inlined_vector.h"
#include "base/status.h"

namespace vck::node {

// An IPv4 range in CIDR notation, or "first-last" (both included).
struct AddressRange {
  uint32_t first = 0, last = 0;  // usable addresses
  int prefix = 32;               // of the network they live in
  uint32_t gateway = 0;          // the network's first host address; never given out
  [[nodiscard]] int64_t size() const { return int64_t{last} - first + 1; }
};
// A CIDR leaves out its network, first host (the gateway's) and broadcast address. "first-last/prefix" says in which
// network a bare range lives; without a prefix it is the smallest that holds both ends.
StatusOr<AddressRange> ParseRange(std::string_view text);
std::string FormatIp(uint32_t ip);
std::optional<uint32_t> ParseIp(std::string_view text);

// Addresses are held by owners (pod UIDs). Addresses are handed out in turn, so that one which was given back comes
// last again.
class Ipam {
 public:
  void SetRange(AddressRange range);
  [[nodiscard]] const std::optional<AddressRange>& range() const { return range_; }

  // The owner's address, a new one if it holds none. ResourceExhausted when all are taken, FailedPrecondition without a
  // range.
  StatusOr<std::string> Allocate(const std::string& owner);
  // `owner` holds `ip` (seen in vCenter), which may lie outside the range. Two owners of one address are both kept.
  void Hold(const std::string& owner, std::string_view ip);
  // All of the owner's addresses are free again: only once vCenter has confirmed that its VMs are gone.
  void Release(const std::string& owner);

  [[nodiscard]] std::optional<std::string> Find(const std::string& owner) const;
  [[nodiscard]] int64_t free() const;
  [[nodiscard]] size_t held() const { return owners_.size(); }

 private:
  std::optional<AddressRange> range_;
  absl::flat_hash_map<uint32_t, int> taken_;  // address: number of owners
  absl::flat_hash_map<std::string, absl::InlinedVector<uint32_t, 1>> owners_;
  uint32_t next_ = 0;
};

}  // namespace vck::node
