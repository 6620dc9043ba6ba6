#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "guestapi/cri_log.h"

using namespace vck;

// The first byte says what is asked for, the second in which pieces the rest arrives, on which nothing depends.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  guestapi::CriLogOptions options;
  options.timestamps = (data[0] & 1) != 0;
  options.stream = static_cast<guestapi::LogStream>((data[0] >> 1) % 3);
  if ((data[0] & 8) != 0) options.limit_bytes = 20;
  options.skip_lines = (data[0] >> 4) & 3;
  if ((data[0] & 0x40) != 0) options.max_lines = 2;
  if ((data[0] & 0x80) != 0) options.since = absl::FromUnixSeconds(1'800'000'000);
  std::string_view text(reinterpret_cast<const char*>(data) + 2, size - 2);
  guestapi::CriLogFilter whole(options), pieces(options);
  std::string expected, out;
  whole.Feed(text, &expected);
  const size_t piece = 1 + data[1] % 50;
  for (size_t at = 0; at < text.size(); at += piece) pieces.Feed(text.substr(at, piece), &out);
  if (out != expected || whole.done() != pieces.done()) std::abort();
  if (options.limit_bytes && out.size() > 20) std::abort();
  return 0;
}
