// The newest events of a pod, a bounded number of them.
#pragma once

#include <string>
#include <vector>

#include "absl/time/time.h"
#include "guestapi/state.h"

namespace vck::tether {

class EventRing {
 public:
  static constexpr size_t kMaxEvents = 16;
  static constexpr size_t kMaxMessage = 1024;  // the API's limit of an event's message
  // A repetition within this is not worth a snapshot of its own; the next one carries it.
  static constexpr absl::Duration kQuiet = absl::Minutes(1);

  // True if it shall be told at once. Equal events become one with a count.
  bool Add(guestapi::GuestEvent event);
  [[nodiscard]] const std::vector<guestapi::GuestEvent>& events() const { return events_; }

 private:
  std::vector<guestapi::GuestEvent> events_;  // by number
  std::vector<absl::Time> told_;              // of each: when it was last worth a snapshot
  int64_t last_ = 0;
};

// The first `size` bytes, but no half of a UTF-8 character.
std::string CutText(std::string text, size_t size);

}  // namespace vck::tether
