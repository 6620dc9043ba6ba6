#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "guestapi/frame.h"

using vck::guestapi::FrameSplitter;

// The first byte says in which pieces the rest arrives; the frames must not depend on it.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  std::vector<std::string> whole;
  std::vector<std::string> pieces;
  auto collect = [](std::vector<std::string>* out) {
    return [out](std::string_view line) -> vck::Status {
      out->emplace_back(line);
      return vck::guestapi::DecodeFrame(line).status();
    };
  };
  FrameSplitter first(256);
  vck::Status expected = first.Feed(text, collect(&whole));
  FrameSplitter second(256);
  vck::Status status;
  size_t piece = 1 + data[0] % 32;
  for (size_t at = 0; at < text.size() && status.ok(); at += piece) {
    status = second.Feed(text.substr(at, piece), collect(&pieces));
  }
  if (whole != pieces || status.code() != expected.code()) std::abort();
  for (const std::string& line : whole) {
    auto frame = vck::guestapi::DecodeFrame(line);
    if (!frame.ok()) continue;
    std::string again = vck::guestapi::EncodeFrame(*frame);
    again.pop_back();
    auto back = vck::guestapi::DecodeFrame(again);
    if (!back.ok() || back->index() != frame->index()) std::abort();
  }
  return 0;
}
