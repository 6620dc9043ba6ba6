// Layers from anybody, merged and written. The first byte chooses: lines of entries, whose image is then known to the
// last byte, or archives as they come, with their checksums put right. What was written is read again by a reader of
// its own: it must be a tree, without whiteouts, and each file must be one that was in a layer.
#include <cstdint>
#include <cstdlib>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <sys/mman.h>
#include <unistd.h>
#include <zstd.h>

#include "image/merge.h"
#include "image/tar_builder.h"
#include "image/tar_reader.h"

namespace {

using vck::image::EntryType;
using vck::image::TarBuilder;
using vck::image::TarFile;
using vck::image::TarReader;

constexpr std::string_view kConfig = R"({"architecture":"amd64"})";
constexpr int64_t kMaxUnpacked = int64_t{4} << 20;
constexpr uint32_t kNone = UINT32_MAX;

void Require(bool holds) {
  if (!holds) std::abort();
}

class MemoryFile {
 public:
  explicit MemoryFile(std::string_view content = {}) : fd_(::memfd_create("layer", MFD_CLOEXEC)) {
    Require(fd_ >= 0 && ::write(fd_, content.data(), content.size()) == static_cast<ssize_t>(content.size()));
  }
  MemoryFile(MemoryFile&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  MemoryFile& operator=(MemoryFile&&) = delete;
  ~MemoryFile() {
    if (fd_ >= 0) ::close(fd_);
  }
  [[nodiscard]] std::string path() const { return "/proc/self/fd/" + std::to_string(fd_); }
  [[nodiscard]] std::string Read() const {
    std::string out(static_cast<size_t>(::lseek(fd_, 0, SEEK_END)), '\0');
    Require(::pread(fd_, out.data(), out.size(), 0) == static_cast<ssize_t>(out.size()));
    return out;
  }

 private:
  int fd_;
};

// ---- what was written ----

uint64_t Number(std::string_view bytes) {
  uint64_t out = 0;
  for (size_t i = bytes.size(); i-- > 0;) out = out << 8 | static_cast<unsigned char>(bytes[i]);
  return out;
}

std::string Unpack(std::string_view packed, size_t most) {
  std::string out(most, '\0');
  const size_t n = ZSTD_decompress(out.data(), out.size(), packed.data(), packed.size());
  Require(ZSTD_isError(n) == 0);
  out.resize(n);
  return out;
}

struct Inode {
  uint64_t type = 0, mode = 0, uid = 0, gid = 0, mtime = 0, number = 0, links = 1, device = 0, parent = 0;
  std::string target, content;
  std::vector<std::pair<std::string, std::string>> xattrs;
  struct Name {
    std::string name;
    uint64_t inode = 0, number = 0, type = 0;
  };
  std::vector<Name> names;
};

class Image {
 public:
  explicit Image(std::string bytes) : bytes_(std::move(bytes)) {
    Require(bytes_.substr(0, 4) == "hsqs" && At(12, 4) == kBlock && At(20, 2) == 6 && At(28, 4) == 4);
    Require(bytes_.size() % 4096 == 0 && used() <= bytes_.size() && bytes_.size() - used() < 4096);
    Require(At(510, 2) == 0);
    for (size_t i = 0; i < At(26, 2); ++i) ids_.push_back(Number(Listed(At(48, 8), i, 4)));
  }
  [[nodiscard]] uint64_t inode_count() const { return At(4, 4); }
  [[nodiscard]] uint64_t used() const { return At(40, 8); }
  [[nodiscard]] uint64_t root() const { return At(32, 8); }

  [[nodiscard]] Inode Read(uint64_t reference) const {
    Cursor in(this, At(64, 8) + (reference >> 16), reference & 0xffff);
    Inode out;
    uint64_t type = in.Next(2);
    const bool extended = type > 7;
    out.type = extended ? type - 7 : type;
    out.mode = in.Next(2);
    out.uid = ids_.at(in.Next(2));
    out.gid = ids_.at(in.Next(2));
    out.mtime = in.Next(4);
    out.number = in.Next(4);
    uint64_t xattrs = kNone;
    switch (out.type) {
      case 1:
        xattrs = Directory(in, extended, &out);
        break;
      case 2:
        xattrs = File(in, extended, &out);
        break;
      case 3:
        out.links = in.Next(4);
        out.target = in.Bytes(in.Next(4));
        break;
      case 4:
      case 5:
        out.links = in.Next(4);
        out.device = in.Next(4);
        break;
      default:
        Require(out.type == 6);
        out.links = in.Next(4);
    }
    if (extended && out.type > 2) xattrs = in.Next(4);
    if (xattrs != kNone) Xattrs(xattrs, &out);
    return out;
  }

