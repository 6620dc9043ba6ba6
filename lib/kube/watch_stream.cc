#include "kube/watch_stream.h"

#include "absl/strings/escaping.h"
#include "kube/object_scanner.h"
#include "kube/scan.h"

namespace vck::kube {
namespace {

std::optional<WatchEventType> TypeOf(std::string_view name) {
  if (name == "ADDED") return WatchEventType::kAdded;
  if (name == "MODIFIED") return WatchEventType::kModified;
  if (name == "DELETED") return WatchEventType::kDeleted;
  if (name == "BOOKMARK") return WatchEventType::kBookmark;
  if (name == "ERROR") return WatchEventType::kError;
  return std::nullopt;
}

bool IsBlank(std::string_view line) { return line.find_first_not_of(" \t\r") == std::string_view::npos; }

}  // namespace

StatusOr<WatchEvent> ParseWatchEvent(std::string_view json) {
  WatchEvent event;
  std::optional<WatchEventType> type;
  std::string_view unknown;
  std::string_view skipped;  // the object, where it could not be read at once
  Status bad;
  JsonCursor cursor(json);
  bool ok = WalkObject(cursor, [&](std::string_view key, size_t) {
    if (key == "type" && cursor.Peek() == '"') {
      bool escaped = false;
      if (!cursor.String(&unknown, &escaped)) return false;
      type = TypeOf(unknown);
      return true;
    }
    if (key != "object") return cursor.Skip();
    // The server writes the type first; then one pass is enough.
    if (type && *type != WatchEventType::kError) {
      auto object = ObjectScanner::Scan(cursor, json);
      if (!object.ok()) {
        bad = object.status();
        return false;
      }
      event.object = *std::move(object);
      return true;
    }
    cursor.Peek();
    size_t begin = cursor.offset();
    if (!cursor.Skip()) return false;
    skipped = json.substr(begin, cursor.offset() - begin);
    return true;
  });
  if (!bad.ok()) return Annotate(bad, "watch event");
  if (!ok || cursor.Peek() != '\0' || cursor.offset() != json.size()) {
    return absl::InvalidArgumentError(absl::StrCat("watch event: expected a JSON object on a line of its own, got \"",
                                                   absl::CHexEscape(json.substr(0, 100)), "\""));
  }
  if (!type) {
    return absl::InvalidArgumentError(
        absl::StrCat("watch event: expected type ADDED, MODIFIED, DELETED, BOOKMARK or ERROR, got \"",
                     absl::CHexEscape(unknown), "\""));
  }
  event.type = *type;
  if (event.type == WatchEventType::kError) {
    event.error = std::string(skipped);
    event.object = nullptr;
  } else if (event.object == nullptr) {
    auto object = Object::Parse(skipped);
    if (!object.ok()) return Annotate(object.status(), "watch event");
    event.object = *std::move(object);
  }
  return event;
}

void WatchStream::Feed(std::string_view chunk) {
  if (!rest_.empty()) buffer_.append(rest_);
  rest_ = chunk;
}

StatusOr<std::optional<WatchEvent>> WatchStream::Next() {
  if (!error_.ok()) return error_;
  while (!rest_.empty()) {
    size_t end = rest_.find('\n');
    size_t size = end == std::string_view::npos ? rest_.size() : end;
    if (buffer_.size() + size > max_event_bytes_) {
      return error_ =
                 absl::ResourceExhaustedError(absl::StrCat("watch event: longer than ", max_event_bytes_, " bytes"));
    }
    if (end == std::string_view::npos) {
      buffer_.append(rest_);
      rest_ = {};
      break;
    }
    std::string_view line = rest_.substr(0, end);
    rest_.remove_prefix(end + 1);
    std::string whole;
    if (!buffer_.empty()) {
      buffer_.append(line);
      whole = std::exchange(buffer_, {});  // gives back the memory of a large event
      line = whole;
    }
    if (IsBlank(line)) continue;
    auto event = ParseWatchEvent(line);
    if (!event.ok()) return error_ = event.status();
    return std::optional<WatchEvent>(*std::move(event));
  }
  return std::optional<WatchEvent>();
}

}  // namespace vck::kube
