#include "image/decompressor.h"

#include <algorithm>
#include <cstring>

#include <zlib.h>
#include <zstd.h>

#include "absl/strings/str_cat.h"

namespace vck::image {
namespace {

class Plain : public Decompressor {
 public:
  StatusOr<size_t> Step(std::string_view* input, std::span<char> out) override {
    size_t n = std::min(input->size(), out.size());
    std::memcpy(out.data(), input->data(), n);
    input->remove_prefix(n);
    return n;
  }
  [[nodiscard]] Status Finish() const override { return absl::OkStatus(); }
};

// One or more members (RFC 1952 §2.2), and perhaps zeros after them.
class Gzip : public Decompressor {
 public:
  Gzip() { ok_ = inflateInit2(&state_, 16 + MAX_WBITS) == Z_OK; }
  ~Gzip() override {
    if (ok_) inflateEnd(&state_);
  }
  Gzip(const Gzip&) = delete;
  Gzip& operator=(const Gzip&) = delete;

  StatusOr<size_t> Step(std::string_view* input, std::span<char> out) override {
    if (!ok_) return absl::ResourceExhaustedError("gzip could not be set up");
    while (true) {
      if (ended_) {
        while (!input->empty() && input->front() == '\0') input->remove_prefix(1);
        if (input->empty()) return 0;
        if (inflateReset(&state_) != Z_OK) return absl::InternalError("gzip could not be set up again");
        ended_ = false;
      }
      state_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(input->data()));
      state_.avail_in = static_cast<uInt>(std::min<size_t>(input->size(), 1U << 30));
      state_.next_out = reinterpret_cast<Bytef*>(out.data());
      state_.avail_out = static_cast<uInt>(std::min<size_t>(out.size(), 1U << 30));
      size_t had_in = state_.avail_in, had_out = state_.avail_out;
      int result = inflate(&state_, Z_NO_FLUSH);
      input->remove_prefix(had_in - state_.avail_in);
      size_t written = had_out - state_.avail_out;
      if (result == Z_STREAM_END) {
        ended_ = true;
        if (written == 0) continue;
        return written;
      }
      if (result != Z_OK && result != Z_BUF_ERROR) {
        return absl::InvalidArgumentError(absl::StrCat("gzip: ", state_.msg == nullptr ? "damaged" : state_.msg));
      }
      if (had_in > state_.avail_in) begun_ = true;
      return written;
    }
  }
  [[nodiscard]] Status Finish() const override {
    if (ended_ || !begun_) return absl::OkStatus();
    return absl::InvalidArgumentError("gzip: cut off");
  }

 private:
  z_stream state_{};
  bool ok_ = false;
  bool begun_ = false;
  bool ended_ = false;
};

// One or more frames, skippable ones among them (RFC 8878).
class Zstd : public Decompressor {
 public:
  Zstd() : state_(ZSTD_createDStream()) {}
  ~Zstd() override { ZSTD_freeDStream(state_); }
  Zstd(const Zstd&) = delete;
  Zstd& operator=(const Zstd&) = delete;

  StatusOr<size_t> Step(std::string_view* input, std::span<char> out) override {
    if (state_ == nullptr) return absl::ResourceExhaustedError("zstd could not be set up");
    ZSTD_inBuffer in{input->data(), input->size(), 0};
    ZSTD_outBuffer to{out.data(), out.size(), 0};
    while (to.pos == 0) {
      // After a frame, a call without input would begin another.
      if (between_ && in.pos == in.size) break;
      size_t before = in.pos;
      size_t result = ZSTD_decompressStream(state_, &to, &in);
      if (ZSTD_isError(result) != 0) {
        return absl::InvalidArgumentError(absl::StrCat("zstd: ", ZSTD_getErrorName(result)));
      }
      between_ = result == 0;
      if (in.pos == in.size || in.pos == before) break;
    }
    input->remove_prefix(in.pos);
    return to.pos;
  }
  [[nodiscard]] Status Finish() const override {
    return between_ ? absl::OkStatus() : absl::InvalidArgumentError("zstd: cut off");
  }

 private:
  ZSTD_DStream* state_;
  bool between_ = true;  // frames
};

}  // namespace

std::unique_ptr<Decompressor> Decompressor::For(std::string_view first) {
  if (first.starts_with("\x1f\x8b")) return std::make_unique<Gzip>();
  constexpr std::string_view kFrame = "\x28\xb5\x2f\xfd";
  // Skippable frames: 0x184D2A50 to 5F, little-endian.
  bool skippable = first.size() >= 4 && (static_cast<unsigned char>(first[0]) & 0xf0) == 0x50 &&
                   first.substr(1, 3) == "\x2a\x4d\x18";
  if (first.starts_with(kFrame) || skippable) return std::make_unique<Zstd>();
  return std::make_unique<Plain>();
}

}  // namespace vck::image