 private:
  static constexpr size_t kBlock = size_t{128} << 10;

  // Reads on over the blocks of a table.
  class Cursor {
   public:
    Cursor(const Image* image, uint64_t block, uint64_t offset) : image_(image), next_(block) {
      Fill();
      Require(offset <= block_.size());
      at_ = offset;
    }
    std::string Bytes(size_t n) {
      std::string out;
      while (out.size() < n) {
        if (at_ == block_.size()) Fill();
        const size_t some = std::min(n - out.size(), block_.size() - at_);
        out += block_.substr(at_, some);
        at_ += some;
      }
      return out;
    }
    uint64_t Next(size_t n) { return Number(Bytes(n)); }

   private:
    void Fill() {
      const uint64_t head = image_->At(next_, 2);
      const std::string_view packed = image_->Slice(next_ + 2, head & 0x7fff);
      block_ = (head & 0x8000) != 0 ? std::string(packed) : Unpack(packed, 8192);
      Require(!block_.empty() && block_.size() <= 8192);
      next_ += 2 + packed.size();
      at_ = 0;
    }
    const Image* image_;
    uint64_t next_;
    std::string block_;
    size_t at_ = 0;
  };

  [[nodiscard]] std::string_view Slice(uint64_t at, uint64_t size) const {
    Require(at <= bytes_.size() && size <= bytes_.size() - at);
    return std::string_view(bytes_).substr(at, size);
  }
  [[nodiscard]] uint64_t At(uint64_t at, uint64_t size) const { return Number(Slice(at, size)); }
  // Element i of a table whose blocks' places stand at `list`.
  [[nodiscard]] std::string Listed(uint64_t list, uint64_t i, size_t size) const {
    const uint64_t per_block = 8192 / size;
    return Cursor(this, At(list + i / per_block * 8, 8), i % per_block * size).Bytes(size);
  }

  [[nodiscard]] std::string Data(uint64_t start, uint64_t size) const {
    const std::string_view packed = Slice(start, size & 0xffffff);
    return (size >> 24) != 0 ? std::string(packed) : Unpack(packed, kBlock);
  }

  uint64_t File(Cursor& in, bool extended, Inode* out) const {
    const size_t word = extended ? 8 : 4;
    uint64_t start = in.Next(word), size = 0, xattrs = kNone;
    if (extended) {
      size = in.Next(8);
      const uint64_t sparse = in.Next(8);
      Require(sparse == 0 || sparse < size);
      out->links = in.Next(4);
    }
    const uint64_t fragment = in.Next(4), offset = in.Next(4);
    if (extended) {
      xattrs = in.Next(4);
    } else {
      size = in.Next(4);
    }
    Require(size <= kMaxUnpacked);
    const uint64_t blocks = fragment == kNone ? (size + kBlock - 1) / kBlock : size / kBlock;
    for (uint64_t i = 0; i < blocks; ++i) {
      const uint64_t packed = in.Next(4);
      const size_t want = std::min<uint64_t>(kBlock, size - i * kBlock);
      if (packed == 0) {
        out->content.append(want, '\0');
        continue;
      }
      const std::string block = Data(start, packed);
      Require(block.size() == want);
      out->content += block;
      start += packed & 0xffffff;
    }
    if (fragment != kNone) {
      Require(fragment < At(16, 4));
      const std::string entry = Listed(At(80, 8), fragment, 16);
      const std::string shared = Data(Number(entry.substr(0, 8)), Number(entry.substr(8, 4)));
      Require(offset <= shared.size() && size - out->content.size() <= shared.size() - offset);
      out->content += shared.substr(offset, size - out->content.size());
    }
    Require(out->content.size() == size);
    return xattrs;
  }

