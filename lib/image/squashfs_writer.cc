#include "image/squashfs_writer.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include <fcntl.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "image/block_packer.h"

namespace vck::image {
namespace {

constexpr size_t kBlockSize = size_t{128} << 10;
constexpr int kBlockLog = 17;
constexpr size_t kMetaBlock = 8192;
constexpr uint32_t kStoredBlock = 1U << 24;  // of a data block's size: not packed
constexpr uint16_t kStoredMeta = 1U << 15;   // of a metadata block's header
constexpr uint16_t kZstd = 6;
constexpr uint16_t kNoXattrsFlag = 0x200;
constexpr uint64_t kNoTable = UINT64_MAX;
constexpr size_t kSuperblock = 96;
// Data begins at the second sector, so that bytes 510 and 511 are zero: no BIOS takes this for a boot sector.
constexpr uint64_t kDataStart = 512;
constexpr size_t kPadding = 4096;
constexpr size_t kMaxDirSize = size_t{1} << 31;
constexpr int kMetaLevel = 15;  // inodes and names are little, and read often

// Inode types; the extended ones are 7 higher.
enum InodeType { kDir = 1, kReg = 2, kLink = 3, kBlk = 4, kChr = 5, kFifo = 6 };
constexpr int kExtended = 7;

InodeType TypeOf(EntryType type) {
  switch (type) {
    case EntryType::kDirectory:
      return kDir;
    case EntryType::kSymlink:
      return kLink;
    case EntryType::kBlockDevice:
      return kBlk;
    case EntryType::kCharDevice:
      return kChr;
    case EntryType::kFifo:
      return kFifo;
    case EntryType::kFile:
    case EntryType::kHardLink:
      break;
  }
  return kReg;
}

// Little-endian.
template <class T>
void Put(std::string* out, T value) {
  auto bits = static_cast<std::make_unsigned_t<T>>(value);
  for (size_t i = 0; i < sizeof(T); ++i) out->push_back(static_cast<char>(static_cast<uint64_t>(bits) >> (8 * i)));
}
void Put16(std::string* out, uint64_t value) { Put(out, static_cast<uint16_t>(value)); }
void Put32(std::string* out, uint64_t value) { Put(out, static_cast<uint32_t>(value)); }
void Put64(std::string* out, uint64_t value) { Put(out, value); }

}  // namespace

class SquashfsWriter::Table {
 public:
  explicit Table(int level) : packer_(level) {}
  void Append(std::string_view data) {
    while (!data.empty()) {
      size_t n = std::min(data.size(), kMetaBlock - open_.size());
      open_.append(data.substr(0, n));
      data.remove_prefix(n);
      if (open_.size() == kMetaBlock) Flush();
    }
  }
  // Where the next byte goes: the start of its block in the table, and the place within.
  [[nodiscard]] uint64_t block() const { return done_.size(); }
  [[nodiscard]] uint16_t offset() const { return static_cast<uint16_t>(open_.size()); }
  [[nodiscard]] uint64_t reference() const { return block() << 16 | offset(); }
  // The table with all its blocks.
  std::string Finish() {
    if (!open_.empty()) Flush();
    return std::exchange(done_, {});
  }

 private:
  void Flush() {
    PackedBlock block = packer_.Pack(std::exchange(open_, {}));
    Put16(&done_, block.data.size() | (block.packed ? 0U : kStoredMeta));
    done_ += block.data;
  }
  ZstdPacker packer_;
  std::string open_;
  std::string done_;
};

StatusOr<std::unique_ptr<SquashfsWriter>> SquashfsWriter::Create(const std::string& path, SquashfsOptions options) {
  int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) return absl::InternalError(absl::StrCat("create ", path, ": ", std::strerror(errno)));
  std::unique_ptr<SquashfsWriter> writer(new SquashfsWriter(fd, path, options));
  // The superblock comes last, when everything is known.
  RETURN_IF_ERROR(writer->Append(std::string(kDataStart, '\0')));
  return writer;
}

