// KnownImages: what the store has, as far as it has told, and when each of it was used.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "async/clock.h"
#include "async/task.h"
#include "async/wait.h"
#include "base/status.h"
#include "image/catalog.h"
#include "image/image_store.h"
#include "metrics/metrics.h"
#include "oci/reference.h"

namespace vck::image {

class KnownImages {
 public:
  // `reread`: the store is read again after so long, even if it says that nothing has changed.
  KnownImages(Clock& clock, metrics::Registry& metrics, ImageStore& store, absl::Duration reread)
      : clock_(clock),
        store_(store),
        reread_(reread),
        gauge_(metrics.gauge("vch_kubelet_images", "Images in the store.")) {}

  // Asks the store what it has.
  Task<Status> Read();
  Task<Status> ReadIfChanged();

  // By digest, with those that are just being removed.
  [[nodiscard]] const std::map<std::string, StoredImage>& images() const { return catalog_.images(); }
  [[nodiscard]] const StoredImage* FindById(std::string_view image_id) const { return catalog_.FindById(image_id); }
  // What may be given to somebody: not what is just being removed. Both until the next change.
  [[nodiscard]] std::optional<Catalog::Found> Find(const oci::Reference& reference) const;
  [[nodiscard]] const StoredImage* Get(const std::string& digest) const;

  // The store has just got it.
  void Add(StoredImage image);
  // As Catalog::AddName, in the store too. Its copy of the names is for the next process: what cannot be written is
  // asked of the registry again then.
  Task<> AddName(std::string image_digest, oci::Reference reference, std::string digest);
  // Nobody is given it from here on; it is known again if the store refuses.
  Task<Status> Remove(std::string digest);
  // Returns when it is not being removed (any more): the store has no place for another of that digest before.
  Task<> AwaitRemoval(std::string digest);

  // Since this process knows it.
  struct Use {
    Instant first_seen, last_used;
  };
  void Touch(const std::string& digest) { uses_[digest].use.last_used = clock_.Now(); }
  [[nodiscard]] Use UseOf(const std::string& digest) const;

 private:
  struct Record {
    Use use;
    uint64_t added = 0;  // counts additions, to tell what came while the store was read
  };
  void Forget(const std::string& digest);
  void SetGauge() { gauge_.Set(static_cast<double>(catalog_.images().size())); }

  Clock& clock_;
  ImageStore& store_;
  absl::Duration reread_;
  metrics::Gauge& gauge_;
  Catalog catalog_;
  std::map<std::string, Record> uses_;                      // by digest
  std::map<std::string, std::shared_ptr<Event>> removing_;  // set when it is over
  uint64_t additions_ = 0;
  Instant read_at_;            // the store, successfully
  uint64_t read_changes_ = 0;  // of the store, before it was read
};

}  // namespace vck::image
