// PullBook: the pulls that run and those that have failed, with the kubelet's back-off; one for all who want the same.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <string>

#include "absl/time/time.h"
#include "async/backoff.h"
#include "async/clock.h"
#include "async/task.h"
#include "async/task_group.h"
#include "base/status.h"
#include "image/image_fetcher.h"
#include "metrics/metrics.h"
#include "oci/keyring.h"
#include "oci/reference.h"

namespace vck::image {

class PullBook {
 public:
  // Who waits for a pull, by the key of it.
  class Waiters {
   public:
    virtual ~Waiters() = default;
    [[nodiscard]] virtual bool AnyFor(const std::string& key) const = 0;
    // An attempt begins. Also called from within Join().
    virtual void Begun(const std::string& key) = 0;
    // The book has forgotten the pull. `took` includes the waiting.
    virtual void Succeeded(const std::string& key, const ImageFetcher::Fetched& fetched, absl::Duration took) = 0;
    virtual void Failed(const std::string& key, const std::string& error) = 0;
    // The failure has been told for a while; from now on it is told that its repetition waits.
    virtual void BacksOff(const std::string& key) = 0;
    // What Join() answers has changed. Never called from within it.
    virtual void Changed(const std::string& key) = 0;
  };

  struct Options {
    absl::Duration backoff_initial = absl::Seconds(10);
    absl::Duration backoff_max = absl::Minutes(5);
  };
  // All references must outlive it.
  PullBook(Executor executor, Clock& clock, metrics::Registry& metrics, ImageFetcher& fetcher, Waiters& waiters,
           Options options);
  PullBook(const PullBook&) = delete;
  PullBook& operator=(const PullBook&) = delete;

  // Pulls until cancelled. Nothing begins before.
  Task<Status> Run();

  // What there is to tell of a pull. While an attempt is repeated, it is the former one's failure.
  struct State {
    bool running = false;
    std::string error;  // "": none has failed yet
    Instant retry_at = Instant::Never();
    bool backs_off = false;
  };
  // Pulls of one reference with one set of credentials have one key. Begins an attempt, unless one runs, or the last
  // one has failed and it is too early.
  State Join(const std::string& key, const oci::Reference& reference, std::shared_ptr<const oci::Keyring> keyring);
  [[nodiscard]] bool Running(const std::string& key) const;
  // Failures are remembered, though nobody waits, for as long as the back-off may still count.
  void ForgetOldFailures();

 private:
  struct Pull {
    oci::Reference reference;
    std::shared_ptr<const oci::Keyring> keyring;
    Backoff backoff;
    State state;
    Instant failed_at;
    Clock::Timer timer;
    std::shared_ptr<std::atomic<bool>> cancelled;
  };
  void Start(const std::string& key);
  Task<> Attempt(std::string key);
  void Fail(const std::string& key, const Status& error);
  void Arm(const std::string& key);
  void Fire(const std::string& key);
  Task<> EndMerges();

  Executor executor_;
  Clock& clock_;
  metrics::Registry& metrics_;
  ImageFetcher& fetcher_;
  Waiters& waiters_;
  Options options_;
  std::map<std::string, Pull> pulls_;
  TaskGroup* group_ = nullptr;  // of Run(), while it runs
  metrics::Gauge& running_gauge_;
};

}  // namespace vck::image
