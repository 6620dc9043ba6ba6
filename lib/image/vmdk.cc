#include "image/vmdk.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include <fcntl.h>
#include <unistd.h>
#include <zlib.h>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/digest.h"

namespace vck::image {
namespace {

constexpr int64_t kSector = 512;
constexpr int64_t kMiB = int64_t{1} << 20;
constexpr int64_t kGrain = int64_t{64} << 10;
constexpr int64_t kGrainsPerTable = 512;
constexpr int64_t kOverhead = 128;  // sectors before the first grain
constexpr int64_t kDescriptorSectors = 20;
constexpr int64_t kGrainsAtOnce = 8;
constexpr uint64_t kDirectoryAtEnd = UINT64_MAX;
constexpr size_t kStoredMax = 65535;  // of a deflate block that is stored (RFC 1951 §3.2.4)

enum Marker : uint32_t { kEndOfStream = 0, kGrainTable = 1, kGrainDirectory = 2, kFooter = 3 };

template <class T>
void Put(std::string* out, T value) {
  for (size_t i = 0; i < sizeof(T); ++i) out->push_back(static_cast<char>(static_cast<uint64_t>(value) >> (8 * i)));
}
void Pad(std::string* out, int64_t to = kSector) {
  out->append(static_cast<size_t>((to - static_cast<int64_t>(out->size()) % to) % to), '\0');
}

void PutMarker(std::string* out, uint64_t sectors, Marker type) {
  std::string marker;
  Put(&marker, sectors);
  Put(&marker, uint32_t{0});
  Put(&marker, static_cast<uint32_t>(type));
  Pad(&marker);
  *out += marker;
}

// zlib's format (RFC 1950) without packing.
std::string Stored(std::string_view data) {
  std::string out = "\x78\x01";
  auto sum = static_cast<uint32_t>(
      adler32(adler32(0, nullptr, 0), reinterpret_cast<const Bytef*>(data.data()), static_cast<uInt>(data.size())));
  while (!data.empty()) {
    std::string_view block = data.substr(0, kStoredMax);
    data.remove_prefix(block.size());
    out.push_back(data.empty() ? '\1' : '\0');
    Put(&out, static_cast<uint16_t>(block.size()));
    Put(&out, static_cast<uint16_t>(~block.size()));
    out += block;
  }
  for (int shift = 24; shift >= 0; shift -= 8) out.push_back(static_cast<char>(sum >> shift));
  return out;
}

// A grain with its marker: address, length, data.
constexpr int64_t kGrainSectors = (8 + 4 + 2 + 2 * 5 + kGrain + 4 + kSector - 1) / kSector;

int64_t Grains(int64_t raw_bytes) { return (raw_bytes + kGrain - 1) / kGrain; }
int64_t Tables(int64_t grains) { return (grains + kGrainsPerTable - 1) / kGrainsPerTable; }
int64_t DirectorySectors(int64_t tables) { return (tables * 4 + kSector - 1) / kSector; }

}  // namespace

int64_t VmdkStream::Capacity(int64_t raw_bytes) { return std::max(kMiB, (raw_bytes + kMiB - 1) / kMiB * kMiB); }

int64_t VmdkStream::Size(int64_t raw_bytes) {
  int64_t grains = Grains(raw_bytes);
  int64_t full = Grains(Capacity(raw_bytes));
  // Grains; their tables and the directory with their markers; the footer, its marker and the end.
  int64_t sectors = kOverhead + grains * kGrainSectors + Tables(grains) * (1 + kGrainsPerTable * 4 / kSector) + 1 +
                    DirectorySectors(Tables(full)) + 3;
  return sectors * kSector;
}

StatusOr<VmdkStream> VmdkStream::Open(const std::string& path, int64_t raw_bytes, std::string_view identity) {
  int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return absl::InternalError(absl::StrCat("open ", path, ": ", std::strerror(errno)));
  return VmdkStream(fd, raw_bytes, identity);
}

VmdkStream::VmdkStream(int fd, int64_t raw_bytes, std::string_view identity)
    : fd_(fd), raw_bytes_(raw_bytes), capacity_(static_cast<uint64_t>(Capacity(raw_bytes) / kSector)) {
  if (!absl::SimpleHexAtoi(Sha256Hex(identity).substr(0, 8), &content_id_) || content_id_ >= 0xfffffffe)
    content_id_ = 1;
}
VmdkStream::VmdkStream(VmdkStream&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)),
      raw_bytes_(other.raw_bytes_),
      capacity_(other.capacity_),
      content_id_(other.content_id_),
      grain_(other.grain_),
      position_(other.position_),
      table_(std::move(other.table_)),
      directory_(std::move(other.directory_)),
      ended_(other.ended_) {}
