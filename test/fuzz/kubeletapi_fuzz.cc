#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "kubeletapi/attributes.h"
#include "kubeletapi/channel_codec.h"
#include "kubeletapi/log_options.h"
#include "kubeletapi/remote_command.h"
#include "kubeletapi/target.h"

using namespace vck;

namespace {

class Collect : public kubeletapi::ChannelEvents {
 public:
  void OnChannel(uint8_t channel, std::string_view piece) override {
    if (piece.empty()) std::abort();
    if (log.empty() || last_ != channel) log.emplace_back(1, static_cast<char>(channel));
    last_ = channel;
    log.back().append(piece);
  }
  void OnChannelEnd(uint8_t channel) override {
    log.emplace_back("end").push_back(static_cast<char>(channel));
    last_ = -1;
  }
  std::vector<std::string> log;

 private:
  int last_ = -1;
};

// A message in pieces; what comes of it must not depend on them.
void Channels(std::string_view text, uint8_t mode) {
  const kubeletapi::ChannelProtocol protocol{.base64 = (mode & 1) != 0, .close_signal = (mode & 2) != 0};
  Collect whole, pieces;
  kubeletapi::ChannelDecoder one(protocol), other(protocol);
  const Status expected = one.Feed(text, true, true, whole);
  const size_t size = 1 + mode / 4;
  Status status;
  size_t at = 0;
  do {
    const std::string_view piece = text.substr(at, size);
    status = other.Feed(piece, at == 0, at + piece.size() == text.size(), pieces);
    at += piece.size();
  } while (status.ok() && at < text.size());
  if (expected.ok() != status.ok()) std::abort();
  if (expected.ok() && whole.log != pieces.log) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  auto target = kubeletapi::ParseTarget(text);
  if (target.ok()) {
    // No segment can be taken for two, or for another one.
    if (!target->devious) {
      std::string joined;
      for (const std::string& segment : target->segments) joined += "/" + segment;
      if (joined.empty() || target->path.back() == '/') joined += "/";
      if (joined != target->path) std::abort();
    }
    if (!target->cleaned.empty()) {
      auto again = kubeletapi::ParseTarget(target->cleaned);
      if (!again.ok() || !again->cleaned.empty()) std::abort();
    }
    if (kubeletapi::AttributesOf("GET", *target).subresources.empty()) std::abort();
    (void)kubeletapi::ParseLogOptions(target->query);
    (void)kubeletapi::ParseCommandStreams(target->query);
  }
  Channels(text, data[0]);
  kubeletapi::ResizeDecoder resize;
  (void)resize.Feed(text);
  return 0;
}
