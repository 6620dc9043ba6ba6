// SPDY/3.1 as a machine without I/O: bytes in, events and bytes out. Both roles; no server push, no credentials.
//
// Flow control (§2.6.8). The peers that Kubernetes has (Go's spdystream) neither send nor obey WINDOW_UPDATE, so
// windows of the peer bind us only from the first time that it mentions them, and what the peer sends is never too
// much: the stream below pushes back. Peers that count get windows that are raised to the largest as soon as half is
// used.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "absl/container/flat_hash_map.h"
#include "base/status.h"
#include "http/message.h"
#include "spdy/header_codec.h"

namespace vck::spdy {

enum class Role { kServer, kClient };

// RST_STREAM (§2.6.3).
enum class ResetStatus : uint32_t {
  kProtocolError = 1,
  kInvalidStream = 2,
  kRefusedStream = 3,
  kUnsupportedVersion = 4,
  kCancel = 5,
  kInternalError = 6,
  kFlowControlError = 7,
  kStreamInUse = 8,
  kStreamAlreadyClosed = 9,
  kFrameTooLarge = 11,
};
// GOAWAY (§2.6.6).
enum class GoAwayStatus : uint32_t { kOk = 0, kProtocolError = 1, kInternalError = 2 };

// What has come in. All may call the session. Views live as long as the call.
class Events {
 public:
  virtual ~Events() = default;
  // The peer opened a stream: Reply() or Reset() it.
  virtual void OnStream(uint32_t id, http::Headers headers) = 0;
  virtual void OnReply(uint32_t id, http::Headers headers) {}
  virtual void OnHeaders(uint32_t id, http::Headers headers) {}
  // A piece of what the peer sends on a stream; frames have no meaning.
  virtual void OnData(uint32_t id, std::string_view piece) = 0;
  // The peer will send no more on this stream.
  virtual void OnEnd(uint32_t id) = 0;
  // The stream is gone, by the peer or for a mistake of its.
  virtual void OnReset(uint32_t id, ResetStatus status) = 0;
  // The peer opens no more streams, and accepts none.
  virtual void OnGoAway(GoAwayStatus status) {}
  virtual void OnPong(uint32_t id) {}
  // Sendable() may have grown.
  virtual void OnWindow() {}
};

struct SessionOptions {
  Role role = Role::kServer;
  size_t max_streams = 1024;                    // open at once, opened by the peer; more are refused
  size_t max_header_bytes = size_t{16} * 1024;  // of one frame's headers, packed and unpacked
};

class Session {
 public:
  explicit Session(SessionOptions options);

  // Takes bytes as they come. An error ends the session: what is in the output (GOAWAY) still has to be sent, then
  // the connection is of no more use.
  Status Feed(std::string_view data, Events& events);

  // ---- what we do; all of it lands in the output ----
  // 0 when the peer has gone away. `fin`: nothing will be sent on it.
  uint32_t Open(const http::Headers& headers, bool fin = false);
  void Reply(uint32_t id, const http::Headers& headers = {}, bool fin = false);
  // The stream is forgotten; nothing of it is told any more.
  void Reset(uint32_t id, ResetStatus status);
  // `data` may be empty with `fin`. Nothing happens when we have ended that stream or it is gone. The caller looks at
  // Sendable() first.
  void Send(uint32_t id, std::string_view data, bool fin = false);
  // How many bytes the peer takes on the stream now; 0 if the stream takes none.
  [[nodiscard]] size_t Sendable(uint32_t id) const;
  void Ping();
  void GoAway(GoAwayStatus status);

  // What is to be sent; whoever sends it takes it out.
  [[nodiscard]] std::string& output() { return out_; }

  [[nodiscard]] size_t streams() const { return streams_.size(); }
  // The stream exists, and we have not ended it.
  [[nodiscard]] bool Writable(uint32_t id) const;

 private:
  struct Stream {
    bool local_done = false;   // we send no more
    bool remote_done = false;  // the peer sends no more
    int64_t send_window = 0;
    int64_t receive_window = 0;
  };

  Status Fail(std::string_view why);
  Status OnFrameHeader();
  Status OnControl(Events& events);
  Status OnSynStream(std::string_view payload, Events& events);
  Status OnHeaderFrame(std::string_view payload, bool is_reply, Events& events);
  Status OnSettings(std::string_view payload, Events& events);
  Status OnWindowUpdate(std::string_view payload, Events& events);
  void OnDataPiece(std::string_view piece, Events& events);
  void OnDataEnd(Events& events);
  void Refuse(uint32_t id, ResetStatus status, Events& events);
  void Credit(uint32_t id, int64_t* window, size_t used);
  void LocalDone(uint32_t id);
  void RemoteDone(uint32_t id, Events& events);
  void AppendControl(uint16_t type, uint8_t flags, std::string_view payload);

  SessionOptions options_;
  HeaderEncoder encoder_;
  HeaderDecoder decoder_;
  absl::flat_hash_map<uint32_t, Stream> streams_;
  std::string out_;

  // Of the frame that is coming in.
  std::string header_;
  std::string payload_;  // of a control frame
  size_t left_ = 0;      // bytes of it that are still to come
  bool in_frame_ = false;
  bool control_ = false;
  bool skip_ = false;  // of an unknown type
  uint16_t type_ = 0;
  uint8_t flags_ = 0;
  uint32_t data_id_ = 0;

  uint32_t next_id_;
  uint32_t last_peer_id_ = 0;
  uint32_t next_ping_;
  bool sent_goaway_ = false;
  bool got_goaway_ = false;
  bool failed_ = false;
  bool stream_windows_bind_ = false;  // the peer has mentioned them
  bool session_window_binds_ = false;
  int64_t initial_send_window_;
  int64_t session_send_window_;
  int64_t session_receive_window_;
};

}  // namespace vck::spdy
