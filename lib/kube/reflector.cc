#include "kube/reflector.h"

#include <algorithm>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "async/timeout.h"
#include "base/log.h"

namespace vck::kube {
namespace {

// A server that keeps a watch open longer than it was asked to is dead to us.
constexpr absl::Duration kWatchGrace = absl::Seconds(30);
constexpr absl::Duration kShortWatch = absl::Seconds(1);
constexpr absl::Duration kMaxRetryAfter = absl::Minutes(1);
// So many refusals of a watch by the server in a row make us list again.
constexpr int kMaxRefusedWatches = 3;

// The server does not know (or not allow) sendInitialEvents.
bool RefusesStreaming(const Status& error) {
  auto answer = GetApiError(error);
  return answer && (answer->code == 400 || answer->code == 405 || answer->code == 406 || answer->code == 422);
}

}  // namespace

Reflector::Reflector(Client& client, ReflectorSink& sink, ReflectorOptions options)
    : client_(client),
      clock_(client.clock()),
      sink_(sink),
      options_(std::move(options)),
      backoff_(options_.backoff),
      state_(options_.streaming_list ? State::kStreamingList : State::kPagedList),
      streaming_ok_(options_.streaming_list),
      random_(RandomSeed()),
      last_contact_(clock_.Now()) {}

Task<> Reflector::Run() {
  while (sink_.wants_more()) {
    Status status;
    switch (state_) {
      case State::kStreamingList:
        status = co_await StreamingList();
        break;
      case State::kPagedList:
        status = co_await PagedList();
        break;
      case State::kWatch:
        status = co_await Watch();
        break;
    }
    last_error_ = status;
    if (!sink_.wants_more()) break;
    if (status.ok()) continue;
    co_await clock_.Sleep(Fail(status));
  }
}

absl::Duration Reflector::Fail(const Status& error) {
  auto answer = GetApiError(error);
  State was = state_;
  bool at_once = false;
  switch (state_) {
    case State::kStreamingList:
      ++stats_.list_failures;
      sink_.ListFailed(error);
      if (RefusesStreaming(error)) {
        streaming_ok_ = false;
        at_once = true;
      }
      // A stream that broke may break again; a list by pages makes progress.
      if (!answer || !streaming_ok_) state_ = State::kPagedList;
      break;
    case State::kPagedList:
      ++stats_.list_failures;
      sink_.ListFailed(error);
      break;
    case State::kWatch:
      if (absl::IsOutOfRange(error)) {
        Relist();
      } else if (answer) {
        // 429 and refusals of our identity say nothing about our version; others may.
        bool about_us = answer->code == 429 || answer->code == 401 || answer->code == 403;
        if (!about_us && ++refused_watches_ >= kMaxRefusedWatches) Relist();
      } else if (!absl::IsUnavailable(error) && !absl::IsDeadlineExceeded(error)) {
        Relist();
      }
      if (state_ != was) refused_watches_ = 0;
      break;
  }
  absl::Duration delay = at_once ? absl::ZeroDuration() : backoff_.Next();
  if (answer && answer->retry_after) delay = std::max(delay, std::min(*answer->retry_after, kMaxRetryAfter));
  LogV(at_once || absl::IsOutOfRange(error) ? 2 : 1, was == State::kWatch ? "Watch ended" : "List failed",
       {{"resource", options_.collection.resource.plural}, {"err", error}, {"retryIn", absl::FormatDuration(delay)}});
  return delay;
}

ObjectPtr Reflector::Reuse(ObjectPtr object) const {
  ObjectPtr old = sink_.Find(*object);
  bool same = old != nullptr && old->uid() == object->uid() && old->resource_version() == object->resource_version();
  return same ? old : object;
}

void Reflector::Commit(std::vector<ObjectPtr> objects, std::string resource_version) {
  if (listed_) ++stats_.relists;
  listed_ = true;
  resource_version_ = std::move(resource_version);
  state_ = State::kWatch;
  last_contact_ = clock_.Now();
  sink_.Replace(std::move(objects));
}

// Without a resourceVersion the server answers with the newest state (from its cache, where it can tell that it is the
// newest): going back in time would resurrect pods.
Task<Status> Reflector::PagedList() {
  ++stats_.lists;
  ListOptions options{.field_selector = options_.field_selector,
                      .label_selector = options_.label_selector,
                      .limit = options_.page_size};
  std::vector<ObjectPtr> objects;
  int expired = 0;
  while (true) {
    auto page = co_await client_.ListPage(options_.collection, options);
    if (absl::IsOutOfRange(page.status()) && !options.continue_token.empty()) {
      // The remaining pages are gone: from the beginning, and the second time all at once.
      objects.clear();
      options.continue_token.clear();
      if (++expired > 1) options.limit = 0;
      continue;
    }
    if (!page.ok()) co_return page.status();
    last_contact_ = clock_.Now();
    for (ObjectPtr& object : page->items) objects.push_back(Reuse(std::move(object)));
    if (page->continue_token.empty()) {
      Commit(std::move(objects), std::move(page->resource_version));
      co_return absl::OkStatus();
    }
    options.continue_token = std::move(page->continue_token);
  }
}

WatchOptions Reflector::Options(absl::Duration server_timeout) const {
  return {.field_selector = options_.field_selector,
          .label_selector = options_.label_selector,
          .bookmarks = true,
          .server_timeout = server_timeout};
}

Task<StatusOr<std::optional<WatchEvent>>> Reflector::NextEvent(Session* session) {
  while (true) {
    CO_ASSIGN_OR_RETURN(std::optional<WatchEvent> event, session->stream.Next());
    if (event) {
      last_contact_ = clock_.Now();
      if (event->type == WatchEventType::kError) {
        co_return ErrorFromStatusObject(event->error, absl::StrCat("watch ", options_.collection.resource.plural));
      }
      if (event->object->resource_version().empty()) {
        co_return absl::InvalidArgumentError("watch event: expected metadata.resourceVersion");
      }
      co_return event;
    }
    CO_ASSIGN_OR_RETURN(session->chunk, co_await session->body->Read());
    if (session->chunk.empty()) co_return std::nullopt;
    session->heard = true;
    session->stream.Feed(session->chunk);
  }
}

Task<Status> Reflector::ReadInitial(Session* session) {
  absl::flat_hash_map<std::string, ObjectPtr> objects;
  while (true) {
    CO_ASSIGN_OR_RETURN(std::optional<WatchEvent> event, co_await NextEvent(session));
    if (!event) co_return absl::UnavailableError("the stream ended before the initial events did");
    if (event->type == WatchEventType::kBookmark) {
      if (!event->object->initial_events_end()) continue;
      std::vector<ObjectPtr> all;
      all.reserve(objects.size());
      for (auto& [key, object] : objects) all.push_back(std::move(object));
      Commit(std::move(all), std::string(event->object->resource_version()));
      co_return absl::OkStatus();
    }
    if (event->type == WatchEventType::kDeleted) {
      objects.erase(event->object->Key());
    } else {
      objects.insert_or_assign(event->object->Key(), Reuse(event->object));
    }
  }
}

Task<Status> Reflector::StreamingList() {
  ++stats_.streaming_lists;
  absl::Duration server_timeout = options_.min_watch * (1 + NextRandom(random_));
  WatchOptions options = Options(server_timeout);
  options.send_initial_events = true;
  Session session;
  CO_ASSIGN_OR_RETURN(session.body, co_await client_.Watch(options_.collection, options));
  session.opened = clock_.Now();
  Status status =
      co_await WithTimeout(clock_, options_.streaming_timeout, "the initial events of a watch", ReadInitial(&session));
  if (absl::IsDeadlineExceeded(status)) streaming_ok_ = false;  // it does not know that it should end them
  CO_RETURN_IF_ERROR(status);
  co_return co_await FollowSession(&session, server_timeout);
}

Task<Status> Reflector::Watch() {
  absl::Duration server_timeout = options_.min_watch * (1 + NextRandom(random_));
  WatchOptions options = Options(server_timeout);
  options.resource_version = resource_version_;
  Session session;
  CO_ASSIGN_OR_RETURN(session.body, co_await client_.Watch(options_.collection, options));
  session.opened = clock_.Now();
  last_contact_ = session.opened;
  co_return co_await FollowSession(&session, server_timeout);
}

Task<Status> Reflector::FollowSession(Session* session, absl::Duration server_timeout) {
  if (!sink_.wants_more()) co_return absl::OkStatus();
  ++stats_.watches;
  Instant start = clock_.Now();
  Status status = co_await WithTimeout(clock_, server_timeout + kWatchGrace, "a watch", ReadEvents(session));
  if (session->heard || clock_.Now() - start >= kShortWatch) {
    // It worked for a while: what comes next begins afresh.
    backoff_.Reset();
    if (status.ok()) refused_watches_ = 0;
    co_return status;
  }
  ++stats_.short_watches;
  if (status.ok()) status = absl::UnavailableError("the watch ended at once, with nothing");
  co_return status;
}

Task<Status> Reflector::ReadEvents(Session* session) {
  while (sink_.wants_more()) {
    CO_ASSIGN_OR_RETURN(std::optional<WatchEvent> event, co_await NextEvent(session));
    if (!event) break;
    CO_RETURN_IF_ERROR(Apply(*std::move(event)));
  }
  co_return absl::OkStatus();
}

Status Reflector::Apply(WatchEvent event) {
  Object const& object = *event.object;
  if (event.type == WatchEventType::kBookmark) {
    ++stats_.bookmarks;
    // Bookmarks only go forward. If not, the server's history is another one (a restored backup).
    if (CompareResourceVersions(object.resource_version(), resource_version_) == -1) {
      return absl::OutOfRangeError(
          absl::StrCat("the server went back from version ", resource_version_, " to ", object.resource_version()));
    }
    resource_version_ = std::string(object.resource_version());
    return absl::OkStatus();
  }
  resource_version_ = std::string(object.resource_version());
  ObjectPtr old = sink_.Find(object);
  bool same_object = old != nullptr && old->uid() == object.uid();
  if (event.type == WatchEventType::kDeleted) {
    if (!same_object) {
      ++stats_.duplicates;
      return absl::OkStatus();
    }
    ++stats_.events;
    sink_.Delete(std::move(event.object));
    return absl::OkStatus();
  }
  if (same_object && (old->resource_version() == object.resource_version() ||
                      CompareResourceVersions(object.resource_version(), old->resource_version()) == -1)) {
    ++stats_.duplicates;
    return absl::OkStatus();
  }
  ++stats_.events;
  sink_.Upsert(std::move(event.object));
  return absl::OkStatus();
}

std::string StoreSink::KeyOf(const Object& object) const {
  return key_ == KeyBy::kUid ? std::string(object.uid()) : object.Key();
}

void StoreSink::Replace(std::vector<ObjectPtr> objects) {
  std::vector<std::pair<std::string, ObjectPtr>> all;
  all.reserve(objects.size());
  for (ObjectPtr& object : objects) {
    std::string key = KeyOf(*object);
    all.emplace_back(std::move(key), std::move(object));
  }
  store_.Replace(std::move(all));
}

void StoreSink::Upsert(ObjectPtr object) {
  std::string key = KeyOf(*object);
  store_.Put(key, std::move(object));
}

void StoreSink::Delete(ObjectPtr last_state) { store_.Erase(KeyOf(*last_state)); }

void StoreSink::ListFailed(const Status& error) {
  Log(Severity::kWarning, "A list failed and will be repeated", {{"err", error}});
}

ObjectPtr StoreSink::Find(const Object& like) const { return store_.Get(KeyOf(like)); }

}  // namespace vck::kube
