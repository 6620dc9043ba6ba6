#include "guestos/guest.h"

#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <sys/stat.h>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "async/task_group.h"
#include "async/wait.h"
#include "base/log.h"
#include "guestos/boot.h"
#include "guestos/disks.h"
#include "guestos/kernel_files.h"
#include "guestos/network.h"
#include "guestos/power.h"

namespace vck::guestos {
namespace {

// Since power-on, as the kernel counts it.
double Uptime() {
  const std::string text = ReadKernelFile("/proc/uptime").value_or("");
  double out = 0;
  (void)absl::SimpleAtod(text.substr(0, text.find(' ')), &out);
  return out;
}

// What this process takes of the guest's memory: its file, which is in a tmpfs, and what it has written to.
int64_t MemoryKib() {
  struct stat file{};
  int64_t kib = ::stat("/proc/self/exe", &file) == 0 ? file.st_size >> 10 : 0;
  const std::string status = ReadKernelFile("/proc/self/status").value_or("");
  for (std::string_view line : absl::StrSplit(status, '\n')) {
    int64_t anonymous = 0;
    if (absl::ConsumePrefix(&line, "RssAnon:") && absl::ConsumeSuffix(&line, "kB") &&
        absl::SimpleAtoi(line, &anonymous)) {
      kib += anonymous;
    }
  }
  return kib;
}

class Guest {
 public:
  Guest(Executor executor, Clock& clock, const EquipTether& equip)
      : executor_(executor),
        clock_(clock),
        equip_(equip),
        reaper_(executor, clock),
        hypervisor_(Hypervisor::Detect(executor, clock)) {}

  // How the machine shall end, when it shall.
  Task<PowerRequest> Run() {
    TaskGroup services(executor_);
    const auto on_request = [this](PowerRequest request) { OnPowerRequest(request); };
    services.Spawn("hypervisor", hypervisor_->Run(on_request));
    services.Spawn("power requests", WatchPowerRequests(executor_, on_request));
    Status status = co_await Serve();
    if (!status.ok()) {
      Log(Severity::kError, "Guest cannot run its pod", {{"err", status}});
      // Somebody may look at the console, or the kubelet take the VM away.
      co_await ended_.Wait();
    }
    services.Cancel();
    (void)co_await services.Join();
    co_return how_;
  }

 private:
  Task<Status> Serve() {
    CO_ASSIGN_OR_RETURN(std::string text, hypervisor_->Get(guestapi::kConfigKey));
    CO_ASSIGN_OR_RETURN(config_, guestapi::DecodeBootConfig(text));
    if (config_.scratch_unit >= 0) ScanDisk(config_.scratch_unit);  // it shows up meanwhile
    CO_ASSIGN_OR_RETURN(Nic nic, BringUpNetwork(config_));
    CO_ASSIGN_OR_RETURN(scratch_, co_await MountScratch(&reaper_, config_.scratch_unit));
    tether::Options options{.config = config_};
    CO_ASSIGN_OR_RETURN(options.boot_id, BootId());
    CO_RETURN_IF_ERROR(equip_({executor_, clock_, reaper_, config_, scratch_}, &options));
    CO_ASSIGN_OR_RETURN(tether_, tether::Tether::Create(executor_, clock_, std::move(options)));
    if (ended_.IsSet()) co_return absl::OkStatus();
    Status status = co_await tether_->Run([this, &nic] { Ready(nic); });
    tether_.reset();
    co_return status;
  }

  void Ready(const Nic& nic) {
    hypervisor_->Set(std::string(guestapi::kGuestKey), guestapi::Encode(tether_->announcement()));
    hypervisor_->ReportNet({.host_name = config_.host_name, .mac = nic.mac, .addresses = {config_.address}});
    Log(Severity::kInfo, "tether ready",
        {{"pod", config_.pod_uid},
         {"boot", tether_->announcement().boot_id},
         {"address", config_.address},
         {"nic", nic.name},
         {"scratch", scratch_.device},
         {"earlier", scratch_.earlier},
         {"memoryKiB", MemoryKib()},
         {"uptime", Uptime()}});
  }

  void OnPowerRequest(PowerRequest request) {
    how_ = request;
    ended_.Set();
    if (tether_ != nullptr) tether_->Shutdown();
  }

  Executor executor_;
  Clock& clock_;
  const EquipTether& equip_;
  Reaper reaper_;
  std::unique_ptr<Hypervisor> hypervisor_;
  guestapi::BootConfig config_;
  Scratch scratch_;
  std::unique_ptr<tether::Tether> tether_;
  PowerRequest how_ = PowerRequest::kShutdown;
  Event ended_;  // asked to end
};

}  // namespace

void RunGuest(const EquipTether& equip) {
  if (Status status = BootGuest(); !status.ok()) {
    Log(Severity::kError, "Guest cannot boot", {{"err", status}});
    EndGuest(PowerRequest::kShutdown);
  }
  LogV(1, "Booted", {{"uptime", Uptime()}});
  asio::io_context context(1);
  RealClock clock(context.get_executor());
  auto guest = std::make_unique<Guest>(context.get_executor(), clock, equip);
  PowerRequest how = PowerRequest::kShutdown;
  asio::co_spawn(context, guest->Run(), [&](std::exception_ptr exception, PowerRequest request) {
    // A mistake of ours: the kernel tells of PID 1's end on the console and boots again.
    if (exception) std::rethrow_exception(exception);
    how = request;
    context.stop();
  });
  context.run();
  EndGuest(how);
}

}  // namespace vck::guestos
