// One probe of one run of a container: when it is due and what its results mean, by the rules of k8s.io/kubernetes
// pkg/kubelet/prober/worker.go. No I/O, no clock.
#pragma once

#include <optional>
#include <string_view>

#include "async/clock.h"
#include "guestapi/spec.h"

namespace vck::tether {

enum class ProbeKind { kStartup, kLiveness, kReadiness };
std::string_view ProbeName(ProbeKind kind);  // "Startup", as in events and metrics

class ProbeWorker {
 public:
  ProbeWorker() = default;
  // Of a run that began at `started`.
  ProbeWorker(ProbeKind kind, const guestapi::Probe& probe, Instant started)
      : kind_(kind), next_(started + absl::Seconds(probe.initial_delay)) {}

  [[nodiscard]] bool Due(Instant now) const { return now >= next(); }
  // When it will be due; Never while a result is awaited, and when no more is wanted of this run.
  [[nodiscard]] Instant next() const { return waiting_ || held_ ? Instant::Never() : next_; }
  // It has been sent on its way.
  void Launched(const guestapi::Probe& probe, Instant now);
  // A result of the probe that was launched. True if what is known has changed.
  bool Done(const guestapi::Probe& probe, bool success, Instant now);
  // It could not be tried: counts for nothing.
  void Errored(Instant now);

  // What is known, once a threshold was reached; nothing before.
  [[nodiscard]] std::optional<bool> result() const { return result_; }
  [[nodiscard]] bool succeeded() const { return result_.value_or(false); }
  [[nodiscard]] bool failed() const { return !result_.value_or(true); }
  [[nodiscard]] bool waiting() const { return waiting_; }

 private:
  void Landed(Instant now);

  ProbeKind kind_ = ProbeKind::kStartup;
  Instant next_ = Instant::Never();
  bool waiting_ = false;
  bool held_ = false;  // until there is a new run
  std::optional<bool> last_, result_;
  int run_ = 0;  // how often `last_` came in a row
};

}  // namespace vck::tether
