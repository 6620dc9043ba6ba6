#include "tether/fake_prober.h"

#include <utility>

namespace vck::tether {
namespace {

using guestapi::Handler;

class FakeProber : public Prober {
 public:
  explicit FakeProber(std::unique_ptr<Prober> real) : real_(std::move(real)) {}

  Task<HandlerResult> Probe(std::string run_id, Handler handler, absl::Duration timeout) override {
    if (handler.kind != Handler::Kind::kExec) co_return HandlerResult{};
    co_return co_await real_->Probe(std::move(run_id), std::move(handler), timeout);
  }
  Task<HandlerResult> Hook(std::string run_id, HookKind kind, Handler handler, absl::Duration timeout) override {
    if (handler.kind == Handler::Kind::kHttp) co_return HandlerResult{};
    co_return co_await real_->Hook(std::move(run_id), kind, std::move(handler), timeout);
  }

 private:
  std::unique_ptr<Prober> real_;
};

}  // namespace

std::unique_ptr<Prober> MakeFakeProber(Clock& clock, Runtime& runtime, std::string pod_ip) {
  return std::make_unique<FakeProber>(MakeProber(clock, runtime, std::move(pod_ip)));
}

}  // namespace vck::tether
