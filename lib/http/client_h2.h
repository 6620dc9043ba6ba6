// One HTTP/2 connection (RFC 9113) over nghttp2. Not for other layers.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "async/wait.h"
#include "http/client_internal.h"

struct nghttp2_session;

namespace vck::http::internal {

class H2Stream;

// nghttp2 is the machine; one reader and one writer move its bytes. Streams are known by shared_ptr here and to who
// reads them, so that either may go first.
class H2Connection : public std::enable_shared_from_this<H2Connection> {
 public:
  // `changed` is notified when a place for a stream gets free or the connection can take no more; must outlive Run().
  H2Connection(std::shared_ptr<ClientCore> core, std::unique_ptr<Stream> stream, Signal* changed);
  ~H2Connection();

  // Moves bytes until the connection ends; then every stream has ended too. Never an error.
  Task<> Run();
  // Whether another request may start here now.
  [[nodiscard]] bool CanTake() const;
  // True once no new request may ever start here.
  [[nodiscard]] bool draining() const { return draining_; }
  // No new requests; ends when the last stream has.
  void Drain();
  // Sends the request and returns once the response's header is there. Requires CanTake().
  Task<StatusOr<StreamingResponse>> Start(Call call);

 private:
  friend class H2Body;
  friend struct H2Callbacks;
  using StreamPtr = std::shared_ptr<H2Stream>;

  Task<Status> ReadLoop();
  Task<Status> WriteLoop();
  Task<Status> FeedBody(StreamPtr stream, Call call);
  void OnQuiet();  // the timer: silence or idleness
  void ArmTimer();
  void Consumed(H2Stream* stream, size_t bytes);  // flow control: the consumer took this much
  void Abandon(H2Stream* stream);
  void Closed(int32_t id, uint32_t error);
  void Fail(Status why);

  std::shared_ptr<ClientCore> core_;
  std::unique_ptr<Stream> stream_;
  Signal* changed_;
  nghttp2_session* session_ = nullptr;
  std::map<int32_t, StreamPtr> streams_;
  Event writable_;  // nghttp2 may have something to send
  Clock::Timer timer_;
  Instant last_received_;
  Instant idle_since_;
  Instant ping_sent_;
  bool pinged_ = false;
  bool settings_seen_ = false;
  bool draining_ = false;
  Status error_;  // why the connection ended
};

}  // namespace vck::http::internal
