// One forwarded connection: what the client sends for it waits here, and what the pod sends goes to a sink. Not for
// other layers.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "async/task.h"
#include "async/wait.h"
#include "base/status.h"
#include "guestlink/links.h"

namespace vck::kubeletapi::internal {

inline constexpr size_t kTunnelBacklog = size_t{64} * 1024;

class Tunnel {
 public:
  // `drained` is told whenever there is room again; it outlives the tunnel.
  explicit Tunnel(Signal* drained) : drained_(drained) {}

  // ---- the client's side ----
  void Push(std::string_view data);
  // The client sends no more.
  void PushEnd();
  // The client does not want it any more.
  void Abort();
  [[nodiscard]] bool full() const { return pending_.size() >= kTunnelBacklog && !closed_; }

  // ---- the pod's side ----
  // Copies both ways until both have ended, or one has failed. `write` takes what comes from the pod ("" with its end).
  using Write = std::function<Task<Status>(std::string_view data, bool end)>;
  Task<Status> Run(guestlink::OpenedStream guest, Write write);
  [[nodiscard]] uint64_t moved() const { return moved_; }
  [[nodiscard]] bool hung_up() const { return guest_ != nullptr && guest_->HungUp(); }

 private:
  // Takes nothing any more.
  void Close();
  static Task<> ToPod(Tunnel* self);
  static Task<Status> FromPod(Tunnel* self, std::string leftover, Write write);

  Signal* drained_;
  std::unique_ptr<http::Stream> guest_;
  std::string pending_;
  bool ended_ = false;  // by the client
  bool aborted_ = false;
  bool closed_ = false;  // nothing is taken any more
  Signal changed_;
  uint64_t moved_ = 0;
};

}  // namespace vck::kubeletapi::internal
