// One pod's link: what is wanted, what is known, and the connection. Not for other layers.
#pragma once

#include <memory>
#include <optional>
#include <set>
#include <string>

#include "async/backoff.h"
#include "async/wait.h"
#include "guestapi/frame.h"
#include "guestlink/links.h"
#include "http/stream.h"

namespace vck::guestlink::internal {

// A connection whose handshake is done. Writers hold it, too, so that it outlives its reader.
struct Connection {
  std::unique_ptr<http::Stream> stream;
  guestapi::FrameSplitter splitter;
  std::string key_hash;  // of the peer
  Instant since;
  bool greeted = false;  // the first snapshot has come
  bool writing = false;
  // Sent on this connection.
  int64_t spec_revision = -1;
  int64_t stop_number = 0;
  bool power_off = false;
  int64_t acked = 0;
  // To be sent.
  std::string certificate;
};

// The wish to be connected to one endpoint; ends when it changes.
struct Session {
  explicit Session(BackoffPolicy policy) : backoff(policy) {}
  std::string pod_uid;
  Endpoint endpoint;
  bool ended = false;
  bool refusal_logged = false;
  std::shared_ptr<Connection> connection;  // null while there is none
  Waiter* nap = nullptr;                   // between attempts
  Backoff backoff;
  std::set<http::Stream*> streams;  // further connections that are open

  void End() {
    ended = true;
    for (http::Stream* stream : streams) stream->Close();
    if (connection != nullptr) connection->stream->Close();
    if (nap != nullptr) nap->Wake();
  }
};

struct Link {
  std::shared_ptr<Session> session;  // null: not wanted
  std::shared_ptr<const guestapi::GuestSpec> spec;
  std::optional<guestapi::StopRequest> stop;
  int64_t stop_number = 0;  // grows with each change of `stop`
  bool power_off = false;
  // The tether's key, once it was verified: from then on it counts for this boot, whatever guestinfo says.
  std::string pinned_boot, pinned_key;
};

}  // namespace vck::guestlink::internal
