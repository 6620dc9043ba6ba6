// Links and guests on loopback, in real time: for what needs sockets.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "async/clock.h"
#include "async/task_group.h"
#include "gtest/gtest.h"
#include "guestlink/links.h"
#include "http/tls.h"
#include "metrics/metrics.h"
#include "tether/sim.h"

namespace vck::guestlink {

// An address of this process's own in 127.0.0.0/8.
inline std::string TestAddress(int n) {
  int pid = static_cast<int>(::getpid());
  return absl::StrCat("127.", 64 + pid / 256 % 128, ".", pid % 256, ".", n);
}
inline std::string NewKey() { return *http::GenerateKeyPem(); }

class Net {
 public:
  Net() : clock_(context_.get_executor()), group_(context_.get_executor()) {}
  ~Net() { Close(); }

  Executor executor() { return context_.get_executor(); }
  RealClock& clock() { return clock_; }
  void Spawn(Task<Status> task) { group_.Spawn("test", std::move(task)); }
  // False if `done` has not become true in time.
  bool Until(const std::function<bool()>& done, absl::Duration limit = absl::Seconds(20)) {
    Instant end = clock_.Now() + limit;
    context_.restart();
    while (!done()) {
      if (clock_.Now() > end) return false;
      context_.run_one_for(std::chrono::milliseconds(20));
      if (context_.stopped()) context_.restart();
    }
    return true;
  }
  // Lets time pass in which nothing is to happen.
  void Pass(absl::Duration d) {
    Instant end = clock_.Now() + d;
    (void)Until([&] { return clock_.Now() >= end; });
  }
  template <class T>
  T Run(Task<T> task) {
    std::optional<T> out;
    asio::co_spawn(context_, std::move(task), [&](std::exception_ptr e, T value) {
      if (e) std::rethrow_exception(e);
      out.emplace(std::move(value));
    });
    EXPECT_TRUE(Until([&] { return out.has_value(); }));
    return std::move(*out);
  }
  void Close() {
    group_.Cancel();
    bool done = false;
    asio::co_spawn(context_, group_.Join(), [&](std::exception_ptr, Status) { done = true; });
    EXPECT_TRUE(Until([&] { return done; }));
  }

 private:
  asio::io_context context_{1};
  RealClock clock_;
  TaskGroup group_;
};

// A simulated vCenter's view of simulated guests.
class Guests {
 public:
  explicit Guests(Net* net) : net_(net), sim_(net->executor(), net->clock(), {}) {
    sim_.Connected([this](std::string line) { On(line); });
  }
  ~Guests() {
    bool closed = false;
    asio::co_spawn(net_->executor(), sim_.Close(), [&](std::exception_ptr) { closed = true; });
    EXPECT_TRUE(net_->Until([&] { return closed; }));
  }

  // A guest for `uid` at TestAddress(n), trusting `links`; returns once it has announced itself.
  Endpoint PowerOn(int n, const std::string& uid, const Links& links) {
    guestapi::BootConfig config;
    config.pod_uid = uid;
    config.host_name = uid;
    config.address = TestAddress(n) + "/20";
    config.kubelet_key_hash = links.key_hash();
    config.kubelet_ca = links.ca_pem();
    std::string vm = absl::StrCat("vm-", n);
    json::Object guestinfo;
    guestinfo[guestapi::kConfigKey] = guestapi::Encode(config);
    Send({{"op", "power_on"}, {"vm", vm}, {"guestinfo", std::move(guestinfo)}});
    EXPECT_TRUE(net_->Until([&] { return announced_.contains(vm); }));
    return {.vm = vm, .address = TestAddress(n), .guest = announced_[vm]};
  }
  void Send(json::Object line) { EXPECT_TRUE(sim_.Handle(json::Serialize(std::move(line))).ok()); }
  guestapi::GuestAnnouncement announced(const std::string& vm) { return announced_[vm]; }
  bool off(const std::string& vm) const { return off_.contains(vm); }

 private:
  void On(const std::string& line) {
    auto message = *json::Parse(line);
    std::string vm(json::String(message, "vm"));
    if (json::String(message, "op") == "powered_off") off_.insert(vm);
    if (json::String(message, "op") == "set") {
      announced_[vm] =
          *guestapi::DecodeAnnouncement(json::String(json::Get(message, "guestinfo"), guestapi::kGuestKey));
    }
  }

  Net* net_;
  tether::Sim sim_;
  std::map<std::string, guestapi::GuestAnnouncement> announced_;
  std::set<std::string> off_;
};

// A kubelet: Links of one VCH key.
class Kubelet {
 public:
  Kubelet(Net* net, std::string key, absl::Duration connect_timeout = absl::Seconds(10)) : net_(net) {
    auto links = Links::Create(net->executor(), net->clock(), registry_,
                               {.key_pem = std::move(key), .connect_timeout = connect_timeout});
    EXPECT_TRUE(links.ok()) << links.status();
    links_ = *std::move(links);
    asio::co_spawn(net->executor(), links_->Run(),
                   asio::bind_cancellation_slot(stop_.slot(), [this](std::exception_ptr, Status) { done_ = true; }));
  }
  ~Kubelet() {
    asio::post(net_->executor(), [this] { stop_.emit(asio::cancellation_type::terminal); });
    EXPECT_TRUE(net_->Until([this] { return done_; }));
  }
  Links* operator->() { return links_.get(); }
  Links& operator*() { return *links_; }
  // Never null.
  LinkState State(const std::string& uid) {
    auto state = links_->states().Get(uid);
    return state != nullptr ? *state : LinkState{};
  }
  bool UntilConnected(const std::string& uid) {
    return net_->Until([&] { return State(uid).connected; });
  }
  std::string UntilError(const std::string& uid) {
    EXPECT_TRUE(net_->Until([&] { return !State(uid).error.empty(); }));
    return State(uid).error;
  }
  // The value of a series, as text.
  std::string Metric(const std::string& series) {
    std::string text = registry_.Text();
    size_t at = text.find(absl::StrCat("\n", series, " "));
    if (at == std::string::npos) return "";
    at += series.size() + 2;
    return text.substr(at, text.find('\n', at) - at);
  }

 private:
  Net* net_;
  metrics::Registry registry_;
  std::unique_ptr<Links> links_;
  asio::cancellation_signal stop_;
  bool done_ = false;
};

inline std::shared_ptr<guestapi::GuestSpec> SpecOf(const std::string& uid, const std::string& script,
                                                   int64_t revision = 1) {
  auto spec = std::make_shared<guestapi::GuestSpec>();
  spec->pod_uid = uid;
  spec->pod_name = uid;
  spec->pod_namespace = "default";
  spec->revision = revision;
  spec->generation = revision;
  guestapi::ContainerSpec container;
  container.name = "c";
  if (!script.empty()) container.command = {script};
  spec->containers = {container};
  return spec;
}

}  // namespace vck::guestlink
