// Facts about the machine that the kubelet runs on.
#pragma once

#include <string>

#include "base/status.h"

namespace vck::node {

// The local IPv4 address from which `host`:`port` is reached; "" if the name has no IPv4 address or there is no route.
// Nothing is sent but a DNS query for a name; blocking, for the start only.
std::string LocalAddressTowards(const std::string& host, uint16_t port);
// The whole of a file; NotFound names it.
StatusOr<std::string> ReadFile(const std::string& path);
// The first line of a file, "" if it can't be read (/etc/machine-id, /proc/sys/kernel/random/boot_id).
std::string FirstLine(const std::string& path);
std::string HostName();
// The process's resident memory in bytes, its CPU seconds so far, and its number of open descriptors.
struct ProcessUsage {
  double resident_bytes = 0, cpu_seconds = 0, open_fds = 0, start_time = 0;
};
ProcessUsage ReadProcessUsage();

}  // namespace vck::node
