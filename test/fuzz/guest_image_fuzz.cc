#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "guestos/container_user.h"
#include "guestos/image_config.h"
#include "guestos/oci_config.h"

// Three texts of an image, cut at zero bytes: its configuration, /etc/passwd, /etc/group. Whatever they say, either
// there is an error or a configuration for crun.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace vck::guestos;
  const std::string_view all(reinterpret_cast<const char*>(data), size);
  const size_t first = std::min(all.find('\0'), all.size());
  const std::string_view rest = all.substr(std::min(first + 1, all.size()));
  const size_t second = std::min(rest.find('\0'), rest.size());
  auto image = ParseImageConfig(all.substr(0, first));
  if (!image.ok()) return 0;
  (void)ParseSignal(image->stop_signal);
  auto user =
      ResolveUser({.image_user = image->user}, rest.substr(0, second), rest.substr(std::min(second + 1, rest.size())));
  if (!user.ok()) return 0;
  if (user->groups.empty() || user->groups[0] != user->gid) std::abort();
  vck::guestapi::GuestSpec pod{.containers = {{.name = "main"}}};
  auto config = MakeOciConfig({.pod = &pod,
                               .container = &pod.containers[0],
                               .image = &*image,
                               .user = *user,
                               .rootfs = "/",
                               .capabilities = CapabilityNames(~uint64_t{0})});
  if (config.ok() && config->at("process").at("args").as_array().empty()) std::abort();
  return 0;
}
