// What containers and the guest use, as /v1/stats tells it.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "absl/time/time.h"
#include "json/json.h"

namespace vck::guestos {

struct Usage {
  int64_t cpu_nanos = 0;          // since the start
  int64_t memory_bytes = 0;       // all that is charged
  int64_t working_set_bytes = 0;  // without what the kernel would give up first
  int64_t rss_bytes = 0, page_faults = 0, major_page_faults = 0;
  int64_t processes = 0;
};

// Blocking. Zero where a file is missing.
Usage ReadUsage(const std::string& cgroup_directory);

struct FileSystemUsage {
  int64_t capacity_bytes = 0, available_bytes = 0, used_bytes = 0, inodes = 0, free_inodes = 0;
};
FileSystemUsage ReadFileSystem(const std::string& path);

// The value after `key` in the kernel's "key value" lines; 0 if it is not there. Pure.
int64_t FlatValue(std::string_view text, std::string_view key);

json::Object ToJson(const Usage& usage);
json::Object ToJson(const FileSystemUsage& usage);

}  // namespace vck::guestos
