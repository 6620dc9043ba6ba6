#include "guestos/power.h"

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <string>

#include <boost/asio/posix/basic_stream_descriptor.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/signal_set.hpp>
#include <linux/input.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <unistd.h>

#include "async/task_group.h"
#include "base/log.h"
#include "guestos/fd.h"
#include "guestos/files.h"
#include "guestos/kernel_files.h"
#include "guestos/paths.h"

namespace vck::guestos {
namespace {

namespace fs = std::filesystem;
using Descriptor = asio::posix::basic_stream_descriptor<Executor>;

Task<Status> WatchSignals(Executor executor, const std::function<void(PowerRequest)>* on_request) {
  asio::basic_signal_set<Executor> signals(executor, SIGTERM, SIGINT, SIGPWR);
  while (true) {
    ErrorCode ec;
    const int signal = co_await signals.async_wait(asio::redirect_error(kUseTask, ec));
    if (ec == asio::error::operation_aborted) ThrowCancelled();
    if (ec) co_return absl::InternalError(ec.message());
    Log(Severity::kInfo, "Asked to end", {{"signal", signal}});
    (*on_request)(PowerRequest::kShutdown);
  }
}

std::string FindPowerButton() {
  std::error_code ec;
  for (const auto& entry : fs::directory_iterator("/sys/class/input", ec)) {
    const std::string event = entry.path().filename().string();
    if (event.rfind("event", 0) == 0 &&
        ReadKernelFile((entry.path() / "device" / "name").string()).value_or("") == "Power Button") {
      return "/dev/input/" + event;
    }
  }
  return "";
}

Task<Status> WatchButton(Executor executor, const std::function<void(PowerRequest)>* on_request) {
  const std::string path = FindPowerButton();
  Fd fd(path.empty() ? -1 : ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd.valid()) {
    LogV(1, "No power button");
    co_return absl::OkStatus();
  }
  Descriptor button(executor, fd.Release());
  std::array<input_event, 16> events{};
  while (true) {
    ErrorCode ec;
    const size_t n = co_await button.async_read_some(asio::buffer(events), asio::redirect_error(kUseTask, ec));
    if (ec == asio::error::operation_aborted) ThrowCancelled();
    if (ec) co_return absl::OkStatus();
    for (size_t i = 0; i < n / sizeof(input_event); ++i) {
      if (events[i].type != EV_KEY || events[i].code != KEY_POWER || events[i].value != 1) continue;
      Log(Severity::kInfo, "Power button pressed");
      (*on_request)(PowerRequest::kShutdown);
    }
  }
}

}  // namespace

Task<Status> WatchPowerRequests(Executor executor, std::function<void(PowerRequest)> on_request) {
  // Ctrl-alt-del becomes a SIGINT to PID 1.
  ::reboot(RB_DISABLE_CAD);
  TaskGroup group(executor);
  group.Spawn("signals", WatchSignals(executor, &on_request));
  group.Spawn("power button", WatchButton(executor, &on_request));
  co_return co_await group.Join();
}

void EndGuest(PowerRequest how) {
  Log(Severity::kInfo, how == PowerRequest::kShutdown ? "Powering off" : "Rebooting");
  ::sync();
  // What still uses it keeps it mounted; the file system's journal serves then.
  const std::string scratch(kScratchDir);
  if (::umount2(scratch.c_str(), 0) != 0) ::umount2(scratch.c_str(), MNT_DETACH);
  ::sync();
  ::reboot(how == PowerRequest::kShutdown ? RB_POWER_OFF : RB_AUTOBOOT);
  // Only without the right to: then this is not PID 1 of a machine.
  std::abort();
}

}  // namespace vck::guestos
