#include "node/images.h"

#include <cstdlib>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/log.h"
#include "http/tls.h"
#include "kube/proxy_env.h"
#include "kube/yaml_field.h"
#include "node/host.h"

namespace vck::node {
namespace {

// Hosts take uploads themselves, with a certificate that the lease names by its thumbprint.
vsphere::ClientFactory HostClients(Executor executor, Clock& clock) {
  return [executor, &clock](http::Url origin, std::string thumbprint) -> StatusOr<std::shared_ptr<http::Client>> {
    ASSIGN_OR_RETURN(auto tls, http::TlsContext::Client({.thumbprint = std::move(thumbprint)}));
    return http::Client::Create(executor, clock, {.origin = std::move(origin), .tls = std::move(tls), .http2 = false});
  };
}

std::string ProxyOf(const http::Url& origin) {
  return kube::ProxyFromEnvironment(origin, [](const std::string& name) -> std::optional<std::string> {
    const char* value = std::getenv(name.c_str());
    if (value == nullptr) return std::nullopt;
    return value;
  });
}

}  // namespace

StatusOr<oci::RegistryConfig> ReadRegistries(const std::string& file) {
  if (file.empty()) return oci::RegistryConfig();
  ASSIGN_OR_RETURN(std::string json, ReadFile(file));
  if (!absl::StripLeadingAsciiWhitespace(json).starts_with('{')) {
    ASSIGN_OR_RETURN(kube::YamlField yaml, kube::ParseYaml(json, file));
    ASSIGN_OR_RETURN(json, kube::YamlToJson(yaml));
  }
  auto config = oci::ParseRegistryConfig(json);
  if (!config.ok()) return Annotate(config.status(), file);
  return config;
}

Images::Images(Deps deps, image::ImageServiceOptions options, oci::RegistryConfig registries)
    : deps_(std::move(deps)),
      registry_(deps_.executor, deps_.clock, deps_.pool, {.config = std::move(registries), .proxy = ProxyOf}),
      store_(deps_.clock, deps_.calls, deps_.placement, deps_.vch_id, HostClients(deps_.executor, deps_.clock)),
      service_(deps_.executor, deps_.clock, deps_.registry, registry_, store_,
               {.changed = deps_.changed,
                .event = deps_.event,
                .node_event = deps_.node_event,
                .in_use = [this] { return InUse(); }},
               std::move(options)),
      pods_({.want = [this](const image::ImageRequest& request) { return service_.Want(request); },
             .release_container = [this](const std::string& uid,
                                         const std::string& container) { service_.Release(uid, container); },
             .release = [this](const std::string& uid) { service_.Release(uid); },
             .keys = [this](const kubeapi::PodView& pod) { return KeysOf(pod); },
             .warn =
                 [this](const std::string& uid, const std::string& reason, const std::string& message) {
                   deps_.event(uid, "", {.warning = true, .reason = reason, .message = message});
                 }}) {}

Task<Status> Images::Run() {
  bool cancelled = false;
  Status status;
  try {
    status = co_await service_.Run();
  } catch (const boost::system::system_error& e) {
    if (!IsCancelled(e)) throw;
    cancelled = true;
  }
  co_await asio::this_coro::reset_cancellation_state(asio::disable_cancellation());
  co_await registry_.Close();
  co_await asio::this_coro::reset_cancellation_state(asio::enable_terminal_cancellation());
  if (cancelled) ThrowCancelled();
  co_return status;
}

std::optional<std::vector<NodeImage>> Images::List() const {
  if (!service_.synced()) return std::nullopt;
  std::vector<NodeImage> out;
  for (auto& image : service_.List()) out.push_back({.names = std::move(image.names), .bytes = image.size_bytes});
  return out;
}

PullKeys Images::KeysOf(const kubeapi::PodView& pod) {
  const PullSecrets secrets = deps_.pull_secrets(pod);
  PullKeys keys{.known = secrets.known, .missing = absl::StrJoin(secrets.missing, ", ")};
  if (secrets.found.empty()) return keys;
  auto keyring = std::make_shared<oci::Keyring>();
  for (const PullSecret& secret : secrets.found) {
    Status added = keyring->AddSecret(secret.type, secret.data);
    if (!added.ok()) {
      LogV(1, "A pull secret is of no use",
           {{"pod", absl::StrCat(pod.ns(), "/", pod.name())}, {"secret", secret.name}, {"err", added}});
    }
  }
  keys.keyring = std::move(keyring);
  return keys;
}

std::optional<absl::flat_hash_set<std::string>> Images::InUse() const {
  if (!deps_.calls.inventory().fresh()) return std::nullopt;
  absl::flat_hash_set<std::string> ids;
  for (const std::string& uid : deps_.vms.PodUids()) {
    for (const auto& vm : deps_.vms.Find(uid)) {
      const vch::PodKey* key = deps_.vms.KeyOf(vm->vm.value);
      if (key == nullptr) continue;
      auto images = vch::ParseImages(key->images);
      if (!images.ok()) return std::nullopt;  // what can't be read may be anything
      for (vch::PodImage& image : *images) ids.insert(std::move(image.id));
    }
  }
  return ids;
}

}  // namespace vck::node
