#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "kube/kubeconfig.h"

// Every text is a configuration or an error with words; no file but the text itself is read.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size > 64 * 1024) return 0;
  std::string text(reinterpret_cast<const char*>(data), size);
  vck::kube::System system{.read_file = [&](const std::string& path) -> vck::StatusOr<std::string> {
                             if (path == "/k/config") return text;
                             if (path == "/k/pem") return std::string("-----BEGIN CERTIFICATE-----\n");
                             return absl::NotFoundError("no such file");
                           },
                           .getenv = [](const std::string&) -> std::optional<std::string> { return std::nullopt; }};
  auto config = vck::kube::LoadKubeconfig({.path = "/k/config"}, system);
  if (config.ok() ? config->server.host.empty() : config.status().message().empty()) std::abort();
  return 0;
}
