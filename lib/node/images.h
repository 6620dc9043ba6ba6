// Images: the registry client, the store in vCenter and the service between them, as one part of the kubelet.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <boost/asio/thread_pool.hpp>

#include "image/image_service.h"
#include "metrics/metrics.h"
#include "node/image_store.h"
#include "node/node_object.h"
#include "node/pod_images.h"
#include "node/references.h"
#include "node/vm_index.h"
#include "oci/registry_client.h"
#include "vsphere/calls.h"

namespace vck::node {

// What --registries names; the default for "". InvalidArgument and NotFound name the file.
StatusOr<oci::RegistryConfig> ReadRegistries(const std::string& file);

class Images {
 public:
  struct Deps {
    Executor executor;
    Clock& clock;
    asio::thread_pool& pool;
    metrics::Registry& registry;
    vsphere::Calls& calls;
    const Placement& placement;
    VmIndex& vms;
    std::string vch_id;
    std::function<PullSecrets(const kubeapi::PodView&)> pull_secrets;
    std::function<void(const std::string& pod_uid)> changed;
    std::function<void(const std::string& pod_uid, const std::string& container, const image::ImageEvent&)> event;
    std::function<void(const image::ImageEvent&)> node_event;
  };
  // The work directory is emptied.
  Images(Deps deps, image::ImageServiceOptions options, oci::RegistryConfig registries);

  [[nodiscard]] PodImages& pods() { return pods_; }
  // For the Node's status; nullopt before the store has been read.
  [[nodiscard]] std::optional<std::vector<NodeImage>> List() const;
  [[nodiscard]] image::ImageService& service() { return service_; }
  Task<Status> Run();

 private:
  PullKeys KeysOf(const kubeapi::PodView& pod);
  std::optional<absl::flat_hash_set<std::string>> InUse() const;

  Deps deps_;
  oci::RegistryClient registry_;
  VSphereImageStore store_;
  image::ImageService service_;
  PodImages pods_;
};

}  // namespace vck::node
