// LogArchive: the logs of finished pods, kept on the datastore from before their guests power off until the pods'
// objects are gone.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "async/clock.h"
#include "async/limiter.h"
#include "async/task.h"
#include "async/task_group.h"
#include "guestapi/state.h"
#include "guestlink/links.h"

namespace vck::node {

// Where logs are kept: a narrow seam, the datastore behind it. Paths are relative to the VCH's log folder.
class LogFiles {
 public:
  virtual ~LogFiles() = default;
  // With the folders that it needs. Overwrites.
  virtual Task<Status> Upload(std::string path, int64_t size, http::BodySource source) = 0;
  // NotFound if there is no such file.
  virtual Task<StatusOr<std::unique_ptr<http::BodyReader>>> Open(std::string path) = 0;
  // A folder with all in it. Gone already: OK.
  virtual Task<Status> Remove(std::string folder) = 0;
  // The names of the folders that there are.
  virtual Task<StatusOr<std::vector<std::string>>> Folders() = 0;
  // The log folder itself, if nothing is in it. Nobody uploads meanwhile.
  virtual Task<Status> RemoveIfEmpty() = 0;
};

class LogArchive {
 public:
  struct Deps {
    Executor executor;
    Clock& clock;
    guestlink::Links& links;
    LogFiles& files;
    // The logs of this pod are saved, or could not be.
    std::function<void(const std::string& pod_uid)> changed;
  };
  explicit LogArchive(Deps deps) : deps_(std::move(deps)), tasks_(deps_.executor), saves_(kParallel) { open_.Set(); }

  // Begins to fetch all logs of this state's containers from the guest; nothing while that goes on, or once it is done.
  // A failure is tried again by the next call, not sooner than a few seconds later.
  void Save(const std::string& pod_uid, const guestapi::GuestState& state);
  [[nodiscard]] bool Saved(const std::string& pod_uid) const;
  // The object is gone, and so may the logs.
  void Forget(const std::string& pod_uid);
  // In CRI format. NotFound if there is none.
  Task<StatusOr<std::unique_ptr<http::BodyReader>>> Open(std::string pod_uid, std::string container, bool previous);

  // Removes what an earlier process has left of pods that `exists` does not know; then works until cancelled.
  Task<Status> Run(std::function<bool(const std::string& pod_uid)> exists);

 private:
  static constexpr int kParallel = 4;
  enum class State { kSaving, kSaved, kFailed, kKept };  // kept: by an earlier process, maybe not all
  struct Entry {
    State state = State::kSaving;
    Instant failed_at;
  };
  struct Piece {
    std::string container;
    bool previous = false;
  };
  Task<> SaveAll(std::string pod_uid, std::vector<Piece> pieces);
  Task<Status> SaveOne(std::string pod_uid, Piece piece);
  Task<> Remove(std::string pod_uid);
  // Takes the log folder away if no pod has logs, and nothing is being saved or removed.
  Task<> Tidy();

  Deps deps_;
  TaskGroup tasks_;
  Limiter saves_;
  int busy_ = 0;                                     // saving or removing
  Event open_;                                       // not while the log folder is being taken away
  absl::flat_hash_map<std::string, Entry> entries_;  // by pod UID
};

}  // namespace vck::node
