// The bytes of a watch response as events: a machine without I/O.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "kube/object.h"

namespace vck::kube {

enum class WatchEventType { kAdded, kModified, kDeleted, kBookmark, kError };

struct WatchEvent {
  WatchEventType type = WatchEventType::kAdded;
  ObjectPtr object;   // null for kError
  std::string error;  // for kError: the JSON of the metav1.Status
};

// Bytes go in, cut anywhere; events come out, in order: one JSON document a line, as the server writes them. What comes
// after the last line end is no event: the rest of it is missing.
class WatchStream {
 public:
  explicit WatchStream(size_t max_event_bytes = 16 * 1024 * 1024) : max_event_bytes_(max_event_bytes) {}

  // Adds bytes, which must live until Next() returns nullopt or an error.
  void Feed(std::string_view chunk);
  // The next whole event; nullopt when more bytes are needed. After an error (InvalidArgument for what is no event,
  // ResourceExhausted for one that is too long) the stream is of no more use and the error is repeated.
  StatusOr<std::optional<WatchEvent>> Next();
  // True if the bytes so far end inside an event.
  [[nodiscard]] bool partial() const { return !buffer_.empty() || !rest_.empty(); }

 private:
  size_t max_event_bytes_;
  std::string buffer_;     // the beginning of an event whose end is not there yet
  std::string_view rest_;  // of the chunk
  Status error_;
};

// One event, from its whole JSON document. An event of unknown type is InvalidArgument.
StatusOr<WatchEvent> ParseWatchEvent(std::string_view json);

}  // namespace vck::kube
