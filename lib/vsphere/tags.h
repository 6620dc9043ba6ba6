// Tags on VMs, attached in the background and in batches: nobody waits for them.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "async/backoff.h"
#include "async/clock.h"
#include "async/wait.h"
#include "vsphere/rest.h"

namespace vck::vsphere {

struct TagName {
  std::string category;
  std::string name;
  friend auto operator<=>(const TagName&, const TagName&) = default;
};

// Categories and tags by name, made where they are missing; ids are kept.
class TagService {
 public:
  explicit TagService(RestSession& rest) : rest_(rest) {}
  // Id of the tag. A category is made for VirtualMachine, with one tag of it per object.
  Task<StatusOr<std::string>> Ensure(TagName tag);
  // Those of `objects` that do not carry the tag afterwards: vCenter refuses each by itself.
  Task<StatusOr<std::vector<MoRef>>> Attach(std::string tag_id, std::vector<MoRef> objects);
  // Forgets the ids: somebody has deleted a tag.
  void Forget() { categories_.clear(), tags_.clear(); }

 private:
  Task<StatusOr<std::string>> EnsureCategory(std::string name);
  RestSession& rest_;
  std::map<std::string, std::string> categories_;
  std::map<TagName, std::string> tags_;
};

struct TaggerOptions {
  absl::Duration tick = absl::Seconds(2);  // what comes within is attached together
  size_t batch = 500;                      // objects of one call
  BackoffPolicy backoff = {.initial = absl::Seconds(5), .max = absl::Minutes(10)};  // of failed calls, and of refusals
};

class Tagger {
 public:
  Tagger(Clock& clock, TagService& tags, TaggerOptions options = {});
  // Shall have these tags, some time. Repetitions are ignored until Drop(): a VM that changes keeps its tags.
  void Want(const MoRef& object, const std::vector<TagName>& tags);
  [[nodiscard]] bool Knows(const MoRef& object) const { return known_.contains(object); }
  // Not wanted any more: it is gone.
  void Drop(const MoRef& object);
  // Attaches until cancelled. What fails, or is refused for some objects, is retried with backoff.
  Task<Status> Run();
  [[nodiscard]] size_t pending() const;

 private:
  struct Objects {
    absl::flat_hash_set<MoRef> due, refused;
  };
  // The next tag with objects that are due; waits for one.
  Task<TagName> NextTag();
  void Settle(const TagName& tag, const std::vector<MoRef>& asked, const std::vector<MoRef>& refused);

  Clock& clock_;
  TagService& tags_;
  TaggerOptions options_;
  absl::flat_hash_set<MoRef> known_;
  std::map<TagName, Objects> pending_;
  Backoff refusals_;
  Instant refused_due_ = Instant::Never();  // then what was refused is tried again
  Signal wake_;
};

}  // namespace vck::vsphere
