#include <utility>

#include <zlib.h>

#include "absl/strings/str_cat.h"
#include "http/client_internal.h"

namespace vck::http::internal {
namespace {

constexpr size_t kPiece = size_t{64} * 1024;

class GzipReader : public BodyReader {
 public:
  explicit GzipReader(std::unique_ptr<BodyReader> packed) : packed_(std::move(packed)) {
    ok_ = inflateInit2(&state_, 16 + MAX_WBITS) == Z_OK;
  }
  ~GzipReader() override {
    if (ok_) inflateEnd(&state_);
  }
  GzipReader(const GzipReader&) = delete;
  GzipReader& operator=(const GzipReader&) = delete;

  Task<StatusOr<std::string>> Read() override {
    if (!ok_) co_return absl::InternalError("gzip could not be set up");
    while (true) {
      if (!finished_) {
        std::string out(kPiece, '\0');
        state_.next_out = reinterpret_cast<Bytef*>(out.data());
        state_.avail_out = static_cast<uInt>(out.size());
        state_.next_in = reinterpret_cast<Bytef*>(input_.data() + (input_.size() - state_.avail_in));
        int result = inflate(&state_, Z_SYNC_FLUSH);
        if (result != Z_OK && result != Z_STREAM_END && result != Z_BUF_ERROR) {
          co_return absl::UnavailableError("the body is not valid gzip");
        }
        out.resize(out.size() - state_.avail_out);
        finished_ = result == Z_STREAM_END;
        if (!out.empty()) co_return out;
        if (finished_) continue;
      }
      CO_ASSIGN_OR_RETURN(input_, co_await packed_->Read());
      state_.avail_in = static_cast<uInt>(input_.size());
      if (input_.empty()) {
        // The answer to HEAD names an encoding and has no body.
        if (!finished_ && state_.total_in > 0) co_return absl::UnavailableError("the gzip body is cut off");
        co_return std::string();
      }
    }
  }

 private:
  std::unique_ptr<BodyReader> packed_;
  z_stream state_{};
  std::string input_;
  bool ok_ = false;
  bool finished_ = false;
};

}  // namespace

std::unique_ptr<BodyReader> MakeGzipReader(std::unique_ptr<BodyReader> packed) {
  return std::make_unique<GzipReader>(std::move(packed));
}

}  // namespace vck::http::internal
