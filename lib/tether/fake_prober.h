// Probes and hooks of simulated pods: exec and sleep as the fake runtime does them, with nothing behind HTTP, TCP and
// gRPC, which therefore succeed at once.
#pragma once

#include <memory>
#include <string>

#include "tether/prober.h"

namespace vck::tether {

std::unique_ptr<Prober> MakeFakeProber(Clock& clock, Runtime& runtime, std::string pod_ip);

}  // namespace vck::tether
