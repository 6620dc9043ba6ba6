#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "http/websocket.h"

using namespace vck;

namespace {

class Collect : public http::WebSocketEvents {
 public:
  void OnMessage(http::WebSocketOp kind, std::string_view piece, bool begin, bool end) override {
    if (begin == open_) std::abort();
    open_ = !end;
    if (begin) seen.push_back(kind == http::WebSocketOp::kText ? "t" : "b");
    seen.back().append(piece);
    bytes += piece.size();
    // Control frames may come between: what follows them is told apart by the next piece.
  }
  void OnPing(std::string_view payload) override { control.append("i").append(payload); }
  void OnPong(std::string_view payload) override { control.append("o").append(payload); }
  void OnClose(uint16_t code, std::string_view reason) override { control.append("c").append(reason); }
  std::vector<std::string> seen;
  std::string control;
  size_t bytes = 0;

 private:
  bool open_ = false;
};

}  // namespace

// The first byte says in which pieces the rest arrives; what is seen must not depend on it.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  constexpr uint64_t kMax = 1000;
  std::string text(reinterpret_cast<const char*>(data) + 1, size - 1);
  Collect whole, pieces;
  http::WebSocketReceiver first(kMax), second(kMax);
  std::string copy = text;
  Status expected = first.Feed(copy, whole);
  Status status;
  const size_t piece = 1 + data[0] % 40;
  for (size_t at = 0; at < text.size() && status.ok(); at += piece) {
    status = second.Feed(std::span<char>(text).subspan(at, std::min(piece, text.size() - at)), pieces);
  }
  if (expected.code() != status.code() || first.closed() != second.closed()) std::abort();
  if (whole.control != pieces.control) std::abort();
  // Text that turns out not to be UTF-8 in the middle of a frame has been seen up to there in pieces.
  if (expected.ok() && whole.seen != pieces.seen) std::abort();
  for (const std::string& message : pieces.seen) {
    if (message.size() > kMax + 1) std::abort();
  }
  return 0;
}
