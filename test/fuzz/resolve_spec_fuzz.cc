#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <set>
#include <string>
#include <string_view>

#include "podvm/resolve_spec.h"
#include "podvm/unsupported.h"

// Any JSON can be a pod, and what the kubelet makes of it is what a guest takes.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace vck::podvm;
  auto document = vck::json::Document::Parse(std::string_view(reinterpret_cast<const char*>(data), size));
  if (!document.ok()) return 0;
  vck::kubeapi::PodView pod(document->root());
  const std::map<std::string, std::string> content = {{"k", "v"}, {"a/b", "c"}, {"..", "up"}};
  const ServiceEnv services = {{"A_SERVICE_HOST", "1.2.3.4"}};
  ResolveInputs in;
  in.pod = &pod;
  in.revision = 1;
  in.pod_ip = "10.0.0.1";
  in.host_ip = "10.0.0.2";
  in.node_name = "n";
  in.lookup = [&](const ObjectRef& ref) -> LookupResult {
    if (ref.name.starts_with('m')) return {.state = LookupResult::State::kMissing};
    if (ref.name.starts_with('u')) return {};
    return {.state = LookupResult::State::kFound, .data = &content, .binary = &content};
  };
  in.token = [](const TokenRef&) { return TokenResult{.state = TokenResult::State::kReady, .token = "t"}; };
  in.service_env = &services;
  in.dns = {.cluster_dns = {"10.96.0.10"}, .cluster_domain = "cluster.local", .host = ParseResolvConf(pod.name())};
  const ResolveResult result = ResolveSpec(in);
  ReferencedObjects(pod);
  ReferencedTokens(pod);
  PullSecretNames(pod);
  std::vector<std::string> problems;
  FindUnsupported(pod, &problems);
  if (!result.spec) return 0;
  // Names are the API server's to check.
  std::set<std::string> names;
  bool named = !result.spec->pod_uid.empty();
  for (const auto& container : result.spec->containers) {
    named &= !container.name.empty() && names.insert(container.name).second;
  }
  for (const auto& volume : result.spec->volumes) {
    named &= volume.name.find('/') == std::string::npos && !volume.name.empty() && volume.name != "." &&
             volume.name != ".." && volume.name.find('\0') == std::string::npos;
  }
  if (!named) return 0;
  auto back = vck::guestapi::DecodeSpec(vck::guestapi::Encode(*result.spec));
  if (!back.ok() || *back != *result.spec) std::abort();
  return 0;
}