SquashfsWriter::SquashfsWriter(int fd, std::string path, SquashfsOptions options)
    : fd_(fd),
      path_(std::move(path)),
      packer_(std::make_unique<BlockPacker>(options.level, options.threads)),
      inodes_(std::make_unique<Table>(kMetaLevel)),
      directories_(std::make_unique<Table>(kMetaLevel)),
      xattr_values_(std::make_unique<Table>(kMetaLevel)) {}

SquashfsWriter::~SquashfsWriter() { ::close(fd_); }

Status SquashfsWriter::Append(std::string_view data) {
  position_ += data.size();
  while (!data.empty()) {
    ssize_t n = ::write(fd_, data.data(), data.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      std::string text = absl::StrCat("write ", path_, ": ", std::strerror(errno));
      return errno == ENOSPC || errno == EDQUOT ? absl::ResourceExhaustedError(text) : absl::InternalError(text);
    }
    data.remove_prefix(static_cast<size_t>(n));
  }
  return absl::OkStatus();
}

// ---- content ----

SquashfsWriter::FileId SquashfsWriter::BeginFile(uint64_t size) {
  left_ = size;
  in_file_ = true;
  if (size == 0) return kNoFile;
  files_.push_back({.size = size, .first_block = static_cast<uint32_t>(blocks_.size())});
  return static_cast<FileId>(files_.size() - 1);
}

Status SquashfsWriter::Write(std::string_view data) {
  if (data.size() > left_) return absl::InternalError("squashfs: a file is longer than was said");
  while (!data.empty()) {
    size_t n = std::min(data.size(), kBlockSize - block_.size());
    if (block_.empty()) block_.reserve(std::min<uint64_t>(kBlockSize, left_));
    block_.append(data.substr(0, n));
    data.remove_prefix(n);
    left_ -= n;
    if (block_.size() == kBlockSize) RETURN_IF_ERROR(FlushBlock());
  }
  return absl::OkStatus();
}

Status SquashfsWriter::WriteZeros(uint64_t count) {
  static const std::string kZeros(kBlockSize, '\0');
  while (count > 0) {
    uint64_t n = std::min<uint64_t>(count, kBlockSize - block_.size());
    // A whole block is known to be empty without a look.
    if (n == kBlockSize) {
      if (n > left_) return absl::InternalError("squashfs: a file is longer than was said");
      left_ -= n;
      files_.back().sparse += n;
      blocks_.push_back(0);
    } else {
      RETURN_IF_ERROR(Write(std::string_view(kZeros).substr(0, n)));
    }
    count -= n;
  }
  return absl::OkStatus();
}

Status SquashfsWriter::FlushBlock() {
  std::string block = std::exchange(block_, {});
  if (block.find_first_not_of('\0') == std::string::npos) {
    files_.back().sparse += block.size();
    blocks_.push_back(0);
    return absl::OkStatus();
  }
  uint64_t tag = uint64_t{files_.size() - 1} << 32 | blocks_.size();
  blocks_.push_back(0);
  packer_->Add(std::move(block), tag);
  return Collect(false);
}

Status SquashfsWriter::EndFile() {
  if (!in_file_ || left_ > 0) return absl::InternalError("squashfs: a file is shorter than was said");
  in_file_ = false;
  if (block_.empty()) return absl::OkStatus();
  File& file = files_.back();
  if (file.size >= kBlockSize) return FlushBlock();
  // A small file: a part of a block that many share.
  if (fragment_.size() + block_.size() > kBlockSize) RETURN_IF_ERROR(FlushFragment());
  file.fragment = static_cast<uint32_t>(fragments_.size());
  file.offset = static_cast<uint32_t>(fragment_.size());
  if (fragment_.empty()) fragment_.reserve(kBlockSize);
  fragment_ += block_;
  block_.clear();
  return absl::OkStatus();
}

Status SquashfsWriter::FlushFragment() {
  if (fragment_.empty()) return absl::OkStatus();
  uint64_t tag = UINT64_C(0xffffffff) << 32 | fragments_.size();
  fragments_.emplace_back();
  packer_->Add(std::exchange(fragment_, {}), tag);
  return Collect(false);
}

