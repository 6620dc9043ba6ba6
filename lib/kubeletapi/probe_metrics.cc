#include "kubeletapi/probe_metrics.h"

#include <array>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kubeletapi/metric_text.h"

namespace vck::kubeletapi {
namespace {

void ProbeDurations(const ProbeFamily& family, const PodProbes& pod, std::string* out) {
  for (const ProbeCount& probe : pod.probes) {
    int64_t count = 0;
    for (int64_t n : probe.within) count += n;
    if (count == 0) continue;
    const auto line = [&](std::string_view name, std::string_view bound, std::string_view value) {
      const std::string whole = absl::StrCat(family.name, name);
      if (bound.empty()) {
        AppendLine(
            whole,
            {{"container", probe.container}, {"namespace", pod.ns}, {"pod", pod.name}, {"probe_type", probe.type}},
            value, NoTime(), out);
      } else {
        AppendLine(whole,
                   {{"container", probe.container},
                    {"namespace", pod.ns},
                    {"pod", pod.name},
                    {"probe_type", probe.type},
                    {"le", bound}},
                   value, NoTime(), out);
      }
    };
    int64_t within = 0;
    for (size_t i = 0; i < guestapi::kProbeBuckets.size(); ++i) {
      within += probe.within[i];
      line("_bucket", FromNanos(guestapi::kProbeBuckets[i]), absl::StrCat(within));
    }
    line("_bucket", "+Inf", absl::StrCat(count));
    line("_sum", "", FromNanos(probe.duration_nanos));
    line("_count", "", absl::StrCat(count));
  }
}
void ProbeResults(const ProbeFamily& family, const PodProbes& pod, std::string* out) {
  for (const ProbeCount& probe : pod.probes) {
    for (const auto& [result, count] : {std::pair{"successful", probe.successful}, std::pair{"failed", probe.failed}}) {
      if (count == 0) continue;
      AppendLine(family.name,
                 {{"container", probe.container},
                  {"namespace", pod.ns},
                  {"pod", pod.name},
                  {"pod_uid", pod.uid},
                  {"probe_type", probe.type},
                  {"result", result}},
                 absl::StrCat(count), NoTime(), out);
    }
  }
}

constexpr std::array kProbes = {
    ProbeFamily{.name = "prober_probe_duration_seconds",
                .type = "histogram",
                .help = "How long successful probes of containers took, in seconds",
                .append = ProbeDurations},
    ProbeFamily{.name = "prober_probe_total",
                .type = "counter",
                .help = "Results of probes of containers, by type",
                .append = ProbeResults},
};

}  // namespace

std::span<const ProbeFamily> ProbeFamilies() { return kProbes; }

void AppendHeader(const ProbeFamily& family, std::string* out) {
  AppendHeader(family.name, family.type, family.help, out);
}

}  // namespace vck::kubeletapi