  uint64_t Directory(Cursor& in, bool extended, Inode* out) const {
    uint64_t start = 0, size = 0, offset = 0, hints = 0, xattrs = kNone;
    if (extended) {
      out->links = in.Next(4);
      size = in.Next(4);
      start = in.Next(4);
      out->parent = in.Next(4);
      hints = in.Next(2);
      offset = in.Next(2);
      xattrs = in.Next(4);
    } else {
      start = in.Next(4);
      out->links = in.Next(4);
      size = in.Next(2);
      offset = in.Next(2);
      out->parent = in.Next(4);
    }
    Require(size >= 3);
    uint64_t left = size - 3, folders = 0;
    std::map<uint64_t, std::string> runs;  // where a header stands, and the name after it
    if (left > 0) {
      Cursor listing(this, At(72, 8) + start, offset);
      while (left > 0) {
        Require(left >= 12);
        const uint64_t where = size - 3 - left, count = listing.Next(4) + 1, block = listing.Next(4);
        const uint64_t first = listing.Next(4);
        Require(count <= 256);
        left -= 12;
        for (uint64_t i = 0; i < count; ++i) {
          Inode::Name name;
          name.inode = block << 16 | listing.Next(2);
          name.number = static_cast<uint32_t>(first + static_cast<uint64_t>(static_cast<int16_t>(listing.Next(2))));
          name.type = listing.Next(2);
          name.name = listing.Bytes(listing.Next(2) + 1);
          Require(left >= 8 + name.name.size());
          left -= 8 + name.name.size();
          folders += name.type == 1 ? 1 : 0;
          if (i == 0) runs[where] = name.name;
          Require(out->names.empty() || out->names.back().name < name.name);
          out->names.push_back(std::move(name));
        }
      }
    }
    for (uint64_t i = 0; i < hints; ++i) {
      const uint64_t where = in.Next(4);
      in.Next(4);
      Require(runs.contains(where) && runs[where] == in.Bytes(in.Next(4) + 1));
    }
    Require(out->links == 2 + folders);
    return xattrs;
  }

  void Xattrs(uint64_t index, Inode* out) const {
    const uint64_t table = At(56, 8);
    Require(index < At(table + 8, 4));
    const std::string entry = Listed(table + 16, index, 16);
    const uint64_t reference = Number(entry.substr(0, 8));
    Cursor in(this, At(table, 8) + (reference >> 16), reference & 0xffff);
    static constexpr std::string_view kPrefixes[] = {"user.", "trusted.", "security."};
    for (uint64_t i = 0; i < Number(entry.substr(8, 4)); ++i) {
      const uint64_t prefix = in.Next(2);
      Require(prefix < 3);
      std::string name = std::string(kPrefixes[prefix]) + in.Bytes(in.Next(2));
      Require(!name.starts_with("trusted.overlay.") && !name.starts_with("user.overlay."));
      out->xattrs.emplace_back(std::move(name), in.Bytes(in.Next(4)));
    }
  }