Status SquashfsWriter::Collect(bool all) {
  PackedBlock block;
  while (packer_->Take(all, &block)) {
    auto size = static_cast<uint32_t>(block.data.size() | (block.packed ? 0 : kStoredBlock));
    auto owner = static_cast<uint32_t>(block.tag >> 32);
    auto index = static_cast<uint32_t>(block.tag);
    if (owner == UINT32_MAX) {
      fragments_[index] = {position_, size};
    } else {
      // A file's blocks follow each other: those of small files are added between files only.
      if (files_[owner].start == 0) files_[owner].start = position_;
      blocks_[index] = size;
    }
    RETURN_IF_ERROR(Append(block.data));
  }
  return absl::OkStatus();
}

Status SquashfsWriter::EndContent() {
  RETURN_IF_ERROR(FlushFragment());
  return Collect(true);
}

// ---- inodes ----

StatusOr<uint16_t> SquashfsWriter::OwnerIndex(uint32_t id) {
  auto [it, fresh] = owner_index_.emplace(id, static_cast<uint16_t>(owners_.size()));
  if (fresh) {
    if (owners_.size() == UINT16_MAX) return absl::InvalidArgumentError("more than 65535 owners and groups");
    owners_.push_back(id);
  }
  return it->second;
}

StatusOr<uint32_t> SquashfsWriter::AddXattrs(const std::vector<std::pair<std::string, std::string>>& xattrs) {
  uint64_t reference = xattr_values_->reference();
  std::string data;
  uint32_t count = 0;
  for (const auto& [name, value] : xattrs) {
    constexpr std::pair<std::string_view, uint16_t> kPrefixes[] = {{"user.", 0}, {"trusted.", 1}, {"security.", 2}};
    auto prefix = std::ranges::find_if(kPrefixes, [&](const auto& p) { return name.starts_with(p.first); });
    if (prefix == std::end(kPrefixes)) return absl::InternalError("squashfs: an extended attribute of no known kind");
    std::string_view rest = std::string_view(name).substr(prefix->first.size());
    Put16(&data, prefix->second);
    Put16(&data, rest.size());
    data += rest;
    Put32(&data, value.size());
    data += value;
    ++count;
  }
  xattr_values_->Append(data);
  Put64(&xattr_ids_, reference);
  Put32(&xattr_ids_, count);
  Put32(&xattr_ids_, data.size());
  return xattr_count_++;
}

void SquashfsWriter::AppendHeader(std::string* out, int type, const InodeInfo& info, uint16_t uid, uint16_t gid) const {
  Put16(out, static_cast<uint64_t>(type));
  Put16(out, info.mode & 07777U);
  Put16(out, uid);
  Put16(out, gid);
  Put32(out, info.mtime);
  Put32(out, info.number);
}

StatusOr<uint64_t> SquashfsWriter::AddInode(const InodeInfo& info) {
  ASSIGN_OR_RETURN(uint16_t uid, OwnerIndex(info.uid));
  ASSIGN_OR_RETURN(uint16_t gid, OwnerIndex(info.gid));
  uint64_t reference = inodes_->reference();
  std::string out;
  InodeType type = TypeOf(info.type);
  bool extended = info.xattrs != kNoXattrs;
  switch (type) {
    case kReg: {
      File file;
      if (info.file != kNoFile) file = files_[info.file];
      uint64_t blocks = file.fragment == UINT32_MAX ? (file.size + kBlockSize - 1) / kBlockSize : 0;
      extended = extended || info.links > 1 || file.sparse > 0 || file.start > UINT32_MAX || file.size > UINT32_MAX;
      AppendHeader(&out, extended ? type + kExtended : type, info, uid, gid);
      if (extended) {
        Put64(&out, file.start);
        Put64(&out, file.size);
        // What stands here is taken off the blocks that stat tells; it must be less than the size.
        Put64(&out, file.sparse >= file.size && file.sparse > 0 ? file.size - 1 : file.sparse);
        Put32(&out, info.links);
        Put32(&out, file.fragment);
        Put32(&out, file.offset);
        Put32(&out, info.xattrs);
      } else {
        Put32(&out, file.start);
        Put32(&out, file.fragment);
        Put32(&out, file.offset);
        Put32(&out, file.size);
      }
      for (uint64_t i = 0; i < blocks; ++i) Put32(&out, blocks_[file.first_block + i]);
      break;
    }
    case kLink:
      AppendHeader(&out, extended ? type + kExtended : type, info, uid, gid);
      Put32(&out, info.links);
      Put32(&out, info.target.size());
      out += info.target;
      if (extended) Put32(&out, info.xattrs);
      break;
    case kBlk:
    case kChr:
      AppendHeader(&out, extended ? type + kExtended : type, info, uid, gid);
      Put32(&out, info.links);
      // The kernel's new_encode_dev.
      Put32(&out, (info.minor & 0xff) | info.major << 8 | (info.minor & ~0xffU) << 12);
      if (extended) Put32(&out, info.xattrs);
      break;
    case kFifo:
      AppendHeader(&out, extended ? type + kExtended : type, info, uid, gid);
      Put32(&out, info.links);
      if (extended) Put32(&out, info.xattrs);
      break;
    case kDir:
      return absl::InternalError("squashfs: directories have a function of their own");
  }
  inodes_->Append(out);
  return reference;
}

