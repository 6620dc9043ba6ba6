// ImageFetcher: from a reference to an image in the store. The registry says what the reference means; what the store
// has not got is pulled, once however many references lead to it.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "absl/time/time.h"
#include "async/clock.h"
#include "async/limiter.h"
#include "async/task.h"
#include "async/wait.h"
#include "base/status.h"
#include "image/image_puller.h"
#include "image/known_images.h"
#include "metrics/metrics.h"
#include "oci/registry_client.h"

namespace vck::image {

class ImageFetcher {
 public:
  struct Options {
    int parallel_pulls = 3;
    absl::Duration pull_timeout = absl::Hours(1);
  };
  // All references must outlive it.
  ImageFetcher(Clock& clock, metrics::Registry& metrics, oci::RegistryClient& registry, ImagePuller& puller,
               KnownImages& known, Options options);

  struct Job {
    oci::Reference reference;
    std::shared_ptr<const oci::Keyring> keyring;
    std::shared_ptr<std::atomic<bool>> cancelled;  // set by the caller, or when it takes too long: ends a merge
  };
  struct Fetched {
    std::string digest;  // what the registry says that the reference has: an index's for images of several platforms
    StoredImage image;
    absl::Duration waited;  // for its turn
  };
  // The reference is a name of the image afterwards.
  Task<StatusOr<Fetched>> Fetch(Job job);

  // It is being brought in.
  [[nodiscard]] bool Importing(const std::string& digest) const { return importing_.contains(digest); }

 private:
  struct Import {
    Event done;
    Status status;
  };
  // An image that is there already, or what has to be pulled.
  struct Resolved {
    std::optional<StoredImage> known;
    std::string digest;
    oci::RemoteImage remote;
  };
  Task<StatusOr<Resolved>> Resolve(oci::Reference reference, std::shared_ptr<const oci::Keyring> keyring);
  Task<StatusOr<StoredImage>> Obtain(const Job& job, oci::RemoteImage remote, std::string name, absl::Duration* waited);

  Clock& clock_;
  oci::RegistryClient& registry_;
  ImagePuller& puller_;
  KnownImages& known_;
  Options options_;
  Limiter resolves_, slots_;
  std::map<std::string, std::shared_ptr<Import>> importing_;  // by the digest of the platform's manifest
  metrics::Counter& bytes_counter_;
};

}  // namespace vck::image
