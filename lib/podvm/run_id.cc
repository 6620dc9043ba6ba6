#include "podvm/run_id.h"

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "guestapi/identity.h"

namespace vck::podvm {
namespace {
constexpr size_t kBootLength = 12;
}

std::string BootPrefix(std::string_view boot_id) {
  std::string prefix;
  for (char c : boot_id) {
    if (prefix.size() == kBootLength) break;
    if (absl::ascii_isalnum(static_cast<unsigned char>(c))) prefix += c;
  }
  return prefix;
}

std::string FormatRunId(std::string_view boot_prefix, int64_t n, std::string_view id) {
  return absl::StrCat("vch://", boot_prefix, "-", n, "-", id);
}

RunId ParseRunId(std::string_view container_id) {
  RunId run;
  if (!absl::ConsumePrefix(&container_id, "vch://")) return run;
  const size_t first = container_id.find('-');
  const size_t second = first == std::string_view::npos ? first : container_id.find('-', first + 1);
  if (second == std::string_view::npos) return run;
  if (!absl::SimpleAtoi(container_id.substr(first + 1, second - first - 1), &run.n) || run.n < 0) return {};
  run.boot = container_id.substr(0, first);
  run.id = container_id.substr(second + 1);
  return run;
}

std::string CurrentBoot(std::string_view guest_key, const GuestFacts& guest) {
  if (guest.known() && guest.connected) return BootPrefix(guest.state->history());
  auto announced = guestapi::DecodeAnnouncement(guest_key);
  if (announced.ok()) return BootPrefix(announced->history());
  return guest.known() ? BootPrefix(guest.state->history()) : std::string();
}

bool Rebooted(const kubeapi::PodView& pod, std::string_view guest_key, const GuestFacts& guest) {
  const std::string current = CurrentBoot(guest_key, guest);
  if (current.empty()) return false;
  bool other = false, same = false;
  pod.ForEachContainer([&](const kubeapi::ContainerView& c) {
    const std::string_view boot = ParseRunId(json::String(pod.ContainerStatus(c.kind(), c.name()), "containerID")).boot;
    if (boot.empty()) return;
    (boot == current ? same : other) = true;
  });
  return other && !same;
}

}  // namespace vck::podvm
