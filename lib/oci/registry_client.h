// Client of OCI registries (distribution-spec 1.1, Docker Registry HTTP API V2): resolves references and fetches blobs,
// through mirrors, with token or basic authentication.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <boost/asio/thread_pool.hpp>

#include "async/clock.h"
#include "async/task.h"
#include "base/status.h"
#include "http/client.h"
#include "oci/keyring.h"
#include "oci/manifest.h"
#include "oci/reference.h"
#include "oci/registry_config.h"

namespace vck::oci {

struct RegistryOptions {
  RegistryConfig config;
  std::string user_agent = "vch-kubelet/" VCK_VERSION;
  absl::Duration call_timeout = absl::Seconds(60);  // of a request without a large body
  absl::Duration idle_timeout = absl::Seconds(60);  // of a blob: no byte in that time breaks the connection
  int blob_attempts = 5;                            // in a row without any progress
  // The proxy for an origin ("" for none): what $HTTPS_PROXY and its like say.
  std::function<std::string(const http::Url&)> proxy;
};

// Makes the HTTP client of an origin; tests put theirs in.
using HttpFactory = std::function<StatusOr<std::shared_ptr<http::Client>>(http::ClientOptions options)>;

// An image as a registry describes it.
struct RemoteImage {
  std::string digest;           // what the reference led to: a manifest's, or an index's
  std::string manifest_digest;  // of linux/amd64
  Manifest manifest;
  std::string config;  // the configuration's JSON, as it is
  ImageConfig image_config;
  [[nodiscard]] int64_t layer_bytes() const;
};

// Errors: NotFound (unknown name), PermissionDenied (refused with what credentials there are), InvalidArgument and
// DataLoss (what came is wrong), Unavailable, ResourceExhausted (429, or too large), with messages that containerd's
// users know. No secret is in them.
class RegistryClient {
 public:
  RegistryClient(Executor executor, Clock& clock, asio::thread_pool& pool, RegistryOptions options,
                 HttpFactory factory = {});
  RegistryClient(const RegistryClient&) = delete;
  RegistryClient& operator=(const RegistryClient&) = delete;
  ~RegistryClient();

  // The digest that a tag has now. Cheap: no manifest is sent, and registries do not count it as a pull.
  Task<StatusOr<std::string>> Digest(Reference reference, std::shared_ptr<const Keyring> keyring);
  // Manifest and configuration for linux/amd64, verified.
  Task<StatusOr<RemoteImage>> Resolve(Reference reference, std::shared_ptr<const Keyring> keyring);
  // Into a new file (its folder must exist), verified by size and digest; continued where a connection broke. The file
  // is gone after an error. `progress` gets the number of bytes that came.
  Task<Status> FetchBlob(Reference reference, Descriptor blob, std::shared_ptr<const Keyring> keyring, std::string path,
                         std::function<void(size_t)> progress = {});

  // Closes all connections. Must be awaited before the loop ends.
  Task<> Close();

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace vck::oci
