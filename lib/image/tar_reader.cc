#include "image/tar_reader.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace vck::image {
namespace {

constexpr int64_t kMaxMeta = int64_t{1} << 20;  // of one extended header
constexpr int64_t kMaxSize = int64_t{1} << 42;  // of one file
constexpr size_t kMaxPieces = 200000;
constexpr size_t kMaxXattrs = 256;

Status Bad(std::string_view problem) { return absl::InvalidArgumentError(absl::StrCat("tar: ", problem)); }

// Offsets of a header's fields (POSIX.1-1988 ustar).
struct Raw {
  std::string_view text;
  [[nodiscard]] std::string_view Field(size_t at, size_t size) const { return text.substr(at, size); }
  // Up to the first NUL.
  [[nodiscard]] std::string_view Text(size_t at, size_t size) const {
    std::string_view field = Field(at, size);
    return field.substr(0, field.find('\0'));
  }
};

// Octal digits between blanks and NULs, or base-256 with the top bit set. Empty is 0.
bool ParseNumber(std::string_view field, int64_t* out) {
  auto first = static_cast<unsigned char>(field[0]);
  if ((first & 0x80) != 0) {
    bool negative = (first & 0x40) != 0;
    uint64_t value = negative ? ~uint64_t{0} : 0;
    for (size_t i = 0; i < field.size(); ++i) {
      auto byte = static_cast<unsigned char>(field[i]);
      if (i == 0) byte = static_cast<unsigned char>(negative ? byte | 0x80 : byte & 0x7f);
      // Bytes that do not fit must be mere signs.
      if (i + 8 < field.size() && byte != (negative ? 0xff : 0)) return false;
      value = value << 8 | byte;
    }
    *out = static_cast<int64_t>(value);
    return (*out < 0) == negative;
  }
  while (!field.empty() && (field.front() == ' ' || field.front() == '\0')) field.remove_prefix(1);
  while (!field.empty() && (field.back() == ' ' || field.back() == '\0')) field.remove_suffix(1);
  field = field.substr(0, field.find('\0'));
  int64_t value = 0;
  for (char c : field) {
    if (c < '0' || c > '7' || value > (INT64_MAX >> 3)) return false;
    value = value << 3 | (c - '0');
  }
  *out = value;
  return true;
}

bool ParseDecimal(std::string_view text, int64_t* out) {
  return !text.empty() && text.front() != '+' && absl::SimpleAtoi(text, out);
}

// Seconds with a fraction, which is dropped.
bool ParseTime(std::string_view text, int64_t* out) {
  size_t dot = text.find('.');
  if (dot != std::string_view::npos && text.substr(dot + 1).find_first_not_of("0123456789") != std::string_view::npos) {
    return false;
  }
  return ParseDecimal(text.substr(0, dot), out);
}

bool ChecksumFits(std::string_view block) {
  constexpr size_t kAt = 148, kSize = 8;
  int64_t wanted = 0;
  if (!ParseNumber(block.substr(kAt, kSize), &wanted)) return false;
  int64_t plain = 0, with_sign = 0;
  for (size_t i = 0; i < block.size(); ++i) {
    char c = i >= kAt && i < kAt + kSize ? ' ' : block[i];
    plain += static_cast<unsigned char>(c);
    with_sign += static_cast<signed char>(c);
  }
  return wanted == plain || wanted == with_sign;
}

}  // namespace

// Takes bytes until block_ is full; true if it is.
bool TarReader::FillBlock(std::string_view* input) {
  size_t n = std::min(kBlock - have_, input->size());
  std::memcpy(block_.data() + have_, input->data(), n);
  input->remove_prefix(n);
  have_ += n;
  if (have_ < kBlock) return false;
  have_ = 0;
  return true;
}

