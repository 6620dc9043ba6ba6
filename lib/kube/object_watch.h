// Single objects by name, as the Node authorizer allows them: one list/watch per ConfigMap or Secret that is
// referenced.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "absl/container/flat_hash_map.h"
#include "async/backoff.h"
#include "async/task.h"
#include "async/task_group.h"
#include "kube/client.h"
#include "kube/object.h"
#include "kube/reflector.h"

namespace vck::kube {

struct ObjectWatchOptions {
  // After a 403 (just after binding the authorizer may not know yet) or another failed list.
  BackoffPolicy backoff{.initial = absl::Milliseconds(500), .max = absl::Seconds(30), .factor = 2, .jitter = 0.3};
  absl::Duration min_watch = absl::Minutes(5);
};

// Watches the objects of one resource for which somebody holds a Ref. An immutable object is read once and not watched.
class ObjectWatch {
 public:
  enum class State {
    kUnknown,  // not read yet
    kAbsent,   // the server says that there is none; it is seen when it appears
    kPresent,
    kFailed,  // could not be read (yet); `error` says why, it is tried again
  };
  struct View {
    State state = State::kUnknown;
    ObjectPtr object;  // kPresent; with kFailed the last one seen, if any
    Status error;      // kFailed
  };
  // Holds one reference. Must not outlive the ObjectWatch.
  class Ref {
   public:
    Ref() = default;
    Ref(Ref&& other) noexcept;
    Ref& operator=(Ref&& other) noexcept;
    ~Ref() { Release(); }
    void Release();
    [[nodiscard]] View Get() const;

   private:
    friend class ObjectWatch;
    Ref(ObjectWatch* owner, std::string key) : owner_(owner), key_(std::move(key)) {}
    ObjectWatch* owner_ = nullptr;
    std::string key_;
  };

  ObjectWatch(Executor executor, Client& client, Resource resource, ObjectWatchOptions options = {});
  ~ObjectWatch();

  // Begins to watch at the first reference; the last one that goes ends it.
  [[nodiscard]] Ref Acquire(std::string_view ns, std::string_view name);
  // kUnknown for what nobody references.
  [[nodiscard]] View Get(std::string_view ns, std::string_view name) const;
  // `fn` is called with "namespace/name" after each change of a view, for the life of the ObjectWatch.
  void Subscribe(std::function<void(const std::string& key)> fn);
  // Works until cancelled. References may come and go before and meanwhile.
  Task<> Run();

  [[nodiscard]] size_t size() const { return entries_.size(); }

 private:
  struct Entry;
  void Drop(const std::string& key);
  void Start(const std::shared_ptr<Entry>& entry);
  static Task<> RunEntry(ObjectWatch* self, std::shared_ptr<Entry> entry);
  void Notify(const std::string& key);

  Executor executor_;
  Client& client_;
  Resource resource_;
  ObjectWatchOptions options_;
  absl::flat_hash_map<std::string, std::shared_ptr<Entry>> entries_;
  std::vector<std::function<void(const std::string&)>> subscribers_;
  TaskGroup group_;
  bool running_ = false;
};

}  // namespace vck::kube
