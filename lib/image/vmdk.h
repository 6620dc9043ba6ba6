// A raw file as a streamOptimized VMDK, made while it is read: the form that vSphere's import takes (VMware Virtual
// Disk Format 1.1, "Stream-Optimized Compressed Sparse Extents"). What a squashfs holds does not get smaller, so grains
// are stored, not packed (deflate has blocks for that), and the length is known before a byte is read.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"

namespace vck::image {

class VmdkStream {
 public:
  // Of a disk that holds `raw_bytes`: rounded up to 1 MiB, and at least that.
  static int64_t Capacity(int64_t raw_bytes);
  // Of the VMDK.
  static int64_t Size(int64_t raw_bytes);

  // Of the first `raw_bytes` of the file. The content id is made of `identity` (an image's digest).
  static StatusOr<VmdkStream> Open(const std::string& path, int64_t raw_bytes, std::string_view identity);
  VmdkStream(VmdkStream&& other) noexcept;
  VmdkStream& operator=(VmdkStream&&) = delete;
  ~VmdkStream();

  // The next piece, some hundred KiB; empty at the end. Blocking.
  StatusOr<std::string> Next();

 private:
  VmdkStream(int fd, int64_t raw_bytes, std::string_view identity);
  [[nodiscard]] std::string Header(uint64_t directory) const;
  Status AppendGrain(std::string* out);
  void AppendTable(std::string* out);
  void AppendEnd(std::string* out);
  [[nodiscard]] uint64_t Sector(const std::string& out) const { return (position_ + out.size()) / 512; }

  int fd_;
  int64_t raw_bytes_;
  uint64_t capacity_;  // in sectors
  uint32_t content_id_;
  int64_t grain_ = -1;           // the next; -1: the header
  uint64_t position_ = 0;        // in the VMDK
  std::vector<uint32_t> table_;  // of the grains since the last one
  std::vector<uint32_t> directory_;
  bool ended_ = false;
};

}  // namespace vck::image
