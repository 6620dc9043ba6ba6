// Links: the kubelet's end of the channels, one held connection per powered-on pod VM.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "async/clock.h"
#include "async/task.h"
#include "flow/store.h"
#include "guestapi/identity.h"
#include "guestapi/spec.h"
#include "guestapi/state.h"
#include "http/client.h"
#include "http/message.h"
#include "http/stream.h"
#include "metrics/metrics.h"

namespace vck::guestlink {

// What the link layer needs to know of a VM to talk to its tether.
struct Endpoint {
  std::string vm;       // moid: a new VM is a new endpoint
  std::string address;  // IP, without prefix length
  uint16_t port = 10350;
  guestapi::GuestAnnouncement guest;  // from guestinfo
  friend bool operator==(const Endpoint&, const Endpoint&) = default;
};

// The newest snapshot of a pod's guest, and whether the channel is up.
struct LinkState {
  guestapi::GuestState guest;  // the last one, also while disconnected; sequence 0: none yet
  bool connected = false;
  Instant since;                // connected or disconnected since
  absl::Duration clock_offset;  // kubelet's wall time minus guest's, when the snapshot came
  std::string error;            // of the last failed attempt; "" while connected
};

struct Options {
  std::string key_pem;  // the VCH's key; it signs the tethers' certificates
  absl::Duration connect_timeout = absl::Seconds(10);
  absl::Duration keepalive = absl::Seconds(15);
  int max_handshakes = 32;  // at the same time
};

// A connection after `101 Switching Protocols`.
struct OpenedStream {
  std::unique_ptr<http::Stream> stream;
  std::string leftover;  // read past the response
};

// What the tether answered instead of what was asked for: the payload of the Status.
struct TetherError {
  int http_status = 0;
  std::string code;  // "NotFound" …; "" if it gave none
};
// nullopt for errors that are not the tether's.
std::optional<TetherError> GetTetherError(const Status& status);

class Links {
 public:
  static StatusOr<std::unique_ptr<Links>> Create(Executor executor, Clock& clock, metrics::Registry& registry,
                                                 Options options);
  virtual ~Links() = default;

  // The wish: keep a channel to this guest. Changing an endpoint reconnects; the same one again changes nothing.
  virtual void Connect(const std::string& pod_uid, const Endpoint& endpoint) = 0;
  // No channel any more (VM off or gone); the state stays in the store until Forget.
  virtual void Disconnect(const std::string& pod_uid) = 0;
  virtual void Forget(const std::string& pod_uid) = 0;

  // The spec to be applied: kept, and sent at once and after each reconnect, until the guest reports its revision.
  virtual void Push(const std::string& pod_uid, std::shared_ptr<const guestapi::GuestSpec> spec) = 0;
  // Asks the guest to stop; kept and repeated like a spec. A longer grace than before is ignored, unless
  // the request differs in whether the guest is to stay on.
  virtual void Stop(const std::string& pod_uid, guestapi::StopRequest request) = 0;
  // The guest of a finished pod may power off now (a stopped one does so by itself): kept and repeated, too.
  virtual void PowerOff(const std::string& pod_uid) {}

  // ---- further connections to the same tether, trusted as the channel is ----
  // `request` names an Upgrade; its Host and Connection fields are set here. The stream is the caller's, and is closed
  // when the guest is disconnected or forgotten; it must be destroyed before the Links.
  // NotFound: there is no such guest. Unavailable: it is not connected, or did not answer. DeadlineExceeded: not in
  // time. The tether's own errors have a code like its HTTP status, its message, and a TetherError.
  virtual Task<StatusOr<OpenedStream>> Open(std::string pod_uid, http::Request request);
  // GET `target`, with a body that is read as it comes. Errors as above; the status of the response is below 400.
  virtual Task<StatusOr<http::StreamingResponse>> Get(std::string pod_uid, std::string target);

  // Some of these connections are open: somebody still reads.
  [[nodiscard]] virtual bool Streaming(const std::string& pod_uid) const { return false; }

  // Keyed by pod UID; one Put per snapshot or connection change.
  virtual flow::Store<std::string, LinkState>& states() = 0;
  // SHA-256 hex of the VCH key's SubjectPublicKeyInfo, for BootConfig.
  [[nodiscard]] virtual std::string key_hash() const = 0;
  // PEM of a certificate of the VCH's key, for BootConfig: with the hash alone a tether could not ask for the kubelet's
  // certificate. Another at each start of the kubelet, and each as good for all guests.
  [[nodiscard]] virtual std::string ca_pem() const { return ""; }

  // Runs the connections until cancelled.
  virtual Task<Status> Run() = 0;
};

}  // namespace vck::guestlink
