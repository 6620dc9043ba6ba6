#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "guestapi/state.h"
#include "podvm/world.h"

// First line: a guest's state; second: the pod. Whatever the guest says, the patch is JSON, and once it is written
// there is nothing more to say; a terminal phase stays.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace vck;
  std::string_view text(reinterpret_cast<const char*>(data), size);
  const size_t line = text.find('\n');
  if (line == std::string_view::npos) return 0;
  auto state = guestapi::DecodeState(text.substr(0, line));
  auto pod = json::Parse(text.substr(line + 1));
  if (!state.ok() || !pod.ok() || !pod->is_object()) return 0;
  podvm::World w;
  json::Value* spec = pod->as_object().if_contains("spec");
  if (spec != nullptr && spec->is_object()) w.pod.as_object()["spec"] = *spec;
  // Names are unique in what the API server accepts.
  std::vector<std::string_view> names;
  bool unique = true;
  kubeapi::PodView(w.pod).ForEachContainer([&](const kubeapi::ContainerView& c) {
    for (std::string_view name : names) unique &= name != c.name();
    names.push_back(c.name());
  });
  if (!unique) return 0;
  w.guest = *state;
  w.known = w.connected = true;
  w.VmOn();
  for (int round = 0; round < 4; ++round) {
    const bool terminal = kubeapi::IsTerminal(kubeapi::ParsePhase(w.phase()));
    const std::string before(w.phase());
    w.Write();
    if (terminal && w.phase() != before) std::abort();
    if (!w.Compute().patch.empty()) std::abort();
    if (round == 0) w.ForgetAll();
    if (round == 1) w.VmOff();
    if (round == 2) w.Delete();
  }
  return 0;
}
