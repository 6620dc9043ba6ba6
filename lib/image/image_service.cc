#include "image/image_service.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "async/backoff.h"
#include "async/task_group.h"
#include "base/log.h"
#include "image/image_collector.h"
#include "image/image_fetcher.h"
#include "image/image_puller.h"
#include "image/image_requests.h"
#include "image/known_images.h"

namespace vck::image {

struct ImageService::Impl {
  Impl(Executor e, Clock& c, metrics::Registry& metrics, oci::RegistryClient& registry, ImageStore& store,
       ImageCallbacks cb, const ImageServiceOptions& options)
      : executor(e),
        clock(c),
        callbacks(std::move(cb)),
        gc_interval(options.gc_interval),
        own_pool(options.pool == nullptr ? std::make_unique<asio::thread_pool>(2) : nullptr),
        puller(e, c, options.pool == nullptr ? *own_pool : *options.pool, registry, store,
               {.work_dir = options.work_dir, .parallel_layers = options.parallel_layers}),
        known(c, metrics, store, options.reread),
        fetcher(c, metrics, registry, puller, known,
                {.parallel_pulls = options.parallel_pulls, .pull_timeout = options.pull_timeout}),
        requests(e, c, metrics, known, fetcher, callbacks,
                 {.backoff_initial = options.backoff_initial, .backoff_max = options.backoff_max}),
        collector({.clock = c,
                   .metrics = metrics,
                   .store = store,
                   .known = known,
                   .in_use = [this] { return InUse(); },
                   .node_event = callbacks.node_event},
                  {.high = options.gc_high,
                   .low = options.gc_low,
                   .min_age = options.gc_min_age,
                   .max_age = options.gc_max_age}) {}
  ~Impl() {
    if (own_pool) own_pool->join();
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  Task<Status> Run();
  Task<> KeepStore(Instant began);
  Task<> ReadStore();
  [[nodiscard]] std::optional<std::set<std::string>> InUse() const;

  Executor executor;
  Clock& clock;
  ImageCallbacks callbacks;
  absl::Duration gc_interval;
  std::unique_ptr<asio::thread_pool> own_pool;
  ImagePuller puller;
  KnownImages known;
  ImageFetcher fetcher;
  ImageRequests requests;
  ImageCollector collector;
};

Task<Status> ImageService::Impl::Run() {
  const Instant began = clock.Now();
  CO_RETURN_IF_ERROR(co_await puller.Prepare());
  TaskGroup tasks(executor);
  tasks.Spawn("pulls", requests.Run());
  tasks.Spawn("image store", KeepStore(began));
  co_return co_await tasks.Join();
}

Task<> ImageService::Impl::KeepStore(Instant began) {
  co_await ReadStore();
  requests.SetSynced();
  while (true) {
    co_await clock.Sleep(gc_interval);
    requests.ForgetOldFailures();
    co_await collector.Round(began);
  }
}

Task<> ImageService::Impl::ReadStore() {
  Backoff backoff({.initial = absl::Seconds(1), .max = absl::Minutes(1)});
  while (true) {
    Status status = co_await known.Read();
    if (status.ok()) break;
    Log(Severity::kWarning, "The images in the store cannot be read yet, will retry", {{"err", status}});
    co_await clock.Sleep(backoff.Next());
  }
  Log(Severity::kInfo, "Images are known", {{"images", known.images().size()}});
}

// By VMs, by those who have been promised one, and by those who are getting one.
std::optional<std::set<std::string>> ImageService::Impl::InUse() const {
  auto ids = callbacks.in_use ? callbacks.in_use() : std::nullopt;
  if (!ids) return std::nullopt;
  std::set<std::string> digests = requests.Held();
  for (const std::string& id : *ids) {
    if (const StoredImage* image = known.FindById(id)) digests.insert(image->digest);
  }
  for (const auto& [digest, image] : known.images()) {
    if (fetcher.Importing(digest)) digests.insert(digest);
  }
  return digests;
}

// ---- the public face ----

ImageService::ImageService(Executor executor, Clock& clock, metrics::Registry& metrics, oci::RegistryClient& registry,
                           ImageStore& store, ImageCallbacks callbacks, ImageServiceOptions options)
    : impl_(std::make_unique<Impl>(executor, clock, metrics, registry, store, std::move(callbacks), options)) {}
ImageService::~ImageService() = default;

Task<Status> ImageService::Run() { return impl_->Run(); }

ImageStatus ImageService::Want(const ImageRequest& request) { return impl_->requests.Want(request); }

void ImageService::Release(const std::string& pod_uid) { impl_->requests.Release(pod_uid); }

void ImageService::Release(const std::string& pod_uid, const std::string& container) {
  impl_->requests.Release(pod_uid, container);
}

std::optional<StoredImage> ImageService::Find(std::string_view image_id) const {
  const StoredImage* image = impl_->known.FindById(image_id);
  if (image == nullptr) return std::nullopt;
  return *image;
}

std::vector<ImageService::NodeImage> ImageService::List() const {
  std::vector<NodeImage> out;
  for (const auto& [digest, image] : impl_->known.images()) {
    NodeImage entry{.size_bytes = image.size_bytes};
    std::set<std::string> plain, tagged;
    for (const std::string& text : image.names) {
      auto name = oci::ParseReference(text);
      if (!name.ok()) continue;
      plain.insert(Catalog::ImageId(*name, name->digest));
      if (!name->tag.empty()) tagged.insert(absl::StrCat(name->Name(), ":", name->tag));
    }
    entry.names.assign(plain.begin(), plain.end());
    entry.names.insert(entry.names.end(), tagged.begin(), tagged.end());
    out.push_back(std::move(entry));
  }
  std::ranges::sort(out, [](const NodeImage& a, const NodeImage& b) { return a.size_bytes > b.size_bytes; });
  return out;
}

bool ImageService::synced() const { return impl_->requests.synced(); }

}  // namespace vck::image
