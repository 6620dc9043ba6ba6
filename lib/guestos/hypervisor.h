// What runs the VM: hands over the configuration, takes what the guest publishes, asks for shutdown. vSphere and QEMU
// do it in ways of their own; this hides which.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "async/clock.h"
#include "async/task.h"
#include "base/status.h"

namespace vck::guestos {

// What the guest tells of its network.
struct GuestNet {
  std::string host_name;
  std::string mac;
  std::vector<std::string> addresses;  // with prefix length: "10.1.2.3/20"
  friend bool operator==(const GuestNet&, const GuestNet&) = default;
};

enum class PowerRequest { kShutdown, kReboot };

class Hypervisor {
 public:
  // Asks the machine what it is; its drivers must be loaded. One that is neither, or where the way out is missing, is
  // logged and can do nothing.
  static std::unique_ptr<Hypervisor> Detect(Executor executor, Clock& clock);

  virtual ~Hypervisor() = default;
  [[nodiscard]] virtual std::string_view name() const = 0;  // "QEMU", "VMware"
  // The value of a guestinfo key ("guestinfo.vch.config"). NotFound when it is not set. May block for a moment.
  virtual StatusOr<std::string> Get(std::string_view key) = 0;
  // Publishes a value of a guestinfo key. Delivered by Run, again if it must; the last one counts.
  virtual void Set(std::string key, std::string value) = 0;
  virtual void ReportNet(GuestNet net) = 0;
  // Delivers, and listens for requests, until cancelled.
  virtual Task<Status> Run(std::function<void(PowerRequest)> on_request) = 0;
};

}  // namespace vck::guestos
