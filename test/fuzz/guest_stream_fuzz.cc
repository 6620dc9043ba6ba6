#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "guestapi/stream.h"

using vck::guestapi::StreamChannel;
using vck::guestapi::StreamDecoder;

namespace {

// What was decoded, with neighbouring pieces of a channel joined.
struct Seen {
  std::vector<std::pair<StreamChannel, std::string>> all;
  vck::Status Take(StreamChannel channel, std::string_view piece) {
    if (!piece.empty() && !all.empty() && all.back().first == channel && !all.back().second.empty()) {
      all.back().second += piece;
    } else {
      all.emplace_back(channel, piece);
    }
    if (channel == StreamChannel::kResize) (void)vck::guestapi::DecodeTerminalSize(piece);
    if (channel == StreamChannel::kStatus) (void)vck::guestapi::DecodeStreamStatus(piece);
    return absl::OkStatus();
  }
};

}  // namespace

// The first byte says in which pieces the rest arrives; what is decoded must not depend on it, and what is encoded
// again must be the same.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  Seen whole, pieces, again;
  std::string encoded;
  StreamDecoder first;
  const vck::Status expected = first.Feed(text, [&](StreamChannel channel, std::string_view piece) {
    encoded += vck::guestapi::EncodeStreamFrame(channel, piece);
    return whole.Take(channel, piece);
  });
  StreamDecoder second;
  vck::Status status;
  const size_t step = 1 + data[0] % 32;
  for (size_t at = 0; at < text.size() && status.ok(); at += step) {
    status = second.Feed(text.substr(at, step),
                         [&](StreamChannel channel, std::string_view piece) { return pieces.Take(channel, piece); });
  }
  if (whole.all != pieces.all || status.code() != expected.code()) std::abort();
  StreamDecoder third;
  status =
      third.Feed(encoded, [&](StreamChannel channel, std::string_view piece) { return again.Take(channel, piece); });
  if (!status.ok() || again.all != whole.all) std::abort();
  return 0;
}
