#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "guestos/log_format.h"

// What a container writes, in pieces whose size the first byte tells, comes out of its log as it was.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace vck::guestos;
  if (size == 0) return 0;
  std::string text(reinterpret_cast<const char*>(data) + 1, size - 1);
  // Long lines are interesting, and too long for a corpus.
  if (data[0] % 2 == 1) text += std::string(size_t{data[0]} * 1024, 'x') + text;
  const size_t step = 1 + size_t{data[0]} * 37 % 5000;
  LogLines lines(vck::guestapi::LogStream::kStderr);
  std::string log, shown;
  for (size_t at = 0; at < text.size(); at += step)
    lines.Feed(std::string_view(text).substr(at, step), absl::UnixEpoch(), &log);
  lines.Finish(absl::UnixEpoch(), &log);
  vck::guestapi::CriLogFilter filter({});
  filter.Feed(log, &shown);
  if (shown != text) std::abort();
  return 0;
}
