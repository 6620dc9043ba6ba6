#include "spdy/header_codec.h"

#include <array>
#include <limits>
#include <map>
#include <vector>

#include <zlib.h>

#include "absl/strings/ascii.h"
#include "absl/strings/str_split.h"

namespace vck::spdy {
namespace {

// Little memory and enough: blocks are a few dozen bytes.
constexpr int kPackWindowBits = 11;
constexpr int kPackMemory = 1;
// What a peer may have packed with.
constexpr int kUnpackWindowBits = 15;

void AppendU32(std::string* out, size_t value) {
  for (int shift : {24, 16, 8, 0}) out->push_back(static_cast<char>((value >> shift) & 0xff));
}

const Bytef* Bytes(std::string_view text) { return reinterpret_cast<const Bytef*>(text.data()); }

// zlib's inputs are not const in its structures, but it does not write there.
Bytef* Input(std::string_view text) { return const_cast<Bytef*>(Bytes(text)); }

// Reads an unpacked block.
class Reader {
 public:
  explicit Reader(std::string_view text) : text_(text) {}
  bool U32(size_t* out) {
    if (text_.size() < 4) return false;
    *out = 0;
    for (int i = 0; i < 4; ++i) *out = *out << 8 | static_cast<uint8_t>(text_[static_cast<size_t>(i)]);
    text_.remove_prefix(4);
    return true;
  }
  bool Text(std::string_view* out) {
    size_t size = 0;
    if (!U32(&size) || text_.size() < size) return false;
    *out = text_.substr(0, size);
    text_.remove_prefix(size);
    return true;
  }
  [[nodiscard]] bool empty() const { return text_.empty(); }

