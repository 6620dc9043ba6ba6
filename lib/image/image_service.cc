#include "image/image_service.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include <boost/asio/thread_pool.hpp>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "async/backoff.h"
#include "async/limiter.h"
#include "async/task_group.h"
#include "async/timeout.h"
#include "async/wait.h"
#include "base/digest.h"
#include "base/log.h"
#include "image/catalog.h"
#include "image/gc.h"
#include "image/image_puller.h"
#include "oci/reference.h"

namespace vck::image {
namespace {

constexpr std::string_view kErrImagePull = "ErrImagePull";
constexpr std::string_view kImagePullBackOff = "ImagePullBackOff";
// So long an error is told as it is, before it is told that its repetition waits: about what the kubelet's sync takes.
constexpr absl::Duration kShowError = absl::Seconds(10);
// Requests for a digest or a manifest, which are small, at the same time.
constexpr int kParallelResolves = 16;

std::string PolicyName(PullPolicy policy) {
  switch (policy) {
    case PullPolicy::kAlways:
      return "always";
    case PullPolicy::kNever:
      return "never";
    case PullPolicy::kIfNotPresent:
      break;
  }
  return "ifnotpresent";
}

// The kubelet's imageSizeBuckets.
std::string SizeBucket(int64_t bytes) {
  constexpr int64_t kMB = int64_t{1} << 20, kGB = int64_t{1} << 30;
  constexpr std::pair<int64_t, std::string_view> kBuckets[] = {
      {100 * kGB, "GT100GB"},   {60 * kGB, "60GB-100GB"},   {40 * kGB, "40GB-60GB"},  {30 * kGB, "30GB-40GB"},
      {20 * kGB, "20GB-30GB"},  {10 * kGB, "10GB-20GB"},    {5 * kGB, "5GB-10GB"},    {1 * kGB, "1GB-5GB"},
      {500 * kMB, "500MB-1GB"}, {100 * kMB, "100MB-500MB"}, {10 * kMB, "10MB-100MB"}, {0, "0-10MB"}};
  for (const auto& [bound, label] : kBuckets) {
    if (bytes > bound) return std::string(label);
  }
  return "";
}

std::string Quoted(const std::string& image) { return absl::StrCat("\"", image, "\""); }

std::string Milliseconds(absl::Duration d) { return absl::FormatDuration(absl::Trunc(d, absl::Milliseconds(1))); }

}  // namespace

PullPolicy PullPolicyOf(std::string_view policy, std::string_view image) {
  if (policy == "Always") return PullPolicy::kAlways;
  if (policy == "Never") return PullPolicy::kNever;
  if (policy == "IfNotPresent") return PullPolicy::kIfNotPresent;
  auto reference = oci::ParseReference(image);
  bool latest = reference.ok() && reference->tag == "latest" && reference->digest.empty();
  return latest ? PullPolicy::kAlways : PullPolicy::kIfNotPresent;
}

struct ImageService::Impl : std::enable_shared_from_this<ImageService::Impl> {
  // Pulls of one reference with one set of credentials. There is one as long as somebody wants it, or it is to be
  // remembered that it has failed.
  struct Pull {
    oci::Reference reference;
    std::shared_ptr<const oci::Keyring> keyring;
    bool running = false;
    Backoff backoff;
    // Of the last attempt that failed.
    std::string error;
    Instant failed_at;
    Instant retry_at = Instant::Never();
    bool told_backoff = false;
    Clock::Timer timer;
    Instant started;        // of the attempt that runs
    absl::Duration waited;  // for its turn
    std::shared_ptr<std::atomic<bool>> cancelled;
  };
  struct Request {
    ImageRequest wanted;
    oci::Reference reference;
    Status parse;
    bool counted = false, told = false;  // metrics; the event that ends the waiting
    std::string pull;                    // key of the Pull that it waits for
    std::string digest;                  // what a pull has resolved the reference to
    std::string image;                   // digest of the stored image that it was answered with
  };
  using Containers = std::map<std::string, Request>;

