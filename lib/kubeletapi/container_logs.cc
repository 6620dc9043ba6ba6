#include "kubeletapi/container_logs.h"

#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "async/task_group.h"
#include "guestapi/cri_log.h"

namespace vck::kubeletapi::internal {
namespace {

// What is shown is sent in pieces of this size.
constexpr size_t kPiece = size_t{32} * 1024;

// Filters as it is read.
class ArchiveReader : public http::BodyReader {
 public:
  ArchiveReader(std::unique_ptr<http::BodyReader> raw, guestapi::CriLogOptions options)
      : raw_(std::move(raw)), filter_(options) {}
  Task<StatusOr<std::string>> Read() override {
    std::string out;
    while (out.size() < kPiece && !filter_.done() && !ended_) {
      CO_ASSIGN_OR_RETURN(std::string raw, co_await raw_->Read());
      ended_ = raw.empty();
      filter_.Feed(raw, &out);
    }
    co_return out;
  }

 private:
  std::unique_ptr<http::BodyReader> raw_;
  guestapi::CriLogFilter filter_;
  bool ended_ = false;
};

Task<StatusOr<int64_t>> CountLines(http::BodyReader& body) {
  int64_t lines = 0;
  bool open_line = false;
  while (true) {
    CO_ASSIGN_OR_RETURN(std::string piece, co_await body.Read());
    if (piece.empty()) break;
    for (char c : piece) lines += c == '\n' ? 1 : 0;
    open_line = piece.back() != '\n';
  }
  // What has no newline is a line, too.
  co_return lines + (open_line ? 1 : 0);
}

struct Copy {
  http::Exchange* exchange;
  http::BodyReader* body;
  TaskGroup* group;
  Status status;
  bool ended = false;
};

Task<> CopyBody(Copy* copy) {
  while (true) {
    auto piece = co_await copy->body->Read();
    if (!piece.ok()) {
      copy->status = piece.status();
      break;
    }
    if (piece->empty()) {
      copy->ended = true;
      break;
    }
    copy->status = co_await copy->exchange->WriteSome(*piece);
    if (!copy->status.ok()) break;
  }
  copy->group->Cancel();
}

// A log that is followed may be silent for long: only this notices that nobody waits for it.
Task<> WatchClient(Copy* copy) {
  co_await copy->exchange->WaitClosed();
  copy->group->Cancel();
}

}  // namespace

Task<Status> SendLog(http::Exchange& exchange, std::unique_ptr<http::BodyReader> body) {
  CO_RETURN_IF_ERROR(co_await exchange.Begin(200, {{"Content-Type", "text/plain; charset=utf-8"}}));
  TaskGroup group(co_await asio::this_coro::executor);
  Copy copy{.exchange = &exchange, .body = body.get(), .group = &group, .status = {}};
  group.Spawn("log", CopyBody(&copy));
  group.Spawn("client", WatchClient(&copy));
  (void)co_await group.Join();
  // Without the last chunk a client knows that the log was cut.
  if (!copy.ended) co_return copy.status;
  co_return co_await exchange.Finish();
}

Task<Status> SendArchivedLog(http::Exchange& exchange, OpenLogArchive open, std::string pod_uid, std::string container,
                             LogOptions options, absl::Time now) {
  guestapi::CriLogOptions filter;
  filter.timestamps = options.timestamps;
  filter.limit_bytes = options.limit_bytes;
  filter.stream = options.stream;
  if (options.since_time) filter.since = *options.since_time;
  if (options.since_seconds) filter.since = now - absl::Seconds(*options.since_seconds);
  CO_ASSIGN_OR_RETURN(auto raw, co_await open(pod_uid, container, options.previous));
  if (options.tail_lines) {
    CO_ASSIGN_OR_RETURN(int64_t lines, co_await CountLines(*raw));
    filter.skip_lines = std::max<int64_t>(0, lines - *options.tail_lines);
    filter.max_lines = options.tail_lines;
    CO_ASSIGN_OR_RETURN(raw, co_await open(pod_uid, container, options.previous));
  }
  co_return co_await SendLog(exchange, std::make_unique<ArchiveReader>(std::move(raw), filter));
}

Status CheckLogStatus(const kubeapi::PodView& pod, std::string_view container, bool previous) {
  const std::string what = absl::StrCat("container \"", container, "\" in pod \"", pod.name(), "\" ");
  const json::Value* status = nullptr;
  for (const char* field : {"containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"}) {
    for (const json::Value& one : json::Items(pod.status(), field)) {
      if (status == nullptr && json::String(one, "name") == container) status = &one;
    }
  }
  if (status == nullptr) return absl::NotFoundError(absl::StrCat(what, "is not available"));
  const json::Value* last = json::Get(json::Get(status, "lastState"), "terminated");
  const bool has_last = !json::String(last, "containerID").empty();
  const json::Value* state = json::Get(status, "state");
  const json::Value* terminated = json::Get(state, "terminated");
  const json::Value* waiting = json::Get(state, "waiting");
  if (previous) {
    if (has_last) return absl::OkStatus();
    return absl::NotFoundError(
        absl::StrCat("previous terminated container \"", container, "\" in pod \"", pod.name(), "\" not found"));
  }
  if (json::Get(state, "running") != nullptr || has_last) return absl::OkStatus();
  if (terminated != nullptr) {
    if (!json::String(terminated, "containerID").empty()) return absl::OkStatus();
    return absl::NotFoundError(absl::StrCat(what, "is terminated"));
  }
  if (last != nullptr) return absl::NotFoundError(absl::StrCat(what, "is terminated"));
  if (waiting == nullptr) return absl::NotFoundError(absl::StrCat(what, "is waiting to start - no logs yet"));
  const std::string_view reason = json::String(waiting, "reason");
  std::string_view why = reason;
  if (reason == "ErrImagePull") why = "image can't be pulled";
  if (reason == "ImagePullBackOff") why = "trying and failing to pull image";
  return absl::NotFoundError(absl::StrCat(what, "is waiting to start: ", why));
}

}  // namespace vck::kubeletapi::internal
