#include "node/guest_events.h"

#include <algorithm>

namespace vck::node {

GuestEvents::GuestEvents(Clock& clock, guestlink::Links& links, ObjectStore& pods, Record record)
    : links_(links), pods_(pods), record_(std::move(record)), begin_(clock.WallNow()) {}

void GuestEvents::Look(const std::string& pod_uid) {
  auto link = links_.states().Get(pod_uid);
  if (link == nullptr) {
    seen_.erase(pod_uid);
    return;
  }
  auto pod = pods_.Get(pod_uid);
  if (pod == nullptr) return;
  const guestapi::GuestState& guest = link->guest;
  Seen& seen = seen_[pod_uid];
  if (seen.boot_id != guest.boot_id) seen = {.boot_id = guest.boot_id};
  int64_t newest = seen.number;
  for (const guestapi::GuestEvent& event : guest.events) {
    if (event.number <= seen.number) continue;
    newest = std::max(newest, event.number);
    if (event.at + link->clock_offset < begin_) continue;
    record_(*pod, event.container, event.warning, event.reason, event.message);
  }
  seen.number = newest;
}

}  // namespace vck::node