  Impl(Executor e, Clock& c, metrics::Registry& m, oci::RegistryClient& r, ImageStore& s, ImageCallbacks cb,
       ImageServiceOptions o)
      : executor(e),
        clock(c),
        metrics(m),
        registry(r),
        store(s),
        callbacks(std::move(cb)),
        options(std::move(o)),
        own_pool(options.pool == nullptr ? std::make_unique<asio::thread_pool>(2) : nullptr),
        puller(e, c, options.pool == nullptr ? *own_pool : *options.pool, r, s,
               {.work_dir = options.work_dir, .parallel_layers = options.parallel_layers}),
        slots(options.parallel_pulls),
        images_gauge(m.gauge("vch_kubelet_images", "Images in the store.")),
        pulls_gauge(m.gauge("vch_kubelet_image_pulls_running", "Pulls that run.")),
        bytes_counter(m.counter("vch_kubelet_image_downloaded_bytes_total", "Bytes of layers from registries.")) {}
  ~Impl() {
    if (own_pool) own_pool->join();
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  ImageStatus Want(const ImageRequest& request);
  ImageStatus Evaluate(Request& request);
  ImageStatus Ready(Request& request, const StoredImage& image, const std::string& digest);
  ImageStatus Failed(const Pull& pull, const Request& request) const;
  ImageStatus JoinPull(Request& request);
  void StartPull(const std::string& key);
  void ArmTimer(const std::string& key);
  void TimerFired(const std::string& key);
  Task<> RunPull(std::string key);
  Task<StatusOr<std::pair<std::string, std::string>>> Attempt(std::string key);
  Task<StatusOr<StoredImage>> Obtain(std::string key, oci::RemoteImage remote, std::string name);
  Task<> SaveNames(std::vector<StoredImage> changed);
  void Tell(const Request& request, bool warning, std::string_view reason, std::string message) const;
  template <class Fn>
  void ForWaiting(const std::string& key, Fn fn);
  void NotifyWaiting(const std::string& key);
  void Notify(const std::set<std::string>& pods) const;
  void PullFailed(const std::string& key, const Status& error);
  [[nodiscard]] bool AnyWaiting(const std::string& key) const;
  void Remember(StoredImage image);
  void Count(Request& request, std::string_view present, std::string_view required);
  void ForgetOldFailures();

  Task<Status> Run();
  Task<> EndMerges();
  Task<> ReadStore();
  Task<Status> Reread();
  Task<Status> RereadIfChanged();
  Task<> CollectGarbage();
  Task<Status> CollectOnce();
  Task<bool> Remove(std::string digest, std::string reason);
  [[nodiscard]] std::optional<std::vector<GcImage>> GcImages();
  [[nodiscard]] GcPolicy Policy() const {
    return {
        .high = options.gc_high, .low = options.gc_low, .min_age = options.gc_min_age, .max_age = options.gc_max_age};
  }

  Executor executor;
  Clock& clock;
  metrics::Registry& metrics;
  oci::RegistryClient& registry;
  ImageStore& store;
  ImageCallbacks callbacks;
  ImageServiceOptions options;
  std::unique_ptr<asio::thread_pool> own_pool;
  ImagePuller puller;
  Limiter slots;
  Limiter resolves{kParallelResolves};

  Catalog catalog;
  bool synced = false;
  std::map<std::string, Containers> requests;  // by pod
  std::map<std::string, Pull> pulls;
  // Imports under way, by the digest of the platform's manifest: several references may lead to one.
  struct Importing {
    Event done;
    Status status;
  };
  std::map<std::string, std::shared_ptr<Importing>> importing;
  struct Use {
    Instant first_seen, last_used;
    uint64_t added = 0;  // counts additions, to tell what came while the store was read
  };
  std::map<std::string, Use> uses;
  uint64_t additions = 0;
  Instant read_at;            // the store, successfully
  uint64_t read_changes = 0;  // of the store, before it was read
  std::set<std::string> removing;
  TaskGroup* group = nullptr;  // of Run(), while it runs
  Instant started;
  bool told_full = false;

  metrics::Gauge& images_gauge;
  metrics::Gauge& pulls_gauge;
  metrics::Counter& bytes_counter;
};

// ---- requests ----

ImageStatus ImageService::Impl::Want(const ImageRequest& wanted) {
  Containers& containers = requests[wanted.pod_uid];
  auto [it, fresh] = containers.try_emplace(wanted.container);
  Request& request = it->second;
  if (fresh || request.wanted.image != wanted.image || request.wanted.policy != wanted.policy) {
    request = {};
    request.wanted = wanted;
    auto reference = oci::ParseReference(wanted.image);
    if (reference.ok()) {
      request.reference = *std::move(reference);
    } else {
      request.parse = reference.status();
    }
  }
  request.wanted.keyring = wanted.keyring;
  return Evaluate(request);
}

ImageStatus ImageService::Impl::Evaluate(Request& request) {
  const std::string& image = request.wanted.image;
  if (!request.parse.ok()) {
    ImageStatus status{.state = ImageStatus::State::kFailed,
                       .reason = "InvalidImageName",
                       .message = oci::InvalidNameMessage(image, request.parse)};
    if (!std::exchange(request.told, true)) {
      Tell(request, true, "InspectFailed", status.message);
      Tell(request, true, "Failed", "Error: InvalidImageName");
    }
    return status;
  }
  if (!synced) return {};
  PullPolicy policy = request.wanted.policy;
  if (policy != PullPolicy::kAlways || !request.digest.empty()) {
    oci::Reference reference = request.reference;
    // What the tag meant when it was asked for is what this pod gets.
    if (!request.digest.empty()) reference.digest = request.digest;
    auto found = catalog.Find(reference);
    if (found && !removing.contains(found->image->digest)) {
      Count(request, "true", "false");
      if (!std::exchange(request.told, true)) {
        Tell(request, false, "Pulled",
             absl::StrCat("Container image ", Quoted(image),
                          " already present on machine and can be accessed by the pod"));
      }
      return Ready(request, *found->image, found->digest);
    }
    request.digest.clear();
    request.image.clear();
  }
  if (policy == PullPolicy::kNever) {
    Count(request, "false", "false");
    ImageStatus status{
        .state = ImageStatus::State::kFailed,
        .reason = "ErrImageNeverPull",
        .message = absl::StrCat("Container image ", Quoted(image), " is not present with pull policy of Never")};
    if (!std::exchange(request.told, true)) {
      Tell(request, true, "ErrImageNeverPull", status.message);
      Tell(request, true, "Failed", "Error: ErrImageNeverPull");
    }
    return status;
  }
  Count(request, policy == PullPolicy::kAlways ? "unknown" : "false", "true");
  return JoinPull(request);
}

ImageStatus ImageService::Impl::Ready(Request& request, const StoredImage& image, const std::string& digest) {
  request.image = image.digest;
  uses[image.digest].last_used = clock.Now();
  return {.state = ImageStatus::State::kReady,
          .image_id = Catalog::ImageId(request.reference, digest),
          .disk_path = image.disk_path,
          .capacity_bytes = image.capacity_bytes};
}

ImageStatus ImageService::Impl::JoinPull(Request& request) {
  std::string key = request.reference.ToString();
  if (request.wanted.keyring != nullptr) {
    for (const oci::Credential& c : request.wanted.keyring->Lookup(request.reference.Name())) {
      absl::StrAppend(&key, "\n", Sha256Hex(absl::StrCat(c.username, "\n", c.password, "\n", c.identity_token)));
    }
  }
  // A pull that runs is waited for; one that has failed is left as soon as there are other credentials.
  if (!request.pull.empty() && request.pull != key) {
    auto former = pulls.find(request.pull);
    if (former != pulls.end() && former->second.running) return {};
  }
  bool joins = request.pull != key;
  request.pull = key;
  auto it =
      pulls
          .try_emplace(
              key,
              Pull{.reference = request.reference,
                   .backoff = Backoff(
                       {.initial = options.backoff_initial, .max = options.backoff_max, .factor = 2, .jitter = 0})})
          .first;
  Pull& pull = it->second;
  pull.keyring = request.wanted.keyring;
  if (!pull.running && (pull.error.empty() || clock.Now() >= pull.retry_at)) {
    StartPull(key);
  } else if (joins && pull.running) {
    Tell(request, false, "Pulling", absl::StrCat("Pulling image ", Quoted(request.wanted.image)));
  }
  if (pull.error.empty()) return {};
  return Failed(pull, request);
}

// While an attempt is repeated, what is known of the former one is still what there is to tell.
ImageStatus ImageService::Impl::Failed(const Pull& pull, const Request& request) const {
  ImageStatus status{.state = ImageStatus::State::kFailed, .retry_at = pull.retry_at};
  if (pull.told_backoff) {
    status.reason = kImagePullBackOff;
    status.message =
        absl::StrCat("Back-off pulling image ", Quoted(request.wanted.image), ": ", kErrImagePull, ": ", pull.error);
  } else {
    status.reason = kErrImagePull;
    status.message = pull.error;
  }
  return status;
}

void ImageService::Impl::Tell(const Request& request, bool warning, std::string_view reason,
                              std::string message) const {
  if (!callbacks.event) return;
  callbacks.event(request.wanted.pod_uid, request.wanted.container,
                  {.warning = warning, .reason = std::string(reason), .message = std::move(message)});
}

template <class Fn>
void ImageService::Impl::ForWaiting(const std::string& key, Fn fn) {
  for (auto& [uid, containers] : requests) {
    for (auto& [name, request] : containers) {
      if (request.pull == key) fn(request);
    }
  }
}

bool ImageService::Impl::AnyWaiting(const std::string& key) const {
  return std::ranges::any_of(requests, [&](const auto& pod) {
    return std::ranges::any_of(pod.second, [&](const auto& c) { return c.second.pull == key; });
  });
}

void ImageService::Impl::NotifyWaiting(const std::string& key) {
  std::set<std::string> pods;
  ForWaiting(key, [&pods](const Request& request) { pods.insert(request.wanted.pod_uid); });
  Notify(pods);
}

void ImageService::Impl::Notify(const std::set<std::string>& pods) const {
  if (!callbacks.changed) return;
  for (const std::string& uid : pods) callbacks.changed(uid);
}

void ImageService::Impl::Count(Request& request, std::string_view present, std::string_view required) {
  if (std::exchange(request.counted, true)) return;
  metrics
      .counter("kubelet_image_manager_ensure_image_requests_total",
               "Number of ensure-image requests processed by the kubelet.",
               {{"pull_policy", PolicyName(request.wanted.policy)},
                {"present_locally", std::string(present)},
                {"pull_required", std::string(required)}})
      .Increment();
}

// ---- pulls ----

void ImageService::Impl::StartPull(const std::string& key) {
  Pull& pull = pulls.at(key);
  // Before Run() there is nobody to do it; what is wanted is looked at again when the store has been read.
  if (group == nullptr) return;
  pull.running = true;
  pull.timer.Cancel();
  pull.started = clock.Now();
  pull.waited = absl::ZeroDuration();
  pull.retry_at = Instant::Never();
  pull.cancelled = std::make_shared<std::atomic<bool>>(false);
  ForWaiting(key, [this](Request& request) {
    Tell(request, false, "Pulling", absl::StrCat("Pulling image ", Quoted(request.wanted.image)));
  });
  pulls_gauge.Increment();
  group->Spawn("pull", RunPull(key));
}

Task<> ImageService::Impl::RunPull(std::string key) {
  // However it ends.
  struct Guard {
    Impl& self;
    const std::string& key;
    Guard(Impl& s, const std::string& k) : self(s), key(k) {}
    Guard(const Guard&) = delete;
    Guard& operator=(const Guard&) = delete;
    ~Guard() {
      self.pulls_gauge.Decrement();
      if (auto it = self.pulls.find(key); it != self.pulls.end()) it->second.running = false;
    }
  };
  StatusOr<std::pair<std::string, std::string>> result;
  {
    Guard guard(*this, key);
    result = co_await Attempt(key);
  }
  Pull& pull = pulls.at(key);
  absl::Duration took = clock.Now() - pull.started;
  if (!result.ok()) {
    PullFailed(key, result.status());
    co_return;
  }
  const auto& [digest, image_digest] = *result;
  auto stored = catalog.images().find(image_digest);
  int64_t size = stored != catalog.images().end() ? stored->second.size_bytes : 0;
  metrics
      .histogram("kubelet_image_pull_duration_seconds", "Duration in seconds to pull an image.",
                 {1, 5, 10, 20, 30, 60, 120, 180, 240, 300, 360, 480, 600, 900, 1200, 1800, 2700, 3600},
                 {{"image_size_in_bytes", SizeBucket(size)}})
      .Observe(absl::ToDoubleSeconds(took));
  Log(Severity::kInfo, "Image pulled",
      {{"image", pull.reference.ToString()}, {"digest", digest}, {"time", Milliseconds(took)}, {"bytes", size}});
  std::set<std::string> pods;
  for (auto& [uid, containers] : requests) {
    for (auto& [name, request] : containers) {
      if (request.pull != key) continue;
      request.pull.clear();
      request.digest = digest;
      request.image = image_digest;  // held from now on
      request.told = true;
      Tell(request, false, "Pulled",
           absl::StrCat("Successfully pulled image ", Quoted(request.wanted.image), " in ",
                        Milliseconds(took - pull.waited), " (", Milliseconds(took),
                        " including waiting). Image size: ", size, " bytes."));
      pods.insert(uid);
    }
  }
  pulls.erase(key);
  Notify(pods);
}

void ImageService::Impl::PullFailed(const std::string& key, const Status& error) {
  Pull& pull = pulls.at(key);
  pull.error =
      absl::StrCat("failed to pull and unpack image ", Quoted(pull.reference.ToString()), ": ", error.message());
  pull.failed_at = clock.Now();
  pull.retry_at = clock.Now() + pull.backoff.Next();
  pull.told_backoff = false;
  Log(Severity::kWarning, "Image could not be pulled",
      {{"image", pull.reference.ToString()}, {"failures", pull.backoff.failures()}, {"err", error}});
  ForWaiting(key, [&](Request& request) {
    Tell(request, true, "Failed",
         absl::StrCat("Failed to pull image ", Quoted(request.wanted.image), ": ", pull.error));
    Tell(request, true, "Failed", absl::StrCat("Error: ", kErrImagePull));
  });
  ArmTimer(key);
  NotifyWaiting(key);
}

// First it is told that the repetition waits, then it is time for it.
void ImageService::Impl::ArmTimer(const std::string& key) {
  Pull& pull = pulls.at(key);
  Instant next = pull.retry_at;
  if (!pull.told_backoff)
    next = std::min(next, pull.failed_at + std::min(kShowError, (pull.retry_at - pull.failed_at) / 2));
  pull.timer = clock.Schedule(next, [this, key] { TimerFired(key); });
}

void ImageService::Impl::TimerFired(const std::string& key) {
  auto it = pulls.find(key);
  if (it == pulls.end() || it->second.running) return;
  Pull& pull = it->second;
  if (clock.Now() < pull.retry_at) {
    pull.told_backoff = true;
    ForWaiting(key, [this](Request& request) {
      Tell(request, false, "BackOff", absl::StrCat("Back-off pulling image ", Quoted(request.wanted.image)));
      Tell(request, true, "Failed", absl::StrCat("Error: ", kImagePullBackOff));
    });
    ArmTimer(key);
  } else if (AnyWaiting(key)) {
    StartPull(key);
  }
  NotifyWaiting(key);
}

void ImageService::Impl::ForgetOldFailures() {
  std::erase_if(pulls, [this](const auto& p) {
    const auto& [key, pull] = p;
    return !pull.running && !AnyWaiting(key) && clock.Now() - pull.failed_at > 2 * options.backoff_max;
  });
}

// The digest that the reference has, and that of the stored image.
Task<StatusOr<std::pair<std::string, std::string>>> ImageService::Impl::Attempt(std::string key) {
  oci::Reference reference = pulls.at(key).reference;
  std::shared_ptr<const oci::Keyring> keyring = pulls.at(key).keyring;
  std::string prefix = absl::StrCat("failed to resolve reference ", Quoted(reference.ToString()));
  oci::RemoteImage remote;
  {
    Limiter::Permit permit = co_await resolves.Acquire();
    StatusOr<std::string> digest = co_await registry.Digest(reference, keyring);
    if (!digest.ok()) co_return Annotate(digest.status(), prefix);
    oci::Reference exact = reference;
    exact.digest = *digest;
    if (auto found = catalog.Find(exact); found && !removing.contains(found->image->digest)) {
      std::string image = found->image->digest;
      co_await SaveNames(catalog.AddName(image, reference, *digest));
      co_return std::pair(*std::move(digest), std::move(image));
    }
    StatusOr<oci::RemoteImage> resolved = co_await registry.Resolve(exact, keyring);
    if (!resolved.ok()) co_return Annotate(resolved.status(), prefix);
    remote = *std::move(resolved);
  }
  std::string digest = remote.digest;
  oci::Reference named = reference;
  named.digest = digest;
  CO_ASSIGN_OR_RETURN(StoredImage image, co_await Obtain(key, std::move(remote), named.ToString()));
  co_await SaveNames(catalog.AddName(image.digest, reference, digest));
  co_return std::pair(std::move(digest), std::move(image.digest));
}

// The stored image, brought in if it is not there; by one, however many want it.
Task<StatusOr<StoredImage>> ImageService::Impl::Obtain(std::string key, oci::RemoteImage remote, std::string name) {
  std::string digest = remote.manifest_digest;
  while (importing.contains(digest)) {
    std::shared_ptr<Importing> other = importing.at(digest);
    co_await other->done.Wait();
    if (!other->status.ok()) co_return other->status;
  }
  if (auto it = catalog.images().find(digest); it != catalog.images().end() && !removing.contains(digest)) {
    co_return it->second;
  }
  auto own = std::make_shared<Importing>();
  own->status = absl::CancelledError("the pull was cancelled");
  importing[digest] = own;
  struct Guard {
    std::map<std::string, std::shared_ptr<Importing>>& all;
    std::string digest;
    Guard(std::map<std::string, std::shared_ptr<Importing>>& a, std::string d) : all(a), digest(std::move(d)) {}
    Guard(const Guard&) = delete;
    Guard& operator=(const Guard&) = delete;
    ~Guard() {
      all.at(digest)->done.Set();
      all.erase(digest);
    }
  } guard(importing, digest);
  Instant before = clock.Now();
  Limiter::Permit permit = co_await slots.Acquire();
  pulls.at(key).waited += clock.Now() - before;
  ImagePuller::Job job{.reference = pulls.at(key).reference,
                       .image = std::move(remote),
                       .keyring = pulls.at(key).keyring,
                       .names = {std::move(name)},
                       .cancelled = pulls.at(key).cancelled,
                       .received = [this](size_t n) { bytes_counter.Increment(static_cast<double>(n)); }};
  // What is being merged cannot be interrupted; it looks at this.
  Clock::Timer deadline =
      clock.Schedule(clock.Now() + options.pull_timeout, [flag = job.cancelled] { flag->store(true); });
  StatusOr<StoredImage> image =
      co_await WithTimeout(clock, options.pull_timeout, "the pull", puller.Pull(std::move(job)));
  own->status = image.status();
  if (image.ok()) Remember(*image);
  co_return image;
}

void ImageService::Impl::Remember(StoredImage image) {
  Use& use = uses[image.digest];
  use = {.first_seen = clock.Now(), .last_used = clock.Now(), .added = ++additions};
  catalog.Put(std::move(image));
  images_gauge.Set(static_cast<double>(catalog.images().size()));
}

// The store's copy of the names is for the next process: what cannot be written is asked of the registry again then.
Task<> ImageService::Impl::SaveNames(std::vector<StoredImage> changed) {
  for (StoredImage& image : changed) {
    std::vector<std::string> names = image.names;
    std::string digest = image.digest;
    Status status = co_await store.SetNames(std::move(image), std::move(names));
    if (!status.ok()) LogV(1, "The names of an image were not written", {{"digest", digest}, {"err", status}});
  }
}

// ---- the store ----

Task<Status> ImageService::Impl::Run() {
  started = clock.Now();
  CO_RETURN_IF_ERROR(co_await puller.Prepare());
  TaskGroup tasks(executor);
  struct Guard {
    Impl& self;
    explicit Guard(Impl& s) : self(s) {}
    Guard(const Guard&) = delete;
    Guard& operator=(const Guard&) = delete;
    ~Guard() {
      self.group = nullptr;
      for (auto& [key, pull] : self.pulls) pull.timer.Cancel();
    }
  } guard(*this);
  group = &tasks;
  tasks.Spawn("the end of merges", EndMerges());
  tasks.Spawn("image store", ReadStore());
  co_return co_await tasks.Join();
}

// A merge waits for nothing that could be cancelled: it is told.
Task<> ImageService::Impl::EndMerges() {
  Waiter forever;
  try {
    co_await forever.Wait();
  } catch (const boost::system::system_error&) {
    for (auto& [key, pull] : pulls) {
      if (pull.cancelled) pull.cancelled->store(true);
    }
    throw;
  }
}

Task<> ImageService::Impl::ReadStore() {
  Backoff backoff({.initial = absl::Seconds(1), .max = absl::Minutes(1)});
  while (true) {
    Status status = co_await Reread();
    if (status.ok()) break;
    Log(Severity::kWarning, "The images in the store cannot be read yet, will retry", {{"err", status}});
    co_await clock.Sleep(backoff.Next());
  }
  synced = true;
  Log(Severity::kInfo, "Images are known", {{"images", catalog.images().size()}});
  std::set<std::string> pods;
  for (const auto& [uid, containers] : requests) pods.insert(uid);
  Notify(pods);
  co_await CollectGarbage();
}

// People may have removed some, and what came meanwhile need not be in the list.
Task<Status> ImageService::Impl::Reread() {
  uint64_t before = additions;
  const uint64_t changes = store.changes();
  CO_ASSIGN_OR_RETURN(std::vector<StoredImage> all, co_await store.List());
  std::set<std::string> there;
  for (StoredImage& image : all) {
    there.insert(image.digest);
    auto known = catalog.images().find(image.digest);
    if (known != catalog.images().end() && known->second.id == image.id) continue;
    Remember(std::move(image));
  }
  std::vector<std::string> gone;
  for (const auto& [digest, image] : catalog.images()) {
    if (!there.contains(digest) && uses[digest].added <= before) gone.push_back(digest);
  }
  for (const std::string& digest : gone) {
    Log(Severity::kWarning, "An image is no longer in the store", {{"digest", digest}});
    catalog.Erase(digest);
    uses.erase(digest);
  }
  images_gauge.Set(static_cast<double>(catalog.images().size()));
  read_at = clock.Now();
  read_changes = changes;
  co_return absl::OkStatus();
}

// Idle, a node asks the store for nothing.
Task<Status> ImageService::Impl::RereadIfChanged() {
  if (store.changes() == read_changes && clock.Now() - read_at < options.reread) co_return absl::OkStatus();
  co_return co_await Reread();
}

// ---- garbage collection ----

Task<> ImageService::Impl::CollectGarbage() {
  while (true) {
    co_await clock.Sleep(options.gc_interval);
    ForgetOldFailures();
    Status status = co_await RereadIfChanged();
    if (status.ok()) status = co_await CollectOnce();
    if (!status.ok()) Log(Severity::kWarning, "Image garbage collection", {{"err", status}});
  }
}

std::optional<std::vector<GcImage>> ImageService::Impl::GcImages() {
  auto ids = callbacks.in_use ? callbacks.in_use() : std::nullopt;
  if (!ids) return std::nullopt;
  std::set<std::string> used;
  for (const std::string& id : *ids) {
    if (const StoredImage* image = catalog.FindById(id)) used.insert(image->digest);
  }
  for (const auto& [uid, containers] : requests) {
    for (const auto& [name, request] : containers) used.insert(request.image);
  }
  std::vector<GcImage> out;
  for (const auto& [digest, image] : catalog.images()) {
    Use& use = uses[digest];
    bool in_use = used.contains(digest) || importing.contains(digest);
    if (in_use) use.last_used = clock.Now();
    out.push_back({.digest = digest,
                   .size_bytes = image.size_bytes,
                   .first_seen = use.first_seen,
                   .last_used = use.last_used,
                   .in_use = in_use});
  }
  return out;
}

Task<bool> ImageService::Impl::Remove(std::string digest, std::string reason) {
  auto it = catalog.images().find(digest);
  if (it == catalog.images().end()) co_return false;
  // Nobody is answered with it from here on; who has been, has been seen above.
  removing.insert(digest);
  Status status = co_await store.Remove(it->second);
  removing.erase(digest);
  if (!status.ok()) {
    Log(Severity::kWarning, "An image was not removed", {{"digest", digest}, {"err", status}});
    co_return false;
  }
  Log(Severity::kInfo, "Image removed", {{"digest", digest}, {"reason", reason}});
  metrics
      .counter("kubelet_image_garbage_collected_total",
               "Total number of images garbage collected by the kubelet, whether through disk usage or image age.",
               {{"reason", reason}})
      .Increment();
  catalog.Erase(digest);
  uses.erase(digest);
  images_gauge.Set(static_cast<double>(catalog.images().size()));
  co_return true;
}

Task<Status> ImageService::Impl::CollectOnce() {
  auto images = GcImages();
  if (!images) co_return absl::OkStatus();
  for (const std::string& digest : TooOld(Policy(), *images, clock.Now(), started)) co_await Remove(digest, "age");
  auto space = store.space();
  if (!space) co_return absl::OkStatus();
  int64_t wanted = BytesToFree(Policy(), *space);
  if (wanted == 0) {
    told_full = false;
    co_return absl::OkStatus();
  }
  images = GcImages();
  if (!images) co_return absl::OkStatus();
  int64_t freed = 0;
  for (const std::string& digest : ForSpace(Policy(), *images, wanted, clock.Now())) {
    auto it = catalog.images().find(digest);
    if (it == catalog.images().end()) continue;
    // Somebody may have got it while others were removed.
    auto again = GcImages();
    if (!again) break;
    bool used = std::ranges::any_of(*again, [&](const GcImage& i) { return i.digest == digest && i.in_use; });
    if (used) continue;
    int64_t size = it->second.size_bytes;
    bool removed = co_await Remove(digest, "space");
    if (removed) freed += size;
  }
  if (freed >= wanted) co_return absl::OkStatus();
  std::string message = absl::StrCat(
      "Insufficient free disk space on the node's image filesystem (", UsedPercent(*space), "% of ",
      FormatSize(space->capacity_bytes), " used). Failed to free sufficient space by deleting unused images (freed ",
      freed, " bytes). Investigate disk usage, as it could be used by active images, logs, volumes, or other data.");
  if (callbacks.node_event && !std::exchange(told_full, true)) {
    callbacks.node_event({.warning = true, .reason = "FreeDiskSpaceFailed", .message = message});
  }
  co_return absl::OkStatus();
}

// ---- the public face ----

ImageService::ImageService(Executor executor, Clock& clock, metrics::Registry& metrics, oci::RegistryClient& registry,
                           ImageStore& store, ImageCallbacks callbacks, ImageServiceOptions options)
    : impl_(std::make_shared<Impl>(executor, clock, metrics, registry, store, std::move(callbacks),
                                   std::move(options))) {}

Task<Status> ImageService::Run() { return impl_->Run(); }

ImageStatus ImageService::Want(const ImageRequest& request) { return impl_->Want(request); }

void ImageService::Release(const std::string& pod_uid) { impl_->requests.erase(pod_uid); }

void ImageService::Release(const std::string& pod_uid, const std::string& container) {
  auto pod = impl_->requests.find(pod_uid);
  if (pod == impl_->requests.end()) return;
  pod->second.erase(container);
  if (pod->second.empty()) impl_->requests.erase(pod);
}

std::optional<StoredImage> ImageService::Find(std::string_view image_id) const {
  const StoredImage* image = impl_->catalog.FindById(image_id);
  if (image == nullptr) return std::nullopt;
  return *image;
}

std::vector<ImageService::NodeImage> ImageService::List() const {
  std::vector<NodeImage> out;
  for (const auto& [digest, image] : impl_->catalog.images()) {
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

bool ImageService::synced() const { return impl_->synced; }

}  // namespace vck::image
