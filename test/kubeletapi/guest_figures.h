// What a guest says of itself, for tests.
#pragma once

#include <string>

namespace vck::kubeletapi {

// 2026-03-01T12:00:00Z, and what was used until then. Container "gone" does not run by the guest's snapshot.
inline constexpr const char* kGuestFigures = R"({"time":1772366400000000000,
"containers":[
 {"name":"c","cpuNanos":1500000000,"cpuUserNanos":1000000000,"cpuSystemNanos":500000000,"cpuPeriods":20,
  "cpuThrottledPeriods":2,"cpuThrottledNanos":30000000,"memoryBytes":3000000,"workingSetBytes":2000000,
  "rssBytes":1000000,"cacheBytes":900000,"mappedBytes":800000,"swapBytes":0,"peakBytes":4000000,
  "memoryFailures":1,"oomKills":0,"pageFaults":70,"majorPageFaults":7,"processes":3,
  "devices":[{"name":"/dev/sda","readBytes":512,"reads":1,"writtenBytes":8192,"writes":2}]},
 {"name":"gone","cpuNanos":5,"memoryBytes":6,"workingSetBytes":7}],
"pod":{"cpuNanos":2000000000,"memoryBytes":5000000,"workingSetBytes":4000000,"rssBytes":1100000,"swapBytes":0,
 "pageFaults":80,"majorPageFaults":8,"processes":4,
 "devices":[{"name":"/dev/sda","readBytes":1024,"reads":2,"writtenBytes":8192,"writes":2}]},
"scratch":{"capacityBytes":1000,"availableBytes":600,"usedBytes":350,"inodes":100,"freeInodes":90},
"interfaces":[{"name":"eth0","rxBytes":11,"rxPackets":12,"rxErrors":13,"rxDropped":14,
 "txBytes":21,"txPackets":22,"txErrors":23,"txDropped":24}],
"guest":{"cpuNanos":9000000000,"memoryBytes":134217728,"availableBytes":100000000}})";

}  // namespace vck::kubeletapi
