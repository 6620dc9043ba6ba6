#include "tether/sim.h"

#include <utility>
#include <vector>

#include "base/digest.h"
#include "base/log.h"
#include "tether/fake_prober.h"
#include "tether/fake_runtime.h"

namespace vck::tether {
namespace {

// vCenter names all VMs that are on right after it has connected.
constexpr absl::Duration kSyncTime = absl::Seconds(15);
constexpr size_t kBootIdBytes = 8;

std::string Address(const guestapi::BootConfig& config) { return config.address.substr(0, config.address.find('/')); }

// The scratch disk's, as far as it matters here.
class MemoryJournal : public JournalStore {
 public:
  explicit MemoryJournal(std::string text) : text_(std::move(text)) {}
  [[nodiscard]] const std::string& text() const { return text_; }
  StatusOr<std::string> Load() override {
    if (text_.empty()) return absl::NotFoundError("no journal");
    return text_;
  }
  Task<Status> Store(std::string text) override {
    text_ = std::move(text);
    co_return absl::OkStatus();
  }

 private:
  std::string text_;
};

}  // namespace

struct Sim::Guest {
  explicit Guest(std::string old_journal) : journal(std::move(old_journal)) {}
  std::string vm;
  std::map<std::string, std::string> guestinfo;
  guestapi::BootConfig config;
  MemoryJournal journal;
  std::unique_ptr<Tether> tether;  // null before it has booted, and when there is nothing to serve
  Clock::Timer boot;
  bool up = false;            // its tether listens
  bool switched_off = false;  // from outside
  bool mentioned = true;      // by vCenter, since it last connected
};

Sim::Sim(Executor executor, Clock& clock, SimOptions options)
    : executor_(executor), clock_(clock), options_(options), tasks_(executor) {}
Sim::~Sim() = default;

void Sim::Connected(std::function<void(std::string)> send) { send_ = std::move(send); }

Task<> Sim::Close() {
  sweep_ = {};
  send_ = nullptr;
  while (!guests_.empty()) PowerOff(std::string(guests_.begin()->first));
  tasks_.Cancel();
  (void)co_await tasks_.Join();
}

Status Sim::Handle(std::string_view line) {
  ASSIGN_OR_RETURN(auto document, json::Document::Parse(line));
  std::string_view op = json::String(document.root(), "op");
  if (op == "sync") {
    Sync();
    return absl::OkStatus();
  }
  std::string vm(json::String(document.root(), "vm"));
  if (op.empty() || vm.empty()) return absl::InvalidArgumentError("a line needs \"op\" and \"vm\"");
  if (op == "power_on") {
    std::map<std::string, std::string> guestinfo;
    for (const auto& member : json::Members(document.root(), "guestinfo")) {
      guestinfo.emplace(member.key(), json::AsString(member.value()));
    }
    PowerOn(vm, std::move(guestinfo));
  } else if (op == "power_off") {
    PowerOff(vm);
  } else if (op == "shutdown") {
    Shutdown(vm);
  } else if (op == "reset") {
    Reset(vm);
  } else if (op == "hardware") {
    // Nothing in a simulated guest looks at its disks.
  } else {
    return absl::InvalidArgumentError(absl::StrCat("unknown op \"", op, "\""));
  }
  return absl::OkStatus();
}

void Sim::Sync() {
  for (const auto& [vm, guest] : guests_) {
    guest->mentioned = false;
    if (guest->up) Announce(*guest);
  }
  for (const std::string& vm : off_) Send({{"op", "powered_off"}, {"vm", vm}});
  sweep_ = clock_.Schedule(clock_.Now() + kSyncTime, [this] {
    std::vector<std::string> gone;
    for (const auto& [vm, guest] : guests_) {
      if (!guest->mentioned) gone.push_back(vm);
    }
    for (const std::string& vm : gone) PowerOff(vm);
  });
}

void Sim::PowerOn(const std::string& vm, std::map<std::string, std::string> guestinfo, std::string journal) {
  if (off_.contains(vm)) return;
  auto [it, added] = guests_.try_emplace(vm);
  if (!added) {
    it->second->mentioned = true;
    return;
  }
  GuestPtr guest = it->second = std::make_shared<Guest>(std::move(journal));
  guest->vm = vm;
  guest->guestinfo = std::move(guestinfo);
  if (options_.boot_delay <= absl::ZeroDuration()) return Boot(guest);
  guest->boot = clock_.Schedule(clock_.Now() + options_.boot_delay, [this, guest = guest.get()] {
    // A copy: the timer's own callback is about to go.
    if (auto booted = guests_.find(guest->vm); booted != guests_.end()) Boot(GuestPtr(booted->second));
  });
}

void Sim::Boot(const GuestPtr& guest) {
  auto config = guestapi::DecodeBootConfig(guest->guestinfo[std::string(guestapi::kConfigKey)], options_.port);
  // Nothing is asked for twice of it but at a reset.
  Status status = config.status();
  if (config.ok()) {
    guest->config = *std::move(config);
    Options options{.config = guest->config, .boot_id = RandomHex(kBootIdBytes)};
    options.runtime = [clock = &clock_](Runtime::Sink sink) {
      return std::make_unique<FakeRuntime>(*clock, std::move(sink));
    };
    options.prober = MakeFakeProber;
    options.journal = &guest->journal;
    options.streams = options_.streams;
    auto tether = Tether::Create(executor_, clock_, std::move(options));
    status = tether.status();
    if (tether.ok()) guest->tether = *std::move(tether);
  }
  if (!status.ok()) {
    Log(Severity::kWarning, "Guest has no usable configuration and serves nothing",
        {{"vm", guest->vm}, {"err", status}});
    return;
  }
  tasks_.Spawn(guest->vm, RunGuest(this, guest));
}

Task<> Sim::RunGuest(Sim* sim, GuestPtr guest) {
  Status status = co_await guest->tether->Run([sim, guest = guest.get()] {
    guest->up = true;
    sim->Announce(*guest);
  });
  if (!status.ok()) Log(Severity::kError, "Tether failed", {{"vm", guest->vm}, {"err", status}});
  if (!guest->switched_off) sim->GuestPoweredOff(guest);
}

void Sim::GuestPoweredOff(const GuestPtr& guest) {
  guests_.erase(guest->vm);
  off_.insert(guest->vm);
  Send({{"op", "powered_off"}, {"vm", guest->vm}});
}

void Sim::PowerOff(const std::string& vm) {
  off_.erase(vm);
  auto it = guests_.find(vm);
  if (it == guests_.end()) return;
  GuestPtr guest = std::move(it->second);
  guests_.erase(it);
  guest->switched_off = true;
  guest->boot = {};
  if (guest->tether != nullptr) guest->tether->PowerOff();
}

void Sim::Shutdown(const std::string& vm) {
  auto it = guests_.find(vm);
  if (it == guests_.end()) return;
  if (it->second->tether != nullptr) return it->second->tether->Shutdown();
  GuestPtr guest = it->second;
  guest->boot = {};
  GuestPoweredOff(guest);
}

void Sim::Reset(const std::string& vm) {
  auto it = guests_.find(vm);
  if (it == guests_.end()) return;
  std::map<std::string, std::string> guestinfo = it->second->guestinfo;
  std::string journal = it->second->journal.text();
  PowerOff(vm);
  PowerOn(vm, std::move(guestinfo), std::move(journal));
}

void Sim::Announce(const Guest& guest) {
  json::Object guestinfo;
  guestinfo[guestapi::kGuestKey] = guestapi::Encode(guest.tether->announcement());
  Send({{"op", "set"}, {"vm", guest.vm}, {"guestinfo", std::move(guestinfo)}});
  Send({{"op", "net"},
        {"vm", guest.vm},
        {"ip", json::Array{Address(guest.config)}},
        {"hostname", guest.config.host_name}});
}

void Sim::Send(json::Object message) {
  if (send_) send_(json::Serialize(std::move(message)) + "\n");
}

}  // namespace vck::tether