 private:
  std::string_view text_;
};

// False when the block is not well-formed.
bool Parse(std::string_view text, http::Headers* out) {
  Reader in(text);
  size_t pairs = 0;
  if (!in.U32(&pairs)) return false;
  for (size_t i = 0; i < pairs; ++i) {
    std::string_view name, value;
    if (!in.Text(&name) || !in.Text(&value)) return false;
    bool upper = false;
    for (char c : name) upper = upper || absl::ascii_isupper(static_cast<unsigned char>(c));
    if (name.empty() || upper || out->Get(name)) return false;
    for (std::string_view part : absl::StrSplit(value, '\0')) out->Add(std::string(name), std::string(part));
  }
  return in.empty();
}

}  // namespace

const std::string& HeaderDictionary() {
  static const std::string dictionary = [] {
    std::string out;
    for (std::string_view word : {"options",
                                  "head",
                                  "post",
                                  "put",
                                  "delete",
                                  "trace",
                                  "accept",
                                  "accept-charset",
                                  "accept-encoding",
                                  "accept-language",
                                  "accept-ranges",
                                  "age",
                                  "allow",
                                  "authorization",
                                  "cache-control",
                                  "connection",
                                  "content-base",
                                  "content-encoding",
                                  "content-language",
                                  "content-length",
                                  "content-location",
                                  "content-md5",
                                  "content-range",
                                  "content-type",
                                  "date",
                                  "etag",
                                  "expect",
                                  "expires",
                                  "from",
                                  "host",
                                  "if-match",
                                  "if-modified-since",
                                  "if-none-match",
                                  "if-range",
                                  "if-unmodified-since",
                                  "last-modified",
                                  "location",
                                  "max-forwards",
                                  "pragma",
                                  "proxy-authenticate",
                                  "proxy-authorization",
                                  "range",
                                  "referer",
                                  "retry-after",
                                  "server",
                                  "te",
                                  "trailer",
                                  "transfer-encoding",
                                  "upgrade",
                                  "user-agent",
                                  "vary",
                                  "via",
                                  "warning",
                                  "www-authenticate",
                                  "method",
                                  "get",
                                  "status",
                                  "200 OK",
                                  "version",
                                  "HTTP/1.1",
                                  "url",
                                  "public",
                                  "set-cookie",
                                  "keep-alive",
                                  "origin"}) {
      AppendU32(&out, word.size());
      out.append(word);
    }
    out +=
        "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
        "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized"
        "403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented503 Service Unavailable"
        "Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT"
        "chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,"
        "text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0.";
    return out;
  }();
  return dictionary;
}

struct HeaderEncoder::Impl {
  z_stream zlib{};
  Impl() {
    deflateInit2(&zlib, Z_DEFAULT_COMPRESSION, Z_DEFLATED, kPackWindowBits, kPackMemory, Z_DEFAULT_STRATEGY);
    const std::string& dictionary = HeaderDictionary();
    deflateSetDictionary(&zlib, Bytes(dictionary), static_cast<uInt>(dictionary.size()));
  }
  ~Impl() { deflateEnd(&zlib); }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
};

HeaderEncoder::HeaderEncoder() = default;
HeaderEncoder::~HeaderEncoder() = default;

std::string HeaderEncoder::Encode(const http::Headers& headers) {
  // In the order of their first appearance.
  std::vector<std::pair<std::string, std::string>> pairs;
  for (const auto& [name, value] : headers.fields()) {
    std::string lower = absl::AsciiStrToLower(name);
    auto known = std::find_if(pairs.begin(), pairs.end(), [&](const auto& pair) { return pair.first == lower; });
    if (known == pairs.end()) {
      pairs.emplace_back(std::move(lower), value);
    } else {
      known->second.push_back('\0');
      known->second += value;
    }
  }
  std::string block;
  AppendU32(&block, pairs.size());
  for (const auto& [name, value] : pairs) {
    AppendU32(&block, name.size());
    block += name;
    AppendU32(&block, value.size());
    block += value;
  }
  if (impl_ == nullptr) impl_ = std::make_unique<Impl>();
  z_stream& zlib = impl_->zlib;
  zlib.next_in = Input(block);
  zlib.avail_in = static_cast<uInt>(block.size());
  std::string out;
  std::array<char, 512> buffer{};
  do {
    zlib.next_out = reinterpret_cast<Bytef*>(buffer.data());
    zlib.avail_out = buffer.size();
    deflate(&zlib, Z_SYNC_FLUSH);
    out.append(buffer.data(), buffer.size() - zlib.avail_out);
  } while (zlib.avail_out == 0);
  return out;
}

struct HeaderDecoder::Impl {
  z_stream zlib{};
  Impl() { inflateInit2(&zlib, kUnpackWindowBits); }
  ~Impl() { inflateEnd(&zlib); }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
};

HeaderDecoder::HeaderDecoder(size_t max_bytes) : max_bytes_(max_bytes) {}
HeaderDecoder::~HeaderDecoder() = default;

StatusOr<http::Headers> HeaderDecoder::Decode(std::string_view block, bool* malformed) {
  *malformed = false;
  if (impl_ == nullptr) impl_ = std::make_unique<Impl>();
  z_stream& zlib = impl_->zlib;
  zlib.next_in = Input(block);
  zlib.avail_in = static_cast<uInt>(block.size());
  std::string text;
  std::array<char, 1024> buffer{};
  while (true) {
    zlib.next_out = reinterpret_cast<Bytef*>(buffer.data());
    zlib.avail_out = buffer.size();
    int result = inflate(&zlib, Z_SYNC_FLUSH);
    if (result == Z_NEED_DICT) {
      const std::string& dictionary = HeaderDictionary();
      if (inflateSetDictionary(&zlib, Bytes(dictionary), static_cast<uInt>(dictionary.size())) == Z_OK) continue;
      return absl::InvalidArgumentError("SPDY: headers are packed with another dictionary");
    }
    text.append(buffer.data(), buffer.size() - zlib.avail_out);
    if (text.size() > max_bytes_) return absl::ResourceExhaustedError("SPDY: the headers are too long");
    // Z_BUF_ERROR: nothing was left to do. The end of the zlib stream must not come: it lives as long as the
    // connection.
    if (result != Z_OK && result != Z_BUF_ERROR) return absl::InvalidArgumentError("SPDY: headers are not zlib");
    if (zlib.avail_out > 0) break;
  }
  if (zlib.avail_in > 0) return absl::InvalidArgumentError("SPDY: headers are not zlib");
  http::Headers headers;
  *malformed = !Parse(text, &headers);
  return headers;
}

}  // namespace vck::spdy
