#include "image/pull_book.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "async/wait.h"
#include "base/log.h"

namespace vck::image {
namespace {

// So long an error is told as it is, before it is told that its repetition waits: about what the kubelet's sync takes.
constexpr absl::Duration kShowError = absl::Seconds(10);

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

}  // namespace

PullBook::PullBook(Executor executor, Clock& clock, metrics::Registry& metrics, ImageFetcher& fetcher, Waiters& waiters,
                   Options options)
    : executor_(executor),
      clock_(clock),
      metrics_(metrics),
      fetcher_(fetcher),
      waiters_(waiters),
      options_(options),
      running_gauge_(metrics.gauge("vch_kubelet_image_pulls_running", "Pulls that run.")) {}

Task<Status> PullBook::Run() {
  TaskGroup group(executor_);
  struct Guard {
    PullBook& self;
    explicit Guard(PullBook& s) : self(s) {}
    Guard(const Guard&) = delete;
    Guard& operator=(const Guard&) = delete;
    ~Guard() {
      self.group_ = nullptr;
      for (auto& [key, pull] : self.pulls_) pull.timer.Cancel();
    }
  } guard(*this);
  group_ = &group;
  group.Spawn("the end of merges", EndMerges());
  co_return co_await group.Join();
}

// A merge waits for nothing that could be cancelled: it is told.
Task<> PullBook::EndMerges() {
  Waiter forever;
  try {
    co_await forever.Wait();
  } catch (const boost::system::system_error&) {
    for (auto& [key, pull] : pulls_) {
      if (pull.cancelled) pull.cancelled->store(true);
    }
    throw;
  }
}

PullBook::State PullBook::Join(const std::string& key, const oci::Reference& reference,
                               std::shared_ptr<const oci::Keyring> keyring) {
  const BackoffPolicy backoff{
      .initial = options_.backoff_initial, .max = options_.backoff_max, .factor = 2, .jitter = 0};
  Pull& pull = pulls_.try_emplace(key, Pull{.reference = reference, .backoff = Backoff(backoff)}).first->second;
  pull.keyring = std::move(keyring);
  const State& state = pull.state;
  if (!state.running && (state.error.empty() || clock_.Now() >= state.retry_at)) Start(key);
  return state;
}

bool PullBook::Running(const std::string& key) const {
  auto it = pulls_.find(key);
  return it != pulls_.end() && it->second.state.running;
}

void PullBook::ForgetOldFailures() {
  std::erase_if(pulls_, [this](const auto& p) {
    const auto& [key, pull] = p;
    return !pull.state.running && !waiters_.AnyFor(key) && clock_.Now() - pull.failed_at > 2 * options_.backoff_max;
  });
}

void PullBook::Start(const std::string& key) {
  // There is nobody to do it; what is wanted is looked at again when the store has been read.
  if (group_ == nullptr) return;
  Pull& pull = pulls_.at(key);
  pull.timer.Cancel();
  pull.state.running = true;
  pull.state.retry_at = Instant::Never();
  pull.cancelled = std::make_shared<std::atomic<bool>>(false);
  waiters_.Begun(key);
  running_gauge_.Increment();
  group_->Spawn("pull", Attempt(key));
}

Task<> PullBook::Attempt(std::string key) {
  // However it ends.
  struct Guard {
    PullBook& self;
    const std::string& key;
    Guard(PullBook& s, const std::string& k) : self(s), key(k) {}
    Guard(const Guard&) = delete;
    Guard& operator=(const Guard&) = delete;
    ~Guard() {
      self.running_gauge_.Decrement();
      self.pulls_.at(key).state.running = false;
    }
  };
  const Instant started = clock_.Now();
  StatusOr<ImageFetcher::Fetched> fetched;
  {
    Guard guard(*this, key);
    const Pull& pull = pulls_.at(key);
    fetched =
        co_await fetcher_.Fetch({.reference = pull.reference, .keyring = pull.keyring, .cancelled = pull.cancelled});
  }
  if (!fetched.ok()) {
    Fail(key, fetched.status());
    co_return;
  }
  const absl::Duration took = clock_.Now() - started;
  const int64_t size = fetched->image.size_bytes;
  metrics_
      .histogram("kubelet_image_pull_duration_seconds", "Duration in seconds to pull an image.",
                 {1, 5, 10, 20, 30, 60, 120, 180, 240, 300, 360, 480, 600, 900, 1200, 1800, 2700, 3600},
                 {{"image_size_in_bytes", SizeBucket(size)}})
      .Observe(absl::ToDoubleSeconds(took));
  Log(Severity::kInfo, "Image pulled",
      {{"image", pulls_.at(key).reference.ToString()},
       {"digest", fetched->digest},
       {"time", absl::FormatDuration(absl::Trunc(took, absl::Milliseconds(1)))},
       {"bytes", size}});
  pulls_.erase(key);
  waiters_.Succeeded(key, *fetched, took);
}

void PullBook::Fail(const std::string& key, const Status& error) {
  Pull& pull = pulls_.at(key);
  const std::string image = pull.reference.ToString();
  pull.failed_at = clock_.Now();
  pull.state = {.error = absl::StrCat("failed to pull and unpack image \"", image, "\": ", error.message()),
                .retry_at = clock_.Now() + pull.backoff.Next()};
  Log(Severity::kWarning, "Image could not be pulled",
      {{"image", image}, {"failures", pull.backoff.failures()}, {"err", error}});
  waiters_.Failed(key, pull.state.error);
  Arm(key);
  waiters_.Changed(key);
}

// First it is told that the repetition waits, then it is time for it.
void PullBook::Arm(const std::string& key) {
  Pull& pull = pulls_.at(key);
  const Instant retry_at = pull.state.retry_at;
  Instant next = retry_at;
  if (!pull.state.backs_off) {
    next = std::min(next, pull.failed_at + std::min(kShowError, (retry_at - pull.failed_at) / 2));
  }
  pull.timer = clock_.Schedule(next, [this, key] { Fire(key); });
}

void PullBook::Fire(const std::string& key) {
  auto it = pulls_.find(key);
  if (it == pulls_.end() || it->second.state.running) return;
  State& state = it->second.state;
  if (clock_.Now() < state.retry_at) {
    state.backs_off = true;
    waiters_.BacksOff(key);
    Arm(key);
  } else if (waiters_.AnyFor(key)) {
    Start(key);
  }
  waiters_.Changed(key);
}

}  // namespace vck::image