StatusOr<TarReader::Event> TarReader::Next(std::string_view* input) {
  while (true) {
    switch (state_) {
      case State::kHeader: {
        if (!FillBlock(input)) return Event::kNeedMore;
        ASSIGN_OR_RETURN(Event event, Header());
        if (event != Event::kNeedMore) return event;
        break;
      }
      case State::kMeta: {
        size_t n = std::min(static_cast<size_t>(meta_left_), input->size());
        size_t wanted = std::min(n, static_cast<size_t>(meta_size_) - meta_.size());
        meta_.append(input->substr(0, wanted));
        input->remove_prefix(n);
        meta_left_ -= static_cast<int64_t>(n);
        if (meta_left_ > 0) return Event::kNeedMore;
        state_ = State::kHeader;
        RETURN_IF_ERROR(MetaDone());
        break;
      }
      case State::kSparseTable: {
        if (!FillBlock(input)) return Event::kNeedMore;
        ASSIGN_OR_RETURN(bool done, SparseTable());
        if (done) return BeginContent();
        break;
      }
      case State::kSparseMap: {
        if (!FillBlock(input)) return Event::kNeedMore;
        ASSIGN_OR_RETURN(bool done, SparseMap());
        if (done) return BeginContent();
        break;
      }
      case State::kContent: {
        Event event = Content(input);
        if (state_ == State::kContent || event != Event::kEntry) return event;
        break;
      }
      case State::kSkip: {
        size_t n = std::min(static_cast<size_t>(padding_), input->size());
        input->remove_prefix(n);
        padding_ -= static_cast<int64_t>(n);
        if (padding_ > 0) return Event::kNeedMore;
        state_ = State::kHeader;
        break;
      }
      case State::kEnd:
        return Event::kEnd;
    }
  }
}

Status TarReader::Finish() const {
  if (state_ == State::kEnd || (state_ == State::kHeader && have_ == 0 && meta_flag_ == 0)) return absl::OkStatus();
  // The padding after the last file may be missing.
  if (state_ == State::kSkip || (state_ == State::kContent && at_ == entry_.size)) return absl::OkStatus();
  return Bad("the archive is cut off");
}

// kNeedMore: go on with whatever state it has set.
StatusOr<TarReader::Event> TarReader::Header() {
  Raw raw{std::string_view(block_.data(), kBlock)};
  if (raw.text.find_first_not_of('\0') == std::string_view::npos) {
    if (zero_block_) {
      state_ = State::kEnd;
      return Event::kEnd;
    }
    zero_block_ = true;
    return Event::kNeedMore;
  }
  if (zero_block_) return Bad("something after a block of zeros");
  if (!ChecksumFits(raw.text)) return Bad("a header with a wrong checksum");
  char flag = raw.text[156];
  int64_t size = 0;
  if (!ParseNumber(raw.Field(124, 12), &size) || size < 0 || size > kMaxSize) return Bad("a header with a bad size");
  if (flag == 'x' || flag == 'X' || flag == 'g' || flag == 'L' || flag == 'K') {
    if (size > kMaxMeta) return Bad("an extended header that is too long");
    meta_flag_ = flag;
    meta_.clear();
    meta_size_ = size;
    meta_left_ =
        (size + static_cast<int64_t>(kBlock) - 1) / static_cast<int64_t>(kBlock) * static_cast<int64_t>(kBlock);
    state_ = State::kMeta;
    return Event::kNeedMore;
  }
  entry_ = {};
  left_ = size;
  return BeginEntry(flag);
}

Status TarReader::MetaDone() {
  switch (meta_flag_) {
    case 'L':
      long_name_ = meta_.substr(0, meta_.find('\0'));
      break;
    case 'K':
      long_link_ = meta_.substr(0, meta_.find('\0'));
      break;
    case 'g':
      // Defaults for all entries: no builder writes any that matter (git archive's comment is the usual one).
      break;
    default:
      RETURN_IF_ERROR(ParsePax(meta_));
  }
  // A global header stands by itself.
  if (meta_flag_ == 'g') meta_flag_ = 0;
  meta_.clear();
  return absl::OkStatus();
}

// "<length> <key>=<value>\n" …
Status TarReader::ParsePax(std::string_view text) {
  while (!text.empty()) {
    size_t space = text.find(' ');
    int64_t length = 0;
    if (space == std::string_view::npos || space > 10 || !ParseDecimal(text.substr(0, space), &length) || length < 0 ||
        static_cast<size_t>(length) > text.size() || static_cast<size_t>(length) < space + 3) {
      return Bad("a malformed extended header");
    }
    std::string_view record = text.substr(space + 1, static_cast<size_t>(length) - space - 1);
    text.remove_prefix(static_cast<size_t>(length));
    size_t equals = record.find('=');
    if (record.back() != '\n' || equals == std::string_view::npos || equals == 0) {
      return Bad("a malformed extended header");
    }
    RETURN_IF_ERROR(PaxRecord(record.substr(0, equals), record.substr(equals + 1, record.size() - equals - 2)));
  }
  return absl::OkStatus();
}