  std::string bytes_;
  std::vector<uint64_t> ids_;
};

// ---- what was to be written ----

// By the time that an entry was changed at: entries of the lines have each their own.
struct Entry {
  uint64_t type = 0;  // squashfs'
  std::string content, target;
  uint64_t device = 0;
  bool xattr = false;
};

struct Layers {
  std::vector<std::string> tars;
  std::map<uint64_t, Entry> entries;  // empty if they are not known
  std::set<std::string> contents;     // of all files
};

uint64_t ModeOf(uint64_t key) { return key * 73 & 07777; }

std::string ContentOf(uint64_t key, size_t size) {
  std::string out(size, '\0');
  uint64_t x = key;
  for (char& c : out) c = static_cast<char>((x = x * 6364136223846793005U + 1442695040888963407U) >> 60);
  return out;
}

constexpr std::string_view kMarks = "=#@*";

// What follows a mark in a line.
std::string_view Part(std::string_view line, char mark) {
  const size_t at = line.find(mark);
  if (at == std::string_view::npos) return {};
  return line.substr(at + 1, line.find_first_of(kMarks, at + 1) - at - 1);
}

// A line is "<type><path>[=link][#size][@][*count]": "@" for an extended attribute; so many entries, whose paths end in
// numbers. An empty line begins a layer.
std::optional<TarFile> ParseLine(std::string_view line, std::string_view number, uint64_t key, int64_t* room,
                                 Entry* entry) {
  static constexpr std::string_view kKinds = "fzodslcbp", kFlags = "000521346";
  static constexpr uint64_t kTypes[] = {2, 2, 2, 1, 3, 0, 5, 4, 6};
  const size_t kind = kKinds.find(line[0]);
  if (kind == std::string_view::npos || line.find('\0') != std::string_view::npos) return std::nullopt;
  TarFile file;
  file.path = absl::StrCat(line.substr(1, line.find_first_of(kMarks) - 1), number);
  file.link = Part(line, '=');
  file.type = kFlags[kind];
  file.mtime = static_cast<int64_t>(key);
  file.uid = key;
  file.gid = key % 5;
  file.mode = static_cast<uint32_t>(ModeOf(key));
  entry->type = kTypes[kind];
  entry->target = file.link;
  if (entry->type == 2 && file.path.ends_with('/')) entry->type = 1, file.type = '5';
  if (entry->type == 4 || entry->type == 5) {
    file.major = 8, file.minor = 500;
    entry->device = (500 & 0xff) | 8 << 8 | (500 & ~0xff) << 12;
  }
  int64_t size = 1;
  const std::string_view said = Part(line, '#');
  if (!said.empty() && !absl::SimpleAtoi(said, &size)) return std::nullopt;
  if (size < 0 || size > *room) return std::nullopt;
  if (entry->type == 2) {
    *room -= size;
    const auto bytes = static_cast<size_t>(size);
    if (line[0] == 'z') {
      entry->content.assign(bytes, '\0');
    } else {
      entry->content = ContentOf(key, bytes);
    }
    file.content = entry->content;
    if (line[0] == 'o') {  // with a hole
      const size_t ends = bytes / 8;
      file.content = entry->content.substr(0, ends) + entry->content.substr(bytes - ends);
      std::fill(entry->content.begin() + static_cast<int64_t>(ends), entry->content.end() - static_cast<int64_t>(ends),
                '\0');
      file.pax = {{"GNU.sparse.size", std::to_string(bytes)},
                  {"GNU.sparse.map", absl::StrCat("0,", ends, ",", bytes - ends, ",", ends)}};
    }
  }
  if (line.find('@') != std::string_view::npos) {
    entry->xattr = true;
    file.pax.emplace_back("SCHILY.xattr.user.k", std::to_string(key % 3));
    file.pax.emplace_back("SCHILY.xattr.trusted.overlay.opaque", "y");
  }
  return file;
}

Layers Lines(std::string_view text) {
  Layers out;
  TarBuilder tar;
  uint64_t key = 0;
  int64_t room = kMaxUnpacked / 4;
  int left = 700;  // entries
  while (!text.empty()) {
    const size_t end = std::min(text.size(), text.find('\n'));
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(text.size(), end + 1));
    if (line.empty()) {
      out.tars.push_back(std::exchange(tar, {}).End());
      continue;
    }
    int count = 0;
    const bool many = absl::SimpleAtoi(Part(line, '*'), &count);
    for (int i = 0; i < (many ? count : 1) && --left >= 0; ++i) {
      Entry entry;
      const auto file = ParseLine(line, many ? std::to_string(i) : "", ++key, &room, &entry);
      if (!file) break;
      tar.Add(*file);
      out.contents.insert(entry.content);
      out.entries[key] = std::move(entry);
    }
  }
  out.tars.push_back(tar.End());
  return out;
}

std::string PutSumsRight(std::string tar) {
  for (size_t at = 0; at + 512 <= tar.size();) {
    const std::string_view block = std::string_view(tar).substr(at, 512);
    uint64_t size = 0;
    for (char c : block.substr(124, 11)) size = c >= '0' && c <= '7' ? size * 8 + static_cast<uint64_t>(c - '0') : size;
    if (block.find_first_not_of('\0') != std::string_view::npos) {
      std::string header(block);
      TarBuilder::Sum(&header);
      tar.replace(at, 512, header);
    }
    at += 512 + std::min<uint64_t>((size + 511) / 512 * 512, tar.size());
  }
  return tar;
}

// The contents of an archive's files, as far as it can be read; false where they would be too much.
bool ReadContents(std::string_view tar, std::set<std::string>* out) {
  TarReader reader;
  std::string content;
  while (true) {
    auto event = reader.Next(&tar);
    if (!event.ok() || *event == TarReader::Event::kNeedMore || *event == TarReader::Event::kEnd) break;
    if (*event == TarReader::Event::kEntry) out->insert(std::exchange(content, {}));
    if (*event == TarReader::Event::kData) content += reader.data();
    if (*event != TarReader::Event::kZeros) continue;
    if (reader.zeros() > kMaxUnpacked - static_cast<int64_t>(content.size())) return false;
    content.append(static_cast<size_t>(reader.zeros()), '\0');
  }
  out->insert(content);
  return true;
}

// Two archives, over a layer with something in it. The second begins after as many blocks as the first byte says.
Layers Archives(std::string_view text) {
  Layers out;
  out.tars.push_back(TarBuilder().Dir("d").File("d/f", "lower").Symlink("s", "d").Link("h", "d/f").End());
  if (!text.empty()) {
    const size_t first = std::min(text.size() - 1, static_cast<unsigned char>(text[0]) * size_t{512});
    out.tars.push_back(PutSumsRight(std::string(text.substr(1, first))));
    out.tars.push_back(PutSumsRight(std::string(text.substr(1 + first))));
  }
  return out;
}

void CheckInode(const Inode& inode, const Layers& layers) {
  if (inode.type == 2) Require(layers.contents.contains(inode.content));
  if (layers.entries.empty()) return;
  if (inode.mtime == 0) {  // a folder that only its children are entries for
    Require(inode.type == 1 && inode.uid == 0 && inode.mode == 0755 && inode.xattrs.empty());
    return;
  }
  const Entry& entry = layers.entries.at(inode.mtime);
  Require(inode.type == entry.type && inode.content == entry.content && inode.device == entry.device);
  Require(inode.uid == inode.mtime && inode.gid == inode.mtime % 5 && inode.mode == ModeOf(inode.mtime));
  if (inode.type == 3) Require(inode.target == entry.target);
  Require(inode.xattrs.size() == (entry.xattr ? 1 : 0));
  if (entry.xattr) Require(inode.xattrs[0] == std::pair(std::string("user.k"), std::to_string(inode.mtime % 3)));
}

void CheckImage(const Image& image, int64_t files, const Layers& layers) {
  const Inode top = image.Read(image.root());
  Require(top.type == 1 && top.number == 1 && top.names.size() == 2);
  Require(top.names[0].name == "config.json" && image.Read(top.names[0].inode).content == kConfig);
  Require(top.names[1].name == "rootfs" && top.names[1].type == 1);
  struct Seen {
    uint64_t inode = 0, names = 0, links = 0;
  };
  std::map<uint64_t, Seen> seen;
  std::vector<std::pair<Inode::Name, uint64_t>> work = {{top.names[1], top.number}};
  int64_t names = 0;
  while (!work.empty()) {
    const auto [name, parent] = std::move(work.back());
    work.pop_back();
    Require(++names <= files);
    Require(!name.name.empty() && name.name.size() <= 255 && name.name != "." && name.name != ".." &&
            name.name.find_first_of(std::string_view("/\0", 2)) == std::string::npos);
    auto [it, fresh] = seen.emplace(name.number, Seen{name.inode});
    ++it->second.names;
    Require(it->second.inode == name.inode);
    if (!fresh) {
      Require(name.type != 1);
      continue;
    }
    Inode inode = image.Read(name.inode);
    it->second.links = inode.type == 1 ? 1 : inode.links;
    Require(inode.type == name.type && inode.number == name.number);
    Require(!name.name.starts_with(".wh.") || inode.type == 1);
    CheckInode(inode, layers);
    if (inode.type != 1) continue;
    Require(inode.parent == parent);
    for (Inode::Name& child : inode.names) work.emplace_back(std::move(child), inode.number);
  }
  Require(names == files && seen.size() + 2 == image.inode_count());
  for (const auto& [number, of] : seen) {
    Require(number > 2 && number <= image.inode_count() && of.names == of.links);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  const bool lines = data[0] % 2 == 0;
  if (lines && text.size() > 4096) return 0;
  Layers layers = lines ? Lines(text) : Archives(text);
  if (layers.tars.size() > 16) return 0;
  bool small = true;
  if (!lines) {
    for (const std::string& tar : layers.tars) small = small && ReadContents(tar, &layers.contents);
  }
  vck::image::MergeRequest request{.config = std::string(kConfig), .max_unpacked_bytes = kMaxUnpacked};
  // With others' help only now and then: a thread costs more than most merges.
  request.threads = data[0] % 16 < 2 ? 1 : 0;
  std::vector<MemoryFile> files;
  for (const std::string& tar : layers.tars) {
    files.emplace_back(tar);
    request.layers.push_back({files.back().path(), vck::image::Digest(tar)});
  }
  const MemoryFile output;
  request.output = output.path();
  auto result = vck::image::MergeLayers(request);
  if (!result.ok()) {
    // Names that no file system could hold are all that is wrong with lines.
    Require(absl::IsInvalidArgument(result.status()) || (!lines && absl::IsResourceExhausted(result.status())));
    return 0;
  }
  Require(small);
  std::string bytes = output.Read();
  Require(static_cast<int64_t>(bytes.size()) == result->bytes);
  CheckImage(Image(std::move(bytes)), result->files, layers);
  return 0;
}
