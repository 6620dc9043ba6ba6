// kubeconfig files as kubectl reads them, and the service account of a pod.
//
// Errors name the file, the field and what was expected:
//   /etc/kube/config: users[0].user.client-key-data: expected base64, got "%%%"
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "http/message.h"
#include "http/tls.h"

namespace vck::kube {

// What is read of the system; tests give their own.
struct System {
  // NotFound when there is no such file.
  std::function<StatusOr<std::string>(const std::string& path)> read_file;
  std::function<std::optional<std::string>(const std::string& name)> getenv;
  static System Real();
};

// users[].user.exec (client.authentication.k8s.io)
struct ExecConfig {
  std::string api_version;  // client.authentication.k8s.io/v1 or /v1beta1
  std::string command;      // made absolute if it was relative to the kubeconfig's folder
  std::vector<std::string> args;
  std::vector<std::pair<std::string, std::string>> env;
  std::string install_hint;
  bool provide_cluster_info = false;
  std::string interactive_mode;  // Never, IfAvailable, Always
  // For provideClusterInfo: the cluster as JSON (ExecCredential.spec.cluster).
  std::string cluster_json;
};

struct Identity {
  std::string token;
  std::string token_file;  // wins over `token` whenever it can be read; re-read at least once a minute
  std::string username, password;
  std::string client_cert_file, client_key_file;  // re-read; empty when they came as data
  std::optional<ExecConfig> exec;
  // Impersonation: as, as-uid, as-groups, as-user-extra.
  std::string as, as_uid;
  std::vector<std::string> as_groups;
  std::vector<std::pair<std::string, std::string>> as_user_extra;
};

// What is needed to reach one API server as one user.
struct RestConfig {
  http::Url server;       // path: prefix of all paths
  http::TlsOptions tls;   // files are read in; client certificate as of now
  std::string proxy_url;  // "" means that $HTTPS_PROXY and $NO_PROXY have been looked at, too
  Identity identity;
  std::string ns;       // of the context; "default" if it names none
  std::string context;  // "" in a cluster
};

struct KubeconfigOptions {
  std::string path;        // --kubeconfig: only this file, which must exist
  std::string context;     // --context; "" is current-context
  bool in_cluster = true;  // where there is no kubeconfig at all, use the service account of the pod we run in
};

// Without a path: the files of $KUBECONFIG (separated by ':', missing ones skipped), else ~/.kube/config, else the
// service account. Files are merged as kubectl does: the first one that sets a value or names an entry wins; relative
// paths are relative to the file that has them. NotFound when there is nothing to read; InvalidArgument otherwise.
StatusOr<RestConfig> LoadKubeconfig(const KubeconfigOptions& options, const System& system = System::Real());

// The service account mounted under /var/run/secrets/kubernetes.io/serviceaccount, server from KUBERNETES_SERVICE_*.
StatusOr<RestConfig> InClusterConfig(const System& system = System::Real());

}  // namespace vck::kube