Status TarReader::PaxRecord(std::string_view key, std::string_view value) {
  auto number = [&](int64_t* out, int64_t limit) {
    if (ParseDecimal(value, out) && *out >= 0 && *out <= limit) return absl::OkStatus();
    return Bad(absl::StrCat("a bad ", key, " in an extended header"));
  };
  constexpr std::string_view kXattr = "SCHILY.xattr.";
  if (key == "path") {
    pax_.path = value;
    pax_.has_path = !value.empty();
  } else if (key == "linkpath") {
    pax_.link = value;
    pax_.has_link = !value.empty();
  } else if (key == "size") {
    if (!value.empty()) return number(&pax_.size, kMaxSize);
  } else if (key == "uid") {
    if (!value.empty()) return number(&pax_.uid, UINT32_MAX);
  } else if (key == "gid") {
    if (!value.empty()) return number(&pax_.gid, UINT32_MAX);
  } else if (key == "mtime") {
    if (value.empty()) return absl::OkStatus();
    if (!ParseTime(value, &pax_.mtime)) return Bad("a bad mtime in an extended header");
    pax_.has_mtime = true;
  } else if (key.starts_with(kXattr)) {
    if (pax_.xattrs.size() >= kMaxXattrs) return Bad("too many extended attributes");
    pax_.xattrs.emplace_back(key.substr(kXattr.size()), value);
  } else if (key.starts_with("GNU.sparse.")) {
    key.remove_prefix(11);
    int64_t n = 0;
    if (key == "name") {
      pax_.sparse_name = value;
    } else if (key == "realsize" || key == "size") {
      return number(&pax_.sparse_size, kMaxSize);
    } else if (key == "major" || key == "minor") {
      RETURN_IF_ERROR(number(&n, 100));
      (key == "major" ? pax_.sparse_major : pax_.sparse_minor) = static_cast<int>(n);
    } else if (key == "offset" || key == "numbytes") {
      // Version 0.0: in turn.
      RETURN_IF_ERROR(number(&n, kMaxSize));
      if (pax_.sparse_numbers.size() % 2 != (key == "offset" ? 0 : 1)) return Bad("a malformed sparse map");
      pax_.sparse_numbers.push_back(n);
    } else if (key == "map") {
      for (std::string_view part : absl::StrSplit(value, ',', absl::SkipEmpty())) {
        if (!ParseDecimal(part, &n) || n < 0) return Bad("a malformed sparse map");
        pax_.sparse_numbers.push_back(n);
        if (pax_.sparse_numbers.size() > kMaxPieces) return Bad("a sparse file in too many pieces");
      }
    }
    pax_.has_sparse = true;
  }
  return absl::OkStatus();
}