StatusOr<uint64_t> SquashfsWriter::AddDirectory(const InodeInfo& info, std::vector<DirEntry>& entries) {
  std::ranges::sort(entries, [](const DirEntry& a, const DirEntry& b) { return a.name < b.name; });
  ASSIGN_OR_RETURN(uint16_t uid, OwnerIndex(info.uid));
  ASSIGN_OR_RETURN(uint16_t gid, OwnerIndex(info.gid));

  uint64_t start = directories_->block();
  uint16_t offset = directories_->offset();
  struct Hint {  // where in the listing a name is to be looked for
    uint32_t at = 0;
    uint32_t block = 0;
    std::string_view name;
  };
  std::vector<Hint> hints;
  size_t size = 0;
  uint64_t hinted = start;
  uint32_t subdirectories = 0;
  for (size_t i = 0; i < entries.size();) {
    // A run of entries whose inodes are in one block and have numbers near each other.
    const DirEntry& first = entries[i];
    size_t end = i;
    std::string run;
    while (end < entries.size() && end - i < 256) {
      const DirEntry& entry = entries[end];
      int64_t distance = static_cast<int64_t>(entry.number) - static_cast<int64_t>(first.number);
      if (entry.inode >> 16 != first.inode >> 16 || distance > INT16_MAX || distance < INT16_MIN) break;
      Put16(&run, entry.inode & 0xffff);
      Put16(&run, static_cast<uint16_t>(static_cast<int16_t>(distance)));
      Put16(&run, TypeOf(entry.type));
      Put16(&run, entry.name.size() - 1);
      run += entry.name;
      if (entry.type == EntryType::kDirectory) ++subdirectories;
      ++end;
    }
    if (directories_->block() != hinted && size > 0) {
      hinted = directories_->block();
      hints.push_back({static_cast<uint32_t>(size), static_cast<uint32_t>(hinted), first.name});
    }
    std::string header;
    Put32(&header, end - i - 1);
    Put32(&header, first.inode >> 16);
    Put32(&header, first.number);
    directories_->Append(header);
    directories_->Append(run);
    size += header.size() + run.size();
    i = end;
  }
  if (size > kMaxDirSize || hints.size() > UINT16_MAX) return absl::InvalidArgumentError("a directory is too large");

  uint64_t reference = inodes_->reference();
  bool extended = info.xattrs != kNoXattrs || size + 3 > UINT16_MAX || !hints.empty();
  std::string out;
  AppendHeader(&out, extended ? kDir + kExtended : kDir, info, uid, gid);
  uint32_t links = 2 + subdirectories;
  if (extended) {
    Put32(&out, links);
    Put32(&out, size + 3);
    Put32(&out, start);
    Put32(&out, info.parent);
    Put16(&out, hints.size());
    Put16(&out, offset);
    Put32(&out, info.xattrs);
    for (const Hint& hint : hints) {
      Put32(&out, hint.at);
      Put32(&out, hint.block);
      Put32(&out, hint.name.size() - 1);
      out += hint.name;
    }
  } else {
    Put32(&out, start);
    Put32(&out, links);
    Put16(&out, size + 3);
    Put16(&out, offset);
    Put32(&out, info.parent);
  }
  inodes_->Append(out);
  return reference;
}

