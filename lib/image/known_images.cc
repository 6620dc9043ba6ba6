#include "image/known_images.h"

#include <set>
#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "base/log.h"

namespace vck::image {

// People may have removed some, and what came meanwhile need not be in the list.
Task<Status> KnownImages::Read() {
  const uint64_t before = additions_;
  const uint64_t changes = store_.changes();
  CO_ASSIGN_OR_RETURN(std::vector<StoredImage> all, co_await store_.List());
  std::set<std::string> there;
  for (StoredImage& image : all) {
    there.insert(image.digest);
    auto known = images().find(image.digest);
    if (known != images().end() && known->second.id == image.id) continue;
    Add(std::move(image));
  }
  std::vector<std::string> gone;
  for (const auto& [digest, image] : images()) {
    if (!there.contains(digest) && uses_[digest].added <= before) gone.push_back(digest);
  }
  for (const std::string& digest : gone) {
    Log(Severity::kWarning, "An image is no longer in the store", {{"digest", digest}});
    Forget(digest);
  }
  SetGauge();
  read_at_ = clock_.Now();
  read_changes_ = changes;
  co_return absl::OkStatus();
}

// Idle, a node asks the store for nothing.
Task<Status> KnownImages::ReadIfChanged() {
  if (store_.changes() == read_changes_ && clock_.Now() - read_at_ < reread_) co_return absl::OkStatus();
  co_return co_await Read();
}

std::optional<Catalog::Found> KnownImages::Find(const oci::Reference& reference) const {
  auto found = catalog_.Find(reference);
  if (found && removing_.contains(found->image->digest)) return std::nullopt;
  return found;
}

const StoredImage* KnownImages::Get(const std::string& digest) const {
  auto it = images().find(digest);
  return it == images().end() || removing_.contains(digest) ? nullptr : &it->second;
}

void KnownImages::Add(StoredImage image) {
  const Instant now = clock_.Now();
  uses_[image.digest] = {.use = {.first_seen = now, .last_used = now}, .added = ++additions_};
  catalog_.Put(std::move(image));
  SetGauge();
}

Task<> KnownImages::AddName(std::string image_digest, oci::Reference reference, std::string digest) {
  for (StoredImage& image : catalog_.AddName(image_digest, reference, digest)) {
    std::vector<std::string> names = image.names;
    const std::string changed = image.digest;
    Status status = co_await store_.SetNames(std::move(image), std::move(names));
    if (!status.ok()) LogV(1, "The names of an image were not written", {{"digest", changed}, {"err", status}});
  }
}

Task<Status> KnownImages::Remove(std::string digest) {
  auto it = images().find(digest);
  if (it == images().end()) co_return absl::NotFoundError("no such image");
  const auto over = std::make_shared<Event>();
  removing_[digest] = over;
  const absl::Cleanup done = [this, &digest, &over] {
    removing_.erase(digest);
    over->Set();
  };
  Status status = co_await store_.Remove(it->second);
  if (!status.ok()) co_return status;
  Forget(digest);
  SetGauge();
  co_return absl::OkStatus();
}

Task<> KnownImages::AwaitRemoval(std::string digest) {
  for (auto it = removing_.find(digest); it != removing_.end(); it = removing_.find(digest)) {
    const std::shared_ptr<Event> over = it->second;
    co_await over->Wait();
  }
}

KnownImages::Use KnownImages::UseOf(const std::string& digest) const {
  auto it = uses_.find(digest);
  return it == uses_.end() ? Use() : it->second.use;
}

void KnownImages::Forget(const std::string& digest) {
  catalog_.Erase(digest);
  uses_.erase(digest);
}

}  // namespace vck::image
