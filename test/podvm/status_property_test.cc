// Random lives of a pod: whatever happens to guest, VM, channel and kubelet, some things stay true of what the API is
// told.
#include <random>

#include <gtest/gtest.h>

#include "world.h"

namespace vck::podvm {
namespace {

constexpr std::string_view kSpecs[] = {
    R"({"restartPolicy":"Always","containers":[{"name":"c","image":"i"}]})",
    R"({"restartPolicy":"OnFailure","containers":[{"name":"c","image":"i"},{"name":"d","image":"i"}]})",
    R"({"restartPolicy":"Never","containers":[{"name":"c","image":"i"},{"name":"d","image":"i"}]})",
    R"({"restartPolicy":"Never","initContainers":[{"name":"i","image":"i"},{"name":"s","image":"i","restartPolicy":"Always"}],
        "containers":[{"name":"c","image":"i"}]})",
};

class Life {
 public:
  explicit Life(unsigned seed) : random_(seed), w_(kSpecs[seed % std::size(kSpecs)]) {
    kubeapi::PodView(w_.pod).ForEachContainer(
        [this](const kubeapi::ContainerView& c) { names_.emplace_back(c.name()); });
  }

  void Run() {
    for (int step = 0; step < 60; ++step) {
      Event();
      w_.now += absl::Milliseconds(Below(5000));
      WriteAndCheck();
    }
    End();
  }

 private:
  int Below(int n) { return static_cast<int>(random_() % static_cast<unsigned>(n)); }
  void Event() {
    const std::string& name = names_[static_cast<size_t>(Below(static_cast<int>(names_.size())))];
    const bool on = w_.has_vm && w_.record.power == vimtypes::PowerState::kOn;
    switch (Below(14)) {
      case 0:
        if (!w_.has_vm) w_.VmExists(vimtypes::PowerState::kOff);
        break;
      case 1:
      case 2:
        if (!on) {
          w_.Reboot(absl::StrCat("boot", ++boots_));
          w_.VmOn();
        }
        break;
      case 3:
      case 4:
      case 5:
        if (on) w_.Running(name, absl::StrCat("run", ++runs_), Below(2) == 0);
        break;
      case 6:
        if (on && w_.Container(name).phase == guestapi::ContainerState::Phase::kRunning) w_.Exited(name, Below(3));
        break;
      case 7:
        if (on) w_.Linked();
        break;
      case 8:
        w_.Unlink(absl::Seconds(Below(60)));
        break;
      case 9:
        if (on && Below(3) == 0) w_.VmOff();
        break;
      case 10:
        if (Below(5) == 0) w_.VmGone();
        break;
      case 11:
        w_.ForgetAll();
        break;
      case 12:
        if (on && Below(3) == 0) {
          w_.Reboot(absl::StrCat("boot", ++boots_));
          w_.Unlink();
        }
        break;
      case 13:
        w_.record.connection =
            Below(3) == 0 ? vimtypes::ConnectionState::kDisconnected : vimtypes::ConnectionState::kConnected;
        break;
      default:
        break;
    }
    w_.offset = absl::Milliseconds(Below(1000));
  }

  void WriteAndCheck() {
    const std::string before(w_.phase());
    std::map<std::string, int64_t> counts;
    for (const auto& name : names_) counts[name] = w_.Restarts(name);
    w_.Write();
    const kubeapi::PodView pod(w_.pod);
    ASSERT_FALSE(w_.phase().empty());
    if (before == "Succeeded" || before == "Failed") ASSERT_EQ(w_.phase(), before);
    if (before != w_.phase() && kubeapi::IsTerminal(pod.phase())) ASSERT_FALSE(pod.AnyRunning());
    if (w_.Ready() == "True") {
      ASSERT_FALSE(kubeapi::IsTerminal(pod.phase()));
      for (const json::Value& c : json::Items(w_.status(), "containerStatuses")) ASSERT_TRUE(json::Bool(c, "ready"));
    }
    for (const auto& name : names_) {
      ASSERT_GE(w_.Restarts(name), counts[name]) << name;
      const json::Value& c = w_.ContainerStatus(name);
      const json::Value* state = json::Get(c, "state");
      ASSERT_EQ(state->as_object().size(), 1);
      if (json::Get(state, "running") != nullptr) ASSERT_FALSE(json::String(c, "containerID").empty());
    }
    ASSERT_EQ(json::Items(w_.status(), "conditions").size(), 5);
    // Told once, it is known.
    ASSERT_EQ(w_.Compute().patch, "");
  }

  // Deleted with everything gone, it always comes to its end.
  void End() {
    w_.Delete();
    WriteAndCheck();
    w_.record.connection = vimtypes::ConnectionState::kConnected;
    w_.VmGone();
    WriteAndCheck();
    ASSERT_TRUE(ReadyToDelete(kubeapi::PodView(w_.pod), w_.Vm())) << json::Serialize(w_.pod);
  }

  std::mt19937 random_;
  World w_;
  std::vector<std::string> names_;
  int boots_ = 1, runs_ = 0;
};

TEST(StatusProperties, HoldInRandomLives) {
  for (unsigned seed = 0; seed < 80 && !testing::Test::HasFailure(); ++seed) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    Life(seed).Run();
  }
}

}  // namespace
}  // namespace vck::podvm
