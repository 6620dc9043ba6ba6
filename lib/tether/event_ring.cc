#include "tether/event_ring.h"

#include <algorithm>
#include <utility>

namespace vck::tether {

std::string CutText(std::string text, size_t size) {
  if (text.size() <= size) return text;
  while (size > 0 && (static_cast<unsigned char>(text[size]) & 0xC0) == 0x80) --size;
  text.resize(size);
  return text;
}

bool EventRing::Add(guestapi::GuestEvent event) {
  event.message = CutText(std::move(event.message), kMaxMessage);
  event.number = ++last_;
  absl::Time told = event.at;
  auto same = std::find_if(events_.begin(), events_.end(), [&](const guestapi::GuestEvent& e) {
    return e.container == event.container && e.reason == event.reason && e.message == event.message;
  });
  bool tell = true;
  if (same != events_.end()) {
    event.count = same->count + 1;
    auto when = told_.begin() + (same - events_.begin());
    tell = event.at - *when >= kQuiet || event.at < *when;
    if (!tell) told = *when;
    told_.erase(when);
    events_.erase(same);
  } else if (events_.size() == kMaxEvents) {
    events_.erase(events_.begin());
    told_.erase(told_.begin());
  }
  events_.push_back(std::move(event));
  told_.push_back(told);
  return tell;
}

}  // namespace vck::tether
