#include "image/image_fetcher.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "async/timeout.h"

namespace vck::image {
namespace {

// Requests for a digest or a manifest, which are small, at the same time.
constexpr int kParallelResolves = 16;

}  // namespace

ImageFetcher::ImageFetcher(Clock& clock, metrics::Registry& metrics, oci::RegistryClient& registry, ImagePuller& puller,
                           KnownImages& known, Options options)
    : clock_(clock),
      registry_(registry),
      puller_(puller),
      known_(known),
      options_(options),
      resolves_(kParallelResolves),
      slots_(options.parallel_pulls),
      bytes_counter_(metrics.counter("vch_kubelet_image_downloaded_bytes_total", "Bytes of layers from registries.")) {}

Task<StatusOr<ImageFetcher::Fetched>> ImageFetcher::Fetch(Job job) {
  StatusOr<Resolved> resolved = co_await Resolve(job.reference, job.keyring);
  if (!resolved.ok()) {
    co_return Annotate(resolved.status(),
                       absl::StrCat("failed to resolve reference \"", job.reference.ToString(), "\""));
  }
  Fetched fetched{.digest = std::move(resolved->digest)};
  if (resolved->known) {
    fetched.image = *std::move(resolved->known);
  } else {
    oci::Reference named = job.reference;
    named.digest = fetched.digest;
    CO_ASSIGN_OR_RETURN(fetched.image,
                        co_await Obtain(job, std::move(resolved->remote), named.ToString(), &fetched.waited));
  }
  co_await known_.AddName(fetched.image.digest, job.reference, fetched.digest);
  co_return fetched;
}

Task<StatusOr<ImageFetcher::Resolved>> ImageFetcher::Resolve(oci::Reference reference,
                                                             std::shared_ptr<const oci::Keyring> keyring) {
  Limiter::Permit permit = co_await resolves_.Acquire();
  Resolved out;
  CO_ASSIGN_OR_RETURN(out.digest, co_await registry_.Digest(reference, keyring));
  reference.digest = out.digest;
  if (auto found = known_.Find(reference)) {
    out.known = *found->image;
    co_return out;
  }
  CO_ASSIGN_OR_RETURN(out.remote, co_await registry_.Resolve(std::move(reference), std::move(keyring)));
  out.digest = out.remote.digest;
  co_return out;
}

Task<StatusOr<StoredImage>> ImageFetcher::Obtain(const Job& job, oci::RemoteImage remote, std::string name,
                                                 absl::Duration* waited) {
  const std::string digest = remote.manifest_digest;
  co_await known_.AwaitRemoval(digest);
  while (importing_.contains(digest)) {
    std::shared_ptr<Import> other = importing_.at(digest);
    co_await other->done.Wait();
    if (!other->status.ok()) co_return other->status;
  }
  if (const StoredImage* image = known_.Get(digest)) co_return *image;
  auto own = std::make_shared<Import>();
  own->status = absl::CancelledError("the pull was cancelled");
  importing_[digest] = own;
  struct Guard {
    std::map<std::string, std::shared_ptr<Import>>& all;
    const std::string& digest;
    Guard(std::map<std::string, std::shared_ptr<Import>>& a, const std::string& d) : all(a), digest(d) {}
    Guard(const Guard&) = delete;
    Guard& operator=(const Guard&) = delete;
    ~Guard() {
      all.at(digest)->done.Set();
      all.erase(digest);
    }
  } guard(importing_, digest);
  const Instant before = clock_.Now();
  Limiter::Permit permit = co_await slots_.Acquire();
  *waited += clock_.Now() - before;
  // What is being merged cannot be interrupted; it looks at the flag.
  Clock::Timer deadline =
      clock_.Schedule(clock_.Now() + options_.pull_timeout, [flag = job.cancelled] { flag->store(true); });
  StatusOr<StoredImage> image = co_await WithTimeout(
      clock_, options_.pull_timeout, "the pull",
      puller_.Pull({.reference = job.reference,
                    .image = std::move(remote),
                    .keyring = job.keyring,
                    .names = {std::move(name)},
                    .cancelled = job.cancelled,
                    .received = [this](size_t n) { bytes_counter_.Increment(static_cast<double>(n)); }}));
  own->status = image.status();
  if (image.ok()) known_.Add(*image);
  co_return image;
}

}  // namespace vck::image
