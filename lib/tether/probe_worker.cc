#include "tether/probe_worker.h"

#include <algorithm>

namespace vck::tether {

std::string_view ProbeName(ProbeKind kind) {
  switch (kind) {
    case ProbeKind::kStartup:
      return "Startup";
    case ProbeKind::kLiveness:
      return "Liveness";
    case ProbeKind::kReadiness:
      return "Readiness";
  }
  return "";
}

void ProbeWorker::Launched(const guestapi::Probe& probe, Instant now) {
  waiting_ = true;
  next_ = now + absl::Seconds(probe.period);
}

// A probe that took longer than its period is followed by the next one at once.
void ProbeWorker::Landed(Instant now) {
  waiting_ = false;
  next_ = std::max(next_, now);
}

void ProbeWorker::Errored(Instant now) { Landed(now); }

bool ProbeWorker::Done(const guestapi::Probe& probe, bool success, Instant now) {
  Landed(now);
  run_ = last_ == success ? run_ + 1 : 1;
  last_ = success;
  if (run_ < (success ? probe.success_threshold : probe.failure_threshold)) return false;
  const bool changed = result_ != success;
  result_ = success;
  // A container that failed will be restarted, one that has started up is not asked again.
  if (kind_ == ProbeKind::kStartup || (kind_ == ProbeKind::kLiveness && !success)) held_ = true;
  return changed;
}

}  // namespace vck::tether
