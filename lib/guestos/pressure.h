// What a pod's containers run into: a full disk, the limit of processes, the limits of what they may write.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "guestapi/spec.h"
#include "guestos/stats.h"
#include "tether/lifecycle.h"

namespace vck::guestos {

// What there is to look at: directories all.
struct PressureSources {
  StatsSources stats;
  // Those whose output is lost at the moment, and why.
  std::map<std::string, std::string> lost_output;
  std::vector<guestapi::StorageLimit> limits;
};

// Remembers what it has told. Blocking; not for two callers at once.
class Pressure {
 public:
  // What is new since the last time.
  std::vector<tether::Event> Look(const PressureSources& sources);

 private:
  bool disk_full_ = false;
  std::map<std::string, int64_t> refused_forks_;  // by control group
  std::map<std::string, std::string> lost_output_;
};

// The first limit that is exceeded. Sizes by name; what is not there is not measured. Pure.
struct Written {
  std::map<std::string, int64_t> volumes, containers;
};
const guestapi::StorageLimit* FindExceeded(const std::vector<guestapi::StorageLimit>& limits, const Written& written);

}  // namespace vck::guestos