StatusOr<TarReader::Event> TarReader::BeginEntry(char flag) {
  Raw raw{std::string_view(block_.data(), kBlock)};
  Pax pax = std::exchange(pax_, {});
  bool ustar = raw.Field(257, 6) == std::string_view("ustar\0", 6);
  bool gnu = raw.Field(257, 8) == std::string_view("ustar  \0", 8);
  std::string prefix(ustar ? raw.Text(345, 155) : "");
  std::string name(raw.Text(0, 100));
  entry_.path = prefix.empty() ? name : absl::StrCat(prefix, "/", name);
  entry_.link = raw.Text(157, 100);
  int64_t mode = 0, uid = 0, gid = 0, major = 0, minor = 0;
  bool good = ParseNumber(raw.Field(100, 8), &mode) && ParseNumber(raw.Field(108, 8), &uid) &&
              ParseNumber(raw.Field(116, 8), &gid) && ParseNumber(raw.Field(136, 12), &entry_.mtime);
  if ((ustar || gnu) && (flag == '3' || flag == '4')) {
    good = good && ParseNumber(raw.Field(329, 8), &major) && ParseNumber(raw.Field(337, 8), &minor);
  }
  // What an extended header says counts, also where the plain field could not hold it.
  if (pax.uid >= 0) uid = pax.uid;
  if (pax.gid >= 0) gid = pax.gid;
  if (pax.has_mtime) entry_.mtime = pax.mtime;
  if (!good || uid < 0 || uid > UINT32_MAX || gid < 0 || gid > UINT32_MAX || major < 0 || major > UINT32_MAX ||
      minor < 0 || minor > UINT32_MAX) {
    return Bad("a header with a bad number");
  }
  entry_.mode = static_cast<uint32_t>(mode) & 07777;
  entry_.uid = static_cast<uint32_t>(uid);
  entry_.gid = static_cast<uint32_t>(gid);
  entry_.major = static_cast<uint32_t>(major);
  entry_.minor = static_cast<uint32_t>(minor);
  if (!long_name_.empty()) entry_.path = std::exchange(long_name_, {});
  if (!long_link_.empty()) entry_.link = std::exchange(long_link_, {});
  if (pax.has_path) entry_.path = std::move(pax.path);
  if (pax.has_link) entry_.link = std::move(pax.link);
  if (!pax.sparse_name.empty()) entry_.path = std::move(pax.sparse_name);
  entry_.xattrs = std::move(pax.xattrs);
  if (pax.size >= 0) left_ = pax.size;
  meta_flag_ = 0;
  if (entry_.path.find('\0') != std::string::npos || entry_.link.find('\0') != std::string::npos) {
    return Bad("a name with a NUL");
  }

  bool old_sparse = false;
  switch (flag) {
    case '\0':
    case '0':
    case '7':
      // Old archives mark directories by their names.
      entry_.type = entry_.path.ends_with('/') ? EntryType::kDirectory : EntryType::kFile;
      break;
    case 'S':
      old_sparse = true;
      break;
    case '1':
      entry_.type = EntryType::kHardLink;
      break;
    case '2':
      entry_.type = EntryType::kSymlink;
      break;
    case '3':
      entry_.type = EntryType::kCharDevice;
      break;
    case '4':
      entry_.type = EntryType::kBlockDevice;
      break;
    case '5':
      entry_.type = EntryType::kDirectory;
      break;
    case '6':
      entry_.type = EntryType::kFifo;
      break;
    default:
      return Bad(absl::StrCat("an entry of unknown type ", static_cast<int>(static_cast<unsigned char>(flag))));
  }
  // Only files have content, whatever the size says.
  if (entry_.type != EntryType::kFile) left_ = 0;
  entry_.size = left_;
  padding_ = (static_cast<int64_t>(kBlock) - left_ % static_cast<int64_t>(kBlock)) % static_cast<int64_t>(kBlock);
  pieces_.clear();
  piece_ = 0;
  at_ = 0;
  sparse_ = false;
  if (old_sparse) {
    int64_t real = 0;
    if (!gnu || !ParseNumber(raw.Field(483, 12), &real) || real < 0 || real > kMaxSize) {
      return Bad("a sparse file's header is malformed");
    }
    entry_.size = real;
    table_.clear();
    for (size_t at = 386; at < 386 + 4 * 24; at += 24) {
      if (raw.text[at] == '\0') break;
      int64_t offset = 0, bytes = 0;
      if (!ParseNumber(raw.Field(at, 12), &offset) || !ParseNumber(raw.Field(at + 12, 12), &bytes)) {
        return Bad("a malformed sparse map");
      }
      table_.insert(table_.end(), {offset, bytes});
    }
    if (raw.text[482] != '\0') {
      state_ = State::kSparseTable;
      return Event::kNeedMore;
    }
    RETURN_IF_ERROR(UseSparse(std::exchange(table_, {})));
  } else if (pax.has_sparse && entry_.type == EntryType::kFile) {
    if (pax.sparse_size < 0) return Bad("a sparse file without its size");
    entry_.size = pax.sparse_size;
    if (pax.sparse_major == 1 && pax.sparse_minor == 0) {
      map_.clear();
      map_count_ = -1;
      table_.clear();
      state_ = State::kSparseMap;
      return Event::kNeedMore;
    }
    RETURN_IF_ERROR(UseSparse(std::move(pax.sparse_numbers)));
  }
  return BeginContent();
}

