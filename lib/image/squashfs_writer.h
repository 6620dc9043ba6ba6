// SquashfsWriter: writes a squashfs 4.0 with zstd in one pass and little memory: first the content of files, then
// inodes and directories. No privilege is needed, whatever owners and devices it holds.
// Format: https://docs.kernel.org/filesystems/squashfs.html and the kernel's fs/squashfs/squashfs_fs.h.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "base/status.h"
#include "image/tar_reader.h"

namespace vck::image {

class BlockPacker;

struct SquashfsOptions {
  int level = 3;    // of zstd
  int threads = 1;  // that pack besides the caller's own, at low priority
};

class SquashfsWriter {
 public:
  // Overwrites the file.
  static StatusOr<std::unique_ptr<SquashfsWriter>> Create(const std::string& path, SquashfsOptions options);
  ~SquashfsWriter();
  SquashfsWriter(const SquashfsWriter&) = delete;
  SquashfsWriter& operator=(const SquashfsWriter&) = delete;

  // ---- first: content, a file at a time ----
  using FileId = uint32_t;
  static constexpr FileId kNoFile = UINT32_MAX;  // of empty files
  FileId BeginFile(uint64_t size);
  Status Write(std::string_view data);
  Status WriteZeros(uint64_t count);
  // All of its size must have been written.
  Status EndFile();
  // No more content.
  Status EndContent();

  // ---- then: inodes, the children of a directory before it ----
  struct InodeInfo {
    EntryType type = EntryType::kFile;
    uint16_t mode = 0;
    uint32_t uid = 0, gid = 0, mtime = 0;
    uint32_t number = 0;  // from 1, without gaps; each once
    uint32_t links = 1;
    FileId file = kNoFile;
    std::string_view target;        // of a symbolic link
    uint32_t major = 0, minor = 0;  // of a device
    uint32_t xattrs = kNoXattrs;    // by AddXattrs
    uint32_t parent = 0;            // of a directory: the number of its parent's inode
  };
  static constexpr uint32_t kNoXattrs = UINT32_MAX;
  // Names with their prefixes "user.", "trusted." or "security.".
  StatusOr<uint32_t> AddXattrs(const std::vector<std::pair<std::string, std::string>>& xattrs);
  // A reference to the inode, for directories.
  StatusOr<uint64_t> AddInode(const InodeInfo& info);
  struct DirEntry {
    std::string_view name;
    uint64_t inode = 0;
    uint32_t number = 0;
    EntryType type = EntryType::kFile;
  };
  // Sorts the entries.
  StatusOr<uint64_t> AddDirectory(const InodeInfo& info, std::vector<DirEntry>& entries);
  // The file is complete; its size in bytes, a multiple of 4 KiB.
  StatusOr<int64_t> Finish(uint64_t root_inode, uint32_t inode_count, uint32_t time);

 private:
  // A table that is packed 8 KiB at a time, in memory.
  class Table;
  struct File {
    uint64_t start = 0;
    uint64_t size = 0;
    uint64_t sparse = 0;
    uint32_t first_block = 0;  // in blocks_
    uint32_t fragment = UINT32_MAX;
    uint32_t offset = 0;
  };
  struct Fragment {
    uint64_t start = 0;
    uint32_t size = 0;
  };

  SquashfsWriter(int fd, std::string path, SquashfsOptions options);
  Status FlushBlock();
  Status FlushFragment();
  Status Collect(bool all);
  Status Append(std::string_view data);
  StatusOr<uint16_t> OwnerIndex(uint32_t id);
  StatusOr<uint64_t> WriteIndexed(const std::string& entries);
  void AppendHeader(std::string* out, int type, const InodeInfo& info, uint16_t uid, uint16_t gid) const;

  int fd_;
  std::string path_;
  std::unique_ptr<BlockPacker> packer_;
  uint64_t position_ = 0;
  std::vector<File> files_;
  std::vector<uint32_t> blocks_;  // sizes as they are in the file system
  std::vector<Fragment> fragments_;
  bool in_file_ = false;
  uint64_t left_ = 0;     // of the file that is written
  std::string block_;     // the next block of it
  std::string fragment_;  // small files together
  std::unique_ptr<Table> inodes_, directories_, xattr_values_;
  std::string xattr_ids_;  // 16 bytes each
  uint32_t xattr_count_ = 0;
  std::vector<uint32_t> owners_;
  absl::flat_hash_map<uint32_t, uint16_t> owner_index_;
};

}  // namespace vck::image
