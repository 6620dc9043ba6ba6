#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "spdy/session.h"

using namespace vck;

namespace {

// A peer that answers: replies, echoes, refuses and ends, as the stream's number says.
class Peer : public spdy::Events {
 public:
  explicit Peer(spdy::Session* session) : session_(session) {}
  void OnStream(uint32_t id, http::Headers headers) override {
    if (id % 8 == 7) {
      session_->Reset(id, spdy::ResetStatus::kRefusedStream);
    } else {
      session_->Reply(id, headers, id % 8 == 5);
    }
  }
  void OnData(uint32_t id, std::string_view piece) override {
    if (piece.empty()) std::abort();
    if (session_->Sendable(id) >= piece.size()) session_->Send(id, piece);
    if (id % 8 == 3) session_->Reset(id, spdy::ResetStatus::kCancel);
  }
  void OnEnd(uint32_t id) override { session_->Send(id, "", true); }
  void OnReset(uint32_t id, spdy::ResetStatus) override {
    if (session_->Writable(id)) std::abort();
  }

 private:
  spdy::Session* session_;
};

}  // namespace

// The first byte says the role and how the rest is cut.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  spdy::Session session({.role = (data[0] & 1) != 0 ? spdy::Role::kClient : spdy::Role::kServer, .max_streams = 16});
  Peer peer(&session);
  if ((data[0] & 2) != 0) session.Open({{"streamtype", "data"}});
  std::string_view rest(reinterpret_cast<const char*>(data) + 1, size - 1);
  const size_t piece = size_t{1} + (data[0] >> 2) * 3;
  while (!rest.empty()) {
    Status status = session.Feed(rest.substr(0, piece), peer);
    if (session.streams() > 17) std::abort();
    if (!status.ok()) break;
    rest.remove_prefix(std::min(piece, rest.size()));
  }
  return 0;
}
