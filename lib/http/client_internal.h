// What the client's facade, its HTTP/1.1 pool and its HTTP/2 connections share. Not for other layers.
#pragma once

#include <list>
#include <memory>
#include <string>

#include "absl/container/flat_hash_set.h"
#include "async/clock.h"
#include "async/limiter.h"
#include "http/client.h"

namespace vck::http::internal {

// How far a request got: what decides about its repetition and the kMaybeSent payload.
struct Progress {
  bool maybe_sent = false;   // a byte of it may have reached the server
  bool not_handled = false;  // the server has said, or it is certain, that nothing was done with it
  bool stale = false;        // a reused connection ended before any byte of a response
  bool need_fresh = false;   // in: take no pooled connection
  bool source_used = false;  // the body's source cannot be asked for the beginning again
};

struct Upload {
  int64_t size = -1;  // < 0: unknown
  BodySource source;
};

// One attempt at a request. Everything is owned by the frame that awaits the attempt.
struct Call {
  const Request* request = nullptr;
  Upload* upload = nullptr;  // null: request->body
  Progress* progress = nullptr;
};

// State shared by all connections of a client; outlives them.
struct ClientCore {
  ClientCore(Clock& c, ClientOptions o) : clock(c), options(std::move(o)), tls(options.tls) {}
  Clock& clock;
  const ClientOptions options;
  std::shared_ptr<TlsContext> tls;  // for the next connection
  int generation = 0;               // of `tls`
  bool closed = false;
  Client::Stats stats;
};

Status ClosedClient();
// Dials the origin, counting. `alpn`: what to offer.
Task<StatusOr<std::unique_ptr<Stream>>> DialOrigin(std::shared_ptr<ClientCore> core, std::vector<std::string> alpn);

class H1Pool : public std::enable_shared_from_this<H1Pool> {
 public:
  explicit H1Pool(std::shared_ptr<ClientCore> core);
  // Sends the request and returns once the response's header is there.
  Task<StatusOr<StreamingResponse>> Start(Call call);
  // A fresh connection that nobody uses yet.
  void AddIdle(std::unique_ptr<Stream> stream, int generation);
  void DropIdle();
  // Ends what is in use too: its users get Unavailable.
  void Close();

 private:
  friend class H1Lease;
  struct Idle {
    std::unique_ptr<Stream> stream;
    int generation;
    Instant since;
  };
  std::unique_ptr<Stream> TakeIdle();
  void ExpireIdle();
  void DropFrontIdle();

  std::shared_ptr<ClientCore> core_;
  Limiter places_;
  std::list<Idle> idle_;  // the longest idle first
  Clock::Timer expiry_;
  absl::flat_hash_set<Stream*> in_use_;
};

// Unpacks gzip as it is read.
std::unique_ptr<BodyReader> MakeGzipReader(std::unique_ptr<BodyReader> packed);

}  // namespace vck::http::internal
