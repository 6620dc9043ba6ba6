#include "guestos/hypervisor.h"

#include "async/wait.h"
#include "base/log.h"
#include "guestos/hypervisor_qemu.h"
#include "guestos/hypervisor_vmware.h"

namespace vck::guestos {
namespace {

// A machine that gives and takes nothing.
class NoHypervisor : public Hypervisor {
 public:
  [[nodiscard]] std::string_view name() const override { return "unknown"; }
  StatusOr<std::string> Get(std::string_view key) override {
    return absl::NotFoundError(absl::StrCat(key, ": this machine is neither VMware's nor QEMU's"));
  }
  void Set(std::string, std::string) override {}
  void ReportNet(GuestNet) override {}
  Task<Status> Run(std::function<void(PowerRequest)>) override { co_return absl::OkStatus(); }
};

}  // namespace

std::unique_ptr<Hypervisor> Hypervisor::Detect(Executor executor, Clock& clock) {
  if (IsVmware()) return MakeVmwareHypervisor(executor, clock, MakeBackdoor());
  if (IsQemu()) return MakeQemuHypervisor(executor, clock);
  return std::make_unique<NoHypervisor>();
}

}  // namespace vck::guestos
