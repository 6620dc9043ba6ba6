// core/v1 Events about objects, correlated as client-go's EventRecorder does.
#pragma once

#include <cstdint>
#include <deque>
#include <list>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "async/clock.h"
#include "async/task.h"
#include "async/wait.h"
#include "base/digest.h"
#include "kube/client.h"

namespace vck::kube {

// What an event is about (core/v1 ObjectReference).
struct InvolvedObject {
  std::string api_version = "v1";
  std::string kind = "Pod";
  std::string ns;  // "": cluster-scoped; its events go to "default"
  std::string name;
  std::string uid;  // of a Node: its name, as the kubelet does
  std::string resource_version;
  std::string field_path;  // e.g. "spec.containers{web}"
};
enum class EventType { kNormal, kWarning };

struct EventOptions {
  std::string component = "kubelet";                  // source.component and reportingComponent
  std::string host;                                   // source.host and reportingInstance: the node
  size_t queue = 1000;                                // further events are dropped and counted
  int max_similar = 10;                               // different messages for one reason before they are combined ...
  absl::Duration similar_window = absl::Minutes(10);  // ... within this time
  double spam_burst = 25;                             // events per source and object at once,
  absl::Duration spam_refill = absl::Minutes(5);      // and one more each of this
  size_t cache = 4096;                                // keys remembered per table
};

// Decides what becomes of an event: a machine without I/O.
class EventCorrelator {
 public:
  using Key = Fingerprint;  // of all that two events have in common when one is counted on the other
  struct Drop {};
  struct Create {
    Key key;
    std::string ns, name, body;
  };
  struct Patch {
    Key key;
    std::string ns, name, body;  // strategic merge: count, lastTimestamp, message
    std::string create_body;     // if the event is gone meanwhile
  };
  using Action = std::variant<Drop, Create, Patch>;

  explicit EventCorrelator(EventOptions options) : options_(std::move(options)) {}
  // `elapsed` is monotonic, for rates; `wall` goes into the event.
  Action Observe(const InvolvedObject& object, EventType type, const std::string& reason, const std::string& message,
                 Instant now, absl::Time wall);
  // The API server has stored (or refused) the event: later ones are counted on it, or not.
  void Stored(const Key& key);
  void Failed(const Key& key);

 private:
  struct Bucket {
    double tokens;
    Instant last;
  };
  struct Similar {
    absl::flat_hash_set<Key> messages;
    Instant last;
  };
  struct Seen {
    std::string name;
    int count = 0;
    absl::Time first;
    bool stored = false;
  };
  // Least recently used entries go when there are too many.
  template <class V>
  class Cache {
   public:
    V* Find(const Key& key);
    V& Put(const Key& key, V value, size_t limit);
    void Erase(const Key& key);

   private:
    using Item = std::pair<Key, V>;
    std::list<Item> order_;
    absl::flat_hash_map<Key, typename std::list<Item>::iterator> index_;
  };

  EventOptions options_;
  Cache<Bucket> spam_;
  Cache<Similar> similar_;
  Cache<Seen> seen_;
};

// Takes events without waiting, and sends them in the background.
class Recorder {
 public:
  struct Stats {
    int64_t sent = 0, dropped = 0, spam = 0, failed = 0;
  };
  Recorder(Client& client, EventOptions options);
  // Never blocks and never fails; a full queue drops the event. `reason` is CamelCase as the kubelet's
  // (kubelet/events/event.go). `message` is cut at 1024 bytes.
  void Event(const InvolvedObject& object, EventType type, std::string reason, std::string message);
  // Sends until cancelled.
  Task<> Run();
  // Sends what is still queued, until `deadline`; for shutdown, when Run() has ended.
  Task<> Flush(Instant deadline);
  [[nodiscard]] const Stats& stats() const { return stats_; }
  [[nodiscard]] size_t queued() const { return queue_.size(); }

 private:
  struct Queued {
    InvolvedObject object;
    EventType type;
    std::string reason, message;
    absl::Time when;
  };
  Task<Status> Send(Queued event);

  Client& client_;
  Clock& clock_;
  EventCorrelator correlator_;
  size_t limit_;
  std::deque<Queued> queue_;
  Signal more_;
  Stats stats_;
};

}  // namespace vck::kube
