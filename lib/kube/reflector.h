// Keeps a copy of a collection: list, then watch, for ever.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "async/backoff.h"
#include "async/clock.h"
#include "async/task.h"
#include "flow/store.h"
#include "kube/client.h"
#include "kube/object.h"
#include "kube/watch_stream.h"

namespace vck::kube {

struct ReflectorOptions {
  ObjectRef collection;  // resource and namespace ("": all); no name
  std::string field_selector, label_selector;
  // Streaming list where the server has it; after a refusal (4xx, or no end within streaming_timeout) paged lists.
  bool streaming_list = true;
  absl::Duration streaming_timeout = absl::Seconds(60);
  int page_size = 250;
  // A watch ends by itself after a random time in [min_watch, 2 min_watch].
  absl::Duration min_watch = absl::Minutes(5);
  BackoffPolicy backoff{.initial = absl::Milliseconds(800), .max = absl::Seconds(30), .factor = 2, .jitter = 0.5};
};

// Where a reflector's objects go. Calls come in the order of the server's history; none is repeated or left out, but
// between two Replace calls states that nobody saw may be missing.
class ReflectorSink {
 public:
  virtual ~ReflectorSink() = default;
  // The whole collection as of one resource version; whatever is not in it is gone.
  virtual void Replace(std::vector<ObjectPtr> objects) = 0;
  virtual void Upsert(ObjectPtr object) = 0;
  virtual void Delete(ObjectPtr last_state) = 0;
  // The object that the sink has under this identity, or null: spares a second copy of what did not change.
  [[nodiscard]] virtual ObjectPtr Find(const Object& like) const = 0;
  // The last list failed.
  virtual void ListFailed(const Status& /*error*/) {}
  // False once nothing more is wanted: Run() returns.
  [[nodiscard]] virtual bool wants_more() const { return true; }
};

class Reflector {
 public:
  enum class State { kStreamingList, kPagedList, kWatch };
  struct Stats {
    int64_t lists = 0, streaming_lists = 0, list_failures = 0;
    int64_t watches = 0, short_watches = 0;                          // short: ended within a second with nothing
    int64_t events = 0, duplicates = 0, bookmarks = 0, relists = 0;  // relist: a list after the first
  };

  // All must outlive the reflector. Client-side caches (`sink`) are only written from Run().
  Reflector(Client& client, ReflectorSink& sink, ReflectorOptions options);
  // Lists and watches until cancelled, or until the sink wants no more.
  Task<> Run();

  // Changed by Run() only.
  [[nodiscard]] State state() const { return state_; }
  [[nodiscard]] const std::string& resource_version() const { return resource_version_; }
  [[nodiscard]] const Stats& stats() const { return stats_; }
  // The last error, OK after a success; for health and conditions.
  [[nodiscard]] const Status& last_error() const { return last_error_; }
  // When the server was last heard (list, event, bookmark, or a watch opened).
  [[nodiscard]] Instant last_contact() const { return last_contact_; }

 private:
  // An open watch and what of it is not worked off yet.
  struct Session {
    std::unique_ptr<http::BodyReader> body;
    WatchStream stream;
    std::string chunk;
    Instant opened;
    bool heard = false;  // anything at all came
  };
  Task<Status> PagedList();
  // Lists, and goes on watching on the same stream.
  Task<Status> StreamingList();
  Task<Status> Watch();
  WatchOptions Options(absl::Duration server_timeout) const;
  // The next event; OutOfRange and others for ERROR events; nullopt at the end of the stream.
  Task<StatusOr<std::optional<WatchEvent>>> NextEvent(Session* session);
  Task<Status> ReadInitial(Session* session);
  Task<Status> ReadEvents(Session* session);
  Task<Status> FollowSession(Session* session, absl::Duration server_timeout);
  Status Apply(WatchEvent event);
  void Commit(std::vector<ObjectPtr> objects, std::string resource_version);
  // The sink's own object instead, when that is the same version.
  ObjectPtr Reuse(ObjectPtr object) const;
  // What a failed list or watch leads to; how long to wait before it.
  absl::Duration Fail(const Status& error);
  void Relist() { state_ = streaming_ok_ ? State::kStreamingList : State::kPagedList; }

  Client& client_;
  Clock& clock_;
  ReflectorSink& sink_;
  ReflectorOptions options_;
  Backoff backoff_;
  State state_;
  bool streaming_ok_;
  bool listed_ = false;
  std::string resource_version_;
  int refused_watches_ = 0;  // in a row, by answers of the server
  uint64_t random_;
  Stats stats_;
  Status last_error_;
  Instant last_contact_;
};

// The usual sink: a store, keyed by Object::Key() or by UID.
class StoreSink : public ReflectorSink {
 public:
  enum class KeyBy { kName, kUid };
  using Store = flow::Store<std::string, Object>;
  explicit StoreSink(Store& store, KeyBy key = KeyBy::kName) : store_(store), key_(key) {}
  void Replace(std::vector<ObjectPtr> objects) override;
  void Upsert(ObjectPtr object) override;
  void Delete(ObjectPtr last_state) override;
  [[nodiscard]] ObjectPtr Find(const Object& like) const override;
  void ListFailed(const Status& error) override;  // a warning in the log

 private:
  [[nodiscard]] std::string KeyOf(const Object& object) const;
  Store& store_;
  KeyBy key_;
};

}  // namespace vck::kube