// A table of packed blocks, then the list of their places; returns where the list begins.
StatusOr<uint64_t> SquashfsWriter::WriteIndexed(const std::string& entries) {
  std::string places;
  ZstdPacker packer(kMetaLevel);
  for (size_t at = 0; at < entries.size(); at += kMetaBlock) {
    Put64(&places, position_);
    PackedBlock block = packer.Pack(entries.substr(at, kMetaBlock));
    std::string out;
    Put16(&out, block.data.size() | (block.packed ? 0U : kStoredMeta));
    out += block.data;
    RETURN_IF_ERROR(Append(out));
  }
  uint64_t start = position_;
  RETURN_IF_ERROR(Append(places));
  return start;
}

StatusOr<int64_t> SquashfsWriter::Finish(uint64_t root_inode, uint32_t inode_count, uint32_t time) {
  uint64_t inode_table = position_;
  RETURN_IF_ERROR(Append(inodes_->Finish()));
  uint64_t directory_table = position_;
  RETURN_IF_ERROR(Append(directories_->Finish()));
  std::string entries;
  for (const Fragment& fragment : fragments_) {
    Put64(&entries, fragment.start);
    Put32(&entries, fragment.size);
    Put32(&entries, 0);
  }
  uint64_t fragment_table = kNoTable;
  if (!fragments_.empty()) {
    ASSIGN_OR_RETURN(fragment_table, WriteIndexed(entries));
  }
  entries.clear();
  for (uint32_t owner : owners_) Put32(&entries, owner);
  ASSIGN_OR_RETURN(uint64_t id_table, WriteIndexed(entries));
  uint64_t xattr_table = kNoTable;
  if (xattr_count_ > 0) {
    uint64_t values = position_;
    RETURN_IF_ERROR(Append(xattr_values_->Finish()));
    // Its header stands between the blocks of ids and the list of their places.
    std::string blocks, places;
    ZstdPacker packer(kMetaLevel);
    for (size_t at = 0; at < xattr_ids_.size(); at += kMetaBlock) {
      Put64(&places, position_ + blocks.size());
      PackedBlock block = packer.Pack(xattr_ids_.substr(at, kMetaBlock));
      Put16(&blocks, block.data.size() | (block.packed ? 0U : kStoredMeta));
      blocks += block.data;
    }
    RETURN_IF_ERROR(Append(blocks));
    xattr_table = position_;
    std::string header;
    Put64(&header, values);
    Put32(&header, xattr_count_);
    Put32(&header, 0);
    RETURN_IF_ERROR(Append(header + places));
  }
  uint64_t used = position_;
  RETURN_IF_ERROR(Append(std::string((kPadding - used % kPadding) % kPadding, '\0')));

  std::string super;
  super += "hsqs";
  Put32(&super, inode_count);
  Put32(&super, time);
  Put32(&super, kBlockSize);
  Put32(&super, fragments_.size());
  Put16(&super, kZstd);
  Put16(&super, kBlockLog);
  Put16(&super, xattr_count_ > 0 ? 0 : kNoXattrsFlag);
  Put16(&super, owners_.size());
  Put16(&super, 4);
  Put16(&super, 0);
  Put64(&super, root_inode);
  Put64(&super, used);
  Put64(&super, id_table);
  Put64(&super, xattr_table);
  Put64(&super, inode_table);
  Put64(&super, directory_table);
  Put64(&super, fragment_table);
  Put64(&super, kNoTable);  // no export table: nobody exports it by NFS
  if (super.size() != kSuperblock) return absl::InternalError("squashfs: a superblock of the wrong size");
  if (::pwrite(fd_, super.data(), super.size(), 0) != static_cast<ssize_t>(super.size())) {
    return absl::InternalError(absl::StrCat("write ", path_, ": ", std::strerror(errno)));
  }
  return static_cast<int64_t>(position_);
}

}  // namespace vck::image
