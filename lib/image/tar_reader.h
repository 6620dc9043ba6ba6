// TarReader: a machine that reads tar archives as layers have them: ustar, PAX, GNU and old ones, sparse files too.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"

namespace vck::image {

enum class EntryType : uint8_t { kFile, kHardLink, kSymlink, kCharDevice, kBlockDevice, kDirectory, kFifo };

struct TarEntry {
  EntryType type = EntryType::kFile;
  std::string path;   // as it is written
  std::string link;   // of hard links and symbolic links
  int64_t size = 0;   // of a file's content, holes included
  uint32_t mode = 0;  // permissions, set-id and sticky bits
  uint32_t uid = 0, gid = 0;
  int64_t mtime = 0;  // seconds since 1970
  uint32_t major = 0, minor = 0;
  std::vector<std::pair<std::string, std::string>> xattrs;  // "security.capability"
};

class TarReader {
 public:
  enum class Event {
    kNeedMore,  // the input is used up
    kEntry,     // entry() is new; its content follows, if it has any
    kData,      // data(), the next bytes of the content
    kZeros,     // zeros() bytes of it, all zero
    kEnd,       // the archive has ended; what follows is of no interest
  };

  // Takes what it needs from the front of `*input`. InvalidArgument for what is no tar, or of a kind that no layer has.
  StatusOr<Event> Next(std::string_view* input);
  // The input has ended: InvalidArgument in the middle of something.
  Status Finish() const;

  [[nodiscard]] const TarEntry& entry() const { return entry_; }
  [[nodiscard]] std::string_view data() const { return data_; }  // a part of the input
  [[nodiscard]] int64_t zeros() const { return zeros_; }

 private:
  static constexpr size_t kBlock = 512;
  enum class State { kHeader, kMeta, kSparseTable, kSparseMap, kContent, kSkip, kEnd };
  struct Piece {  // of a sparse file: content at an offset
    int64_t offset = 0, size = 0;
  };
  struct Pax {
    std::string path, link, sparse_name;
    bool has_path = false, has_link = false;
    int64_t size = -1, uid = -1, gid = -1, mtime = 0, sparse_size = -1;
    bool has_mtime = false;
    int sparse_major = -1, sparse_minor = -1;
    std::vector<int64_t> sparse_numbers;
    bool has_sparse = false;
    std::vector<std::pair<std::string, std::string>> xattrs;
  };

  bool FillBlock(std::string_view* input);
  StatusOr<Event> Header();
  Status MetaDone();
  Status ParsePax(std::string_view text);
  Status PaxRecord(std::string_view key, std::string_view value);
  StatusOr<Event> BeginEntry(char flag);
  StatusOr<bool> SparseTable();
  StatusOr<bool> SparseMap();
  Status UseSparse(std::vector<int64_t> numbers);
  Event BeginContent();
  Event Content(std::string_view* input);

  State state_ = State::kHeader;
  std::array<char, kBlock> block_{};
  size_t have_ = 0;          // of block_
  bool zero_block_ = false;  // the last block was all zero
  TarEntry entry_;
  std::string_view data_;
  int64_t zeros_ = 0;

  // Long names and extended headers that belong to the next entry.
  char meta_flag_ = 0;
  std::string meta_;
  int64_t meta_left_ = 0;  // with its padding
  int64_t meta_size_ = 0;
  std::string long_name_, long_link_;
  Pax pax_;

  int64_t left_ = 0;     // bytes of the content in the archive
  int64_t padding_ = 0;  // after them
  std::vector<Piece> pieces_;
  size_t piece_ = 0;
  bool sparse_ = false;
  int64_t at_ = 0;   // in the content as it will be
  std::string map_;  // of a sparse file, PAX 1.0
  int64_t map_count_ = -1;
  std::vector<int64_t> table_;
};

}  // namespace vck::image
