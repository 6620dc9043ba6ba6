// Writes tar archives for tests.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <zlib.h>
#include <zstd.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/digest.h"

namespace vck::image {

struct TarFile {
  std::string path;
  char type = '0';
  std::string content;
  std::string link;
  uint32_t mode = 0644;
  uint64_t uid = 0, gid = 0;
  int64_t mtime = 1000;
  uint32_t major = 0, minor = 0;
  std::vector<std::pair<std::string, std::string>> pax;  // records, "SCHILY.xattr.user.x"
};

class TarBuilder {
 public:
  TarBuilder& Add(const TarFile& file) {
    std::vector<std::pair<std::string, std::string>> pax = file.pax;
    std::string path = file.path, link = file.link;
    if (path.size() > 100) {
      pax.emplace_back("path", path);
      path.resize(100);
    }
    if (link.size() > 100) {
      pax.emplace_back("linkpath", link);
      link.resize(100);
    }
    if (!pax.empty()) {
      std::string records;
      for (const auto& [key, value] : pax) records += Record(key, value);
      out_ += Header("PaxHeaders/x", 'x', records.size(), {});
      Content(records);
    }
    TarFile head = file;
    head.link = link;
    out_ += Header(path, file.type, file.content.size(), head);
    Content(file.content);
    return *this;
  }
  TarBuilder& File(std::string path, std::string content, uint32_t mode = 0644) {
    return Add({.path = std::move(path), .content = std::move(content), .mode = mode});
  }
  TarBuilder& Dir(std::string path, uint32_t mode = 0755) {
    return Add({.path = std::move(path), .type = '5', .mode = mode});
  }
  TarBuilder& Symlink(std::string path, std::string target) {
    return Add({.path = std::move(path), .type = '2', .link = std::move(target), .mode = 0777});
  }
  TarBuilder& Link(std::string path, std::string target) {
    return Add({.path = std::move(path), .type = '1', .link = std::move(target)});
  }
  // A GNU long name ('L') or long link ('K') for the next entry.
  TarBuilder& Gnu(char type, const std::string& text) {
    out_ += Header("././@LongLink", type, text.size() + 1, {});
    Content(text + std::string(1, '\0'));
    return *this;
  }
  TarBuilder& Raw(std::string_view bytes) {
    out_ += bytes;
    return *this;
  }
  [[nodiscard]] std::string End() const { return out_ + std::string(1024, '\0'); }
  [[nodiscard]] std::string Unended() const { return out_; }

  static std::string Record(std::string_view key, std::string_view value) {
    size_t size = key.size() + value.size() + 3;
    size_t length = size + 1;
    while (absl::StrCat(length).size() + size != length) length = absl::StrCat(length).size() + size;
    return absl::StrCat(length, " ", key, "=", value, "\n");
  }
  static std::string Header(std::string_view name, char type, uint64_t size, const TarFile& f) {
    std::string h(512, '\0');
    auto put = [&h](size_t at, std::string_view text) { h.replace(at, text.size(), text); };
    put(0, name.substr(0, 100));
    put(100, absl::StrFormat("%07o", f.mode));
    put(108, absl::StrFormat("%07o", f.uid & 07777777));
    put(116, absl::StrFormat("%07o", f.gid & 07777777));
    put(124, absl::StrFormat("%011o", size));
    put(136, absl::StrFormat("%011o", f.mtime));
    h[156] = type;
    put(157, std::string_view(f.link).substr(0, 100));
    put(257, std::string_view("ustar\0"
                              "00",
                              8));
    put(329, absl::StrFormat("%07o", f.major));
    put(337, absl::StrFormat("%07o", f.minor));
    Sum(&h);
    return h;
  }
  static void Sum(std::string* h) {
    h->replace(148, 8, "        ");
    unsigned sum = 0;
    for (char c : *h) sum += static_cast<unsigned char>(c);
    h->replace(148, 8, absl::StrFormat("%06o", sum) + std::string("\0 ", 2));
  }

 private:
  void Content(std::string_view content) {
    out_ += content;
    out_.append((512 - content.size() % 512) % 512, '\0');
  }
  std::string out_;
};

inline std::string Gzip(std::string_view data) {
  z_stream z{};
  deflateInit2(&z, 6, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY);
  std::string out(deflateBound(&z, data.size()) + 64, '\0');
  z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(data.data()));
  z.avail_in = static_cast<uInt>(data.size());
  z.next_out = reinterpret_cast<Bytef*>(out.data());
  z.avail_out = static_cast<uInt>(out.size());
  deflate(&z, Z_FINISH);
  out.resize(out.size() - z.avail_out);
  deflateEnd(&z);
  return out;
}

inline std::string Zstd(std::string_view data) {
  std::string out(ZSTD_compressBound(data.size()), '\0');
  out.resize(ZSTD_compress(out.data(), out.size(), data.data(), data.size(), 3));
  return out;
}

inline std::string Digest(std::string_view data) { return absl::StrCat("sha256:", Sha256Hex(data)); }

}  // namespace vck::image
