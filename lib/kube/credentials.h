// The credentials of requests, kept fresh: token files, certificate files, exec plugins.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include <boost/asio/thread_pool.hpp>

#include "async/clock.h"
#include "async/task.h"
#include "http/message.h"
#include "kube/kubeconfig.h"

namespace vck::kube {

struct Credentials {
  http::Headers headers;  // Authorization, Impersonate-*
  // Changes when a client certificate other than before is to be used; 0 is RestConfig::tls as it was loaded.
  int64_t certificate_generation = 0;
  std::string client_cert_pem, client_key_pem;  // where certificate_generation > 0
};

class CredentialSource {
 public:
  virtual ~CredentialSource() = default;
  // What the next request has to carry. Files are looked at again after a minute, plugins run again when what they
  // gave expires; one run at a time, however many ask. Unauthenticated when a plugin fails and nothing valid is left
  // (with its stderr and the install hint). A file that cannot be read any more leaves the last value in use.
  virtual Task<StatusOr<std::shared_ptr<const Credentials>>> Get() = 0;
  // The server answered 401 to `used`: ask again. Nothing happens if that was replaced meanwhile.
  virtual void Invalidate(const std::shared_ptr<const Credentials>& used) = 0;
  // Files have changed: the next Get() looks at them.
  virtual void Refresh() = 0;

  // `pool` runs file reads and plugins. Clock and pool must outlive the source.
  static std::shared_ptr<CredentialSource> Create(Clock& clock, asio::thread_pool& pool, RestConfig config,
                                                  System system = System::Real());
};

// ---- exec plugins ----
struct ExecResult {
  std::string token;
  std::string client_cert_pem, client_key_pem;
  std::optional<absl::Time> expiry;
};
// The value of KUBERNETES_EXEC_INFO.
std::string ExecInfo(const ExecConfig& config);
// Checks and reads what a plugin printed.
StatusOr<ExecResult> ParseExecCredential(const ExecConfig& config, std::string_view output);
// Runs the plugin to its end or the deadline; blocking. Its standard input is /dev/null.
StatusOr<ExecResult> RunExecPlugin(const ExecConfig& config, absl::Duration timeout);

}  // namespace vck::kube