// A block of the old GNU format's table; true if it was the last one.
StatusOr<bool> TarReader::SparseTable() {
  Raw raw{std::string_view(block_.data(), kBlock)};
  for (size_t at = 0; at < 21 * 24; at += 24) {
    if (raw.text[at] == '\0') break;
    int64_t offset = 0, bytes = 0;
    if (!ParseNumber(raw.Field(at, 12), &offset) || !ParseNumber(raw.Field(at + 12, 12), &bytes)) {
      return Bad("a malformed sparse map");
    }
    table_.insert(table_.end(), {offset, bytes});
    if (table_.size() > kMaxPieces) return Bad("a sparse file in too many pieces");
  }
  if (raw.text[504] != '\0') return false;
  RETURN_IF_ERROR(UseSparse(std::exchange(table_, {})));
  return true;
}

// A block of PAX 1.0's map, which begins the content: a count, then offsets and sizes, a number a line.
StatusOr<bool> TarReader::SparseMap() {
  left_ -= static_cast<int64_t>(kBlock);
  if (left_ < 0) return Bad("a malformed sparse map");
  map_.append(block_.data(), kBlock);
  std::string_view rest = map_;
  while (map_count_ < 0 || static_cast<int64_t>(table_.size()) < 2 * map_count_) {
    size_t end = rest.find('\n');
    if (end == std::string::npos) {
      if (rest.size() > kBlock) return Bad("a malformed sparse map");
      map_ = std::string(rest);
      return false;
    }
    int64_t n = 0;
    if (!ParseDecimal(rest.substr(0, end), &n) || n < 0) return Bad("a malformed sparse map");
    rest.remove_prefix(end + 1);
    if (map_count_ >= 0) {
      table_.push_back(n);
    } else {
      if (n > static_cast<int64_t>(kMaxPieces / 2)) return Bad("a sparse file in too many pieces");
      map_count_ = n;
    }
  }
  map_.clear();
  RETURN_IF_ERROR(UseSparse(std::exchange(table_, {})));
  return true;
}

Status TarReader::UseSparse(std::vector<int64_t> numbers) {
  if (numbers.size() % 2 != 0) return Bad("a malformed sparse map");
  int64_t end = 0, sum = 0;
  for (size_t i = 0; i < numbers.size(); i += 2) {
    Piece piece{numbers[i], numbers[i + 1]};
    if (piece.offset < end || piece.size < 0 || piece.offset > entry_.size || piece.size > entry_.size - piece.offset) {
      return Bad("a malformed sparse map");
    }
    end = piece.offset + piece.size;
    sum += piece.size;
    if (piece.size > 0) pieces_.push_back(piece);
  }
  if (sum != left_) return Bad("a sparse map that does not fit its file");
  sparse_ = true;
  return absl::OkStatus();
}

TarReader::Event TarReader::BeginContent() {
  state_ = entry_.size > 0 || left_ > 0 ? State::kContent : State::kSkip;
  return Event::kEntry;
}

// kEntry: all of it has been told.
TarReader::Event TarReader::Content(std::string_view* input) {
  if (at_ == entry_.size) {
    state_ = State::kSkip;
    return Event::kEntry;
  }
  int64_t until = entry_.size;
  if (sparse_) {
    int64_t next = piece_ < pieces_.size() ? pieces_[piece_].offset : entry_.size;
    if (at_ < next) {
      zeros_ = next - at_;
      at_ = next;
      return Event::kZeros;
    }
    until = pieces_[piece_].offset + pieces_[piece_].size;
  }
  if (input->empty()) return Event::kNeedMore;
  size_t n = std::min(input->size(), static_cast<size_t>(until - at_));
  data_ = input->substr(0, n);
  input->remove_prefix(n);
  at_ += static_cast<int64_t>(n);
  left_ -= static_cast<int64_t>(n);
  if (sparse_ && at_ == until) ++piece_;
  return Event::kData;
}

}  // namespace vck::image
