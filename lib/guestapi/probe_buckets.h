// How GET /v1/probes tells durations: counts by bucket, the last for whatever took longer.
#pragma once

#include <array>
#include <cstdint>

namespace vck::guestapi {

// Upper bounds in nanoseconds: those of the kubelet's prober_probe_duration_seconds, which are Prometheus' defaults.
inline constexpr std::array<int64_t, 11> kProbeBuckets = {
    5'000'000,   10'000'000,    25'000'000,    50'000'000,    100'000'000,    250'000'000,
    500'000'000, 1'000'000'000, 2'500'000'000, 5'000'000'000, 10'000'000'000,
};

}  // namespace vck::guestapi
