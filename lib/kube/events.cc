#include "kube/events.h"

#include <utility>

#include "async/timeout.h"
#include "base/log.h"

namespace vck::kube {
namespace {

constexpr size_t kMaxMessage = 1024;  // validation refuses longer ones
constexpr int kAttempts = 6;

// Cut at a character's beginning: the API wants UTF-8.
void Cut(std::string* text, size_t most) {
  if (text->size() <= most) return;
  while (most > 0 && (static_cast<unsigned char>((*text)[most]) & 0xC0) == 0x80) --most;
  text->resize(most);
}

}  // namespace

Recorder::Recorder(Client& client, EventOptions options)
    : client_(client), clock_(client.clock()), correlator_(options), limit_(options.queue) {}

void Recorder::Event(const InvolvedObject& object, EventType type, std::string reason, std::string message) {
  if (queue_.size() >= limit_) {
    ++stats_.dropped;
    return;
  }
  Cut(&message, kMaxMessage);
  queue_.push_back({object, type, std::move(reason), std::move(message), clock_.WallNow()});
  more_.NotifyOne();
}

Task<Status> Recorder::Send(Queued event) {
  auto action = correlator_.Observe(event.object, event.type, event.reason, event.message, clock_.Now(), event.when);
  if (std::holds_alternative<EventCorrelator::Drop>(action)) {
    ++stats_.spam;
    co_return absl::OkStatus();
  }
  EventCorrelator::Key key{};
  StatusOr<std::string> result;
  Backoff backoff({.initial = absl::Seconds(1), .max = absl::Seconds(10)});
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    if (attempt > 0) co_await clock_.Sleep(backoff.Next());
    if (auto* patch = std::get_if<EventCorrelator::Patch>(&action)) {
      key = patch->key;
      result = co_await client_.Patch({kEvents, patch->ns, patch->name}, PatchType::kStrategic, patch->body, {});
      // Events live for an hour; a later one begins anew.
      if (absl::IsNotFound(result.status()))
        result = co_await client_.Create({kEvents, patch->ns, ""}, patch->create_body);
    } else {
      const auto& create = std::get<EventCorrelator::Create>(action);
      key = create.key;
      result = co_await client_.Create({kEvents, create.ns, ""}, create.body);
    }
    // AlreadyExists: the answer to an earlier attempt was lost.
    if (absl::IsAlreadyExists(result.status()) && attempt > 0) result = std::string();
    if (result.ok() || !IsRetriable(result.status())) break;
  }
  if (result.ok()) {
    ++stats_.sent;
    correlator_.Stored(key);
  } else {
    ++stats_.failed;
    correlator_.Failed(key);
    LogV(1, "Event not recorded", {{"reason", event.reason}, {"object", event.object.name}, {"err", result.status()}});
  }
  co_return result.status();
}

Task<> Recorder::Run() {
  while (true) {
    while (queue_.empty()) co_await more_.Wait();
    Queued event = std::move(queue_.front());
    queue_.pop_front();
    (void)co_await Send(std::move(event));
  }
}

Task<> Recorder::Flush(Instant deadline) {
  while (!queue_.empty() && clock_.Now() < deadline) {
    Queued event = std::move(queue_.front());
    queue_.pop_front();
    Status status = co_await WithDeadline(clock_, deadline, "sending events", Send(std::move(event)));
    if (absl::IsDeadlineExceeded(status)) break;
  }
  stats_.dropped += static_cast<int64_t>(queue_.size());
  queue_.clear();
}

}  // namespace vck::kube
