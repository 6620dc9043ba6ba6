// Simulated guests: the tethers of any number of pod VMs in one process, driven by a simulated vCenter over a control
// connection. docs/guest-protocol.md describes its lines.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>

#include "async/clock.h"
#include "async/task.h"
#include "async/task_group.h"
#include "base/status.h"
#include "guestapi/frame.h"
#include "json/json.h"
#include "tether/tether.h"

namespace vck::tether {

struct SimOptions {
  uint16_t port = 10350;  // of guests whose configuration names none
  absl::Duration boot_delay = absl::ZeroDuration();
  Streams* streams = nullptr;  // of all guests; null: they have no exec and no logs. Outlives them
};

class Sim {
 public:
  Sim(Executor executor, Clock& clock, SimOptions options);
  ~Sim();

  // A vCenter has connected: its lines go to Handle(), ours, with their newline, to `send`, until Disconnected().
  // Guests live on in between.
  void Connected(std::function<void(std::string)> send);
  void Disconnected() { send_ = nullptr; }
  // One line. InvalidArgument when it is none of the protocol.
  Status Handle(std::string_view line);

  // Switches all guests off and waits for them.
  Task<> Close();
  [[nodiscard]] size_t guests() const { return guests_.size(); }

 private:
  struct Guest;
  using GuestPtr = std::shared_ptr<Guest>;

  // `journal`: of the boot before, "" without one.
  void PowerOn(const std::string& vm, std::map<std::string, std::string> guestinfo, std::string journal = {});
  void PowerOff(const std::string& vm);
  void Shutdown(const std::string& vm);
  void Reset(const std::string& vm);
  void Sync();
  void Boot(const GuestPtr& guest);
  static Task<> RunGuest(Sim* sim, GuestPtr guest);
  void Announce(const Guest& guest);
  void GuestPoweredOff(const GuestPtr& guest);
  void Send(json::Object message);

  Executor executor_;
  Clock& clock_;
  SimOptions options_;
  std::function<void(std::string)> send_;
  std::map<std::string, GuestPtr> guests_;
  // Guests that powered themselves off, until vCenter says so, too: what it believes before that is out of date.
  std::set<std::string> off_;
  Clock::Timer sweep_;  // of guests that vCenter did not mention after a sync
  TaskGroup tasks_;
};

// Serves the control protocol on a unix socket at `path` until cancelled; one vCenter at a time. Removes the file in
// the end. AlreadyExists when somebody listens there.
Task<Status> ServeControl(Sim* sim, std::string path);

}  // namespace vck::tether