VmdkStream::~VmdkStream() {
  if (fd_ >= 0) ::close(fd_);
}

// SparseExtentHeader.
std::string VmdkStream::Header(uint64_t directory) const {
  std::string out = "KDMV";
  Put(&out, uint32_t{3});        // version
  Put(&out, uint32_t{0x30001});  // newline test, grains are compressed, markers
  Put(&out, capacity_);
  Put(&out, static_cast<uint64_t>(kGrain / kSector));
  Put(&out, uint64_t{1});
  Put(&out, static_cast<uint64_t>(kDescriptorSectors));
  Put(&out, static_cast<uint32_t>(kGrainsPerTable));
  Put(&out, uint64_t{0});  // no redundant directory
  Put(&out, directory);
  Put(&out, static_cast<uint64_t>(kOverhead));
  out += std::string("\0\n \r\n", 5);  // clean; what a transfer as text would break
  Put(&out, uint16_t{1});              // deflate
  Pad(&out);
  return out;
}

Status VmdkStream::AppendGrain(std::string* out) {
  std::string data(kGrain, '\0');
  int64_t from = grain_ * kGrain;
  auto wanted = static_cast<size_t>(std::min(kGrain, raw_bytes_ - from));
  for (size_t have = 0; have < wanted;) {
    ssize_t n = ::pread(fd_, data.data() + have, wanted - have, from + static_cast<int64_t>(have));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return absl::InternalError(absl::StrCat("read: ", std::strerror(errno)));
    if (n == 0) return absl::InternalError("the image's file is shorter than it was");
    have += static_cast<size_t>(n);
  }
  std::string packed = Stored(data);
  table_.push_back(static_cast<uint32_t>(Sector(*out)));
  std::string grain;
  Put(&grain, static_cast<uint64_t>(from / kSector));
  Put(&grain, static_cast<uint32_t>(packed.size()));
  grain += packed;
  Pad(&grain);
  *out += grain;
  ++grain_;
  return absl::OkStatus();
}

void VmdkStream::AppendTable(std::string* out) {
  if (table_.empty()) return;
  PutMarker(out, kGrainsPerTable * 4 / kSector, kGrainTable);
  directory_.push_back(static_cast<uint32_t>(Sector(*out)));
  table_.resize(kGrainsPerTable);
  for (uint32_t entry : table_) Put(out, entry);
  table_.clear();
}

void VmdkStream::AppendEnd(std::string* out) {
  directory_.resize(static_cast<size_t>(Tables(Grains(Capacity(raw_bytes_)))));
  PutMarker(out, static_cast<uint64_t>(DirectorySectors(static_cast<int64_t>(directory_.size()))), kGrainDirectory);
  uint64_t directory = Sector(*out);
  std::string entries;
  for (uint32_t entry : directory_) Put(&entries, entry);
  Pad(&entries);
  *out += entries;
  PutMarker(out, 1, kFooter);
  *out += Header(directory);
  PutMarker(out, 0, kEndOfStream);
}

StatusOr<std::string> VmdkStream::Next() {
  std::string out;
  if (ended_) return out;
  if (grain_ < 0) {
    out = Header(kDirectoryAtEnd);
    uint64_t cylinders = std::clamp<uint64_t>(capacity_ / (uint64_t{255} * 63), 1, 65535);
    std::string descriptor = absl::StrFormat(
        "# Disk DescriptorFile\nversion=1\nCID=%08x\nparentCID=ffffffff\ncreateType=\"streamOptimized\"\n\n"
        "# Extent description\nRDONLY %d SPARSE \"disk.vmdk\"\n\n# The Disk Data Base\n#DDB\n\n"
        "ddb.adapterType = \"lsilogic\"\nddb.encoding = \"UTF-8\"\nddb.geometry.cylinders = \"%d\"\n"
        "ddb.geometry.heads = \"255\"\nddb.geometry.sectors = \"63\"\nddb.virtualHWVersion = \"10\"\n",
        content_id_, capacity_, cylinders);
    Pad(&descriptor, kDescriptorSectors * kSector);
    out += descriptor;
    out.append(static_cast<size_t>(kOverhead * kSector) - out.size(), '\0');
    grain_ = 0;
  }
  int64_t grains = Grains(raw_bytes_);
  for (int64_t i = 0; i < kGrainsAtOnce && grain_ < grains; ++i) {
    RETURN_IF_ERROR(AppendGrain(&out));
    if (grain_ % kGrainsPerTable == 0) AppendTable(&out);
  }
  if (grain_ == grains) {
    AppendTable(&out);
    AppendEnd(&out);
    ended_ = true;
  }
  position_ += out.size();
  return out;
}

}  // namespace vck::image
