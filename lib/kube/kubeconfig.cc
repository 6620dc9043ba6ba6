#include "kube/kubeconfig.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "json/json.h"
#include "kube/proxy_env.h"
#include "kube/yaml_field.h"

namespace vck::kube {
namespace {

constexpr char kServiceAccountDir[] = "/var/run/secrets/kubernetes.io/serviceaccount";

StatusOr<std::string> ReadFile(const std::string& path) {
  std::error_code ec;
  if (std::filesystem::is_directory(path, ec)) {
    return absl::FailedPreconditionError("expected a file, it is a directory");
  }
  errno = 0;
  std::ifstream in(path, std::ios::binary);
  if (!in) {
    int error = errno;
    return Status(error == ENOENT ? absl::StatusCode::kNotFound : absl::StatusCode::kFailedPrecondition,
                  std::strerror(error));
  }
  std::ostringstream text;
  text << in.rdbuf();
  return std::move(text).str();
}

// One named entry: its body, e.g. clusters[1].cluster.
struct Named {
  std::string name;
  YamlField body;
};

// All files together. The first file that sets a value or names an entry wins; entries are not mixed.
struct Merged {
  std::vector<std::string> files;
  std::optional<YamlField> current_context;
  std::vector<Named> clusters, users, contexts;

  Status Add(std::string_view text, const std::string& file) {
    ASSIGN_OR_RETURN(YamlField root, ParseYaml(text, file));
    files.push_back(file);
    if (root.absent()) return absl::OkStatus();
    ASSIGN_OR_RETURN(YamlField kind, root.Member("kind"));
    ASSIGN_OR_RETURN(std::string kind_text, kind.Text());
    if (!kind.absent() && kind_text != "Config") return kind.Error(absl::StrCat("expected Config, got ", kind_text));
    ASSIGN_OR_RETURN(YamlField version, root.Member("apiVersion"));
    ASSIGN_OR_RETURN(std::string version_text, version.Text());
    if (!version.absent() && version_text != "v1")
      return version.Error(absl::StrCat("expected v1, got ", version_text));
    ASSIGN_OR_RETURN(YamlField current, root.Member("current-context"));
    ASSIGN_OR_RETURN(std::string current_text, current.Text());
    if (!current_context && !current_text.empty()) current_context = current;
    RETURN_IF_ERROR(AddList(root, "clusters", "cluster", &clusters));
    RETURN_IF_ERROR(AddList(root, "users", "user", &users));
    return AddList(root, "contexts", "context", &contexts);
  }

  static Status AddList(const YamlField& root, std::string_view list, std::string_view member,
                        std::vector<Named>* out) {
    ASSIGN_OR_RETURN(YamlField field, root.Member(list));
    ASSIGN_OR_RETURN(std::vector<YamlField> elements, field.Elements());
    std::set<std::string> here;
    for (const YamlField& element : elements) {
      ASSIGN_OR_RETURN(std::string name, element.Text("name"));
      if (!here.insert(name).second) return element.Error(absl::StrCat("a second entry with the name \"", name, "\""));
      ASSIGN_OR_RETURN(YamlField body, element.Member(member));
      if (!body.absent() && !body.node().IsMap()) return body.Error("expected a map");
      if (std::none_of(out->begin(), out->end(), [&](const Named& n) { return n.name == name; })) {
        out->push_back({name, std::move(body)});
      }
    }
    return absl::OkStatus();
  }

  static const Named* Find(const std::vector<Named>& list, std::string_view name) {
    auto it = std::find_if(list.begin(), list.end(), [&](const Named& n) { return n.name == name; });
    return it == list.end() ? nullptr : &*it;
  }
  static std::string Names(const std::vector<Named>& list) {
    if (list.empty()) return "there are none";
    return absl::StrCat("there are: ",
                        absl::StrJoin(list, ", ", [](std::string* out, const Named& n) { out->append(n.name); }));
  }
};

std::string Resolve(const YamlField& field, const std::string& path) {
  if (path.empty() || path.front() == '/') return path;
  return (std::filesystem::path(field.file()).parent_path() / path).lexically_normal().string();
}

bool LooksLikePem(std::string_view text) { return absl::StrContains(text, "-----BEGIN "); }

// PEM from `<key>-data` or from the file that `key` names; *path gets the file.
StatusOr<std::string> Pem(const YamlField& body, const std::string& key, const System& system, std::string* path) {
  ASSIGN_OR_RETURN(YamlField file, body.Member(key));
  ASSIGN_OR_RETURN(std::string name, file.Text());
  ASSIGN_OR_RETURN(YamlField data, body.Member(key + "-data"));
  ASSIGN_OR_RETURN(std::string pem, body.Base64(key + "-data"));
  if (!name.empty() && !pem.empty()) {
    return data.Error(absl::StrCat("expected only one of ", key, " and ", key, "-data, got both"));
  }
  if (!pem.empty()) {
    if (!LooksLikePem(pem)) return data.Error("expected PEM in base64, got something else in base64");
    return pem;
  }
  if (name.empty()) return std::string();
  *path = Resolve(body, name);
  auto text = system.read_file(*path);
  if (!text.ok())
    return file.Error(absl::StrCat("expected a readable file, got ", *path, ": ", text.status().message()));
  if (!LooksLikePem(*text)) return file.Error(absl::StrCat("expected a file with PEM, got ", *path));
  return *std::move(text);
}

Status ReadCluster(const YamlField& cluster, const System& system, RestConfig* config, std::string* server_text) {
  ASSIGN_OR_RETURN(YamlField server, cluster.Member("server"));
  ASSIGN_OR_RETURN(*server_text, server.Text());
  if (server_text->empty()) return server.Error("expected the server's URL, e.g. https://10.0.0.1:6443");
  ASSIGN_OR_RETURN(config->tls.insecure, cluster.Flag("insecure-skip-tls-verify"));
  ASSIGN_OR_RETURN(config->tls.server_name, cluster.Text("tls-server-name"));
  std::string ca_path;
  ASSIGN_OR_RETURN(config->tls.ca_pem, Pem(cluster, "certificate-authority", system, &ca_path));
  if (config->tls.insecure && !config->tls.ca_pem.empty()) {
    return cluster.Error("expected only one of insecure-skip-tls-verify and certificate-authority, got both");
  }
  ASSIGN_OR_RETURN(YamlField proxy, cluster.Member("proxy-url"));
  ASSIGN_OR_RETURN(config->proxy_url, proxy.Text());
  if (!config->proxy_url.empty()) {
    auto url = http::ParseUrl(config->proxy_url);
    if (!url.ok()) return proxy.Error(url.status().message());
    if (url->scheme != "http" && url->scheme != "https") return proxy.Error("expected http://… or https://…");
  }
  return absl::OkStatus();
}

StatusOr<std::string> ClusterInfo(const YamlField& cluster, const RestConfig& config, const std::string& server) {
  json::Object info;
  info["server"] = server;
  if (!config.tls.server_name.empty()) info["tls-server-name"] = config.tls.server_name;
  if (config.tls.insecure) info["insecure-skip-tls-verify"] = true;
  if (!config.tls.ca_pem.empty()) info["certificate-authority-data"] = absl::Base64Escape(config.tls.ca_pem);
  if (!config.proxy_url.empty()) info["proxy-url"] = config.proxy_url;
  ASSIGN_OR_RETURN(YamlField list, cluster.Member("extensions"));
  ASSIGN_OR_RETURN(std::vector<YamlField> extensions, list.Elements());
  for (const YamlField& extension : extensions) {
    ASSIGN_OR_RETURN(std::string name, extension.Text("name"));
    if (name != "client.authentication.k8s.io/exec") continue;
    ASSIGN_OR_RETURN(YamlField body, extension.Member("extension"));
    ASSIGN_OR_RETURN(std::string text, YamlToJson(body));
    ASSIGN_OR_RETURN(json::Value value, json::Parse(text));
    info["config"] = std::move(value);
  }
  return json::Serialize(json::Value(std::move(info)));
}

Status ReadExec(const YamlField& exec, const YamlField& cluster, const std::string& server, RestConfig* config) {
  ExecConfig out;
  ASSIGN_OR_RETURN(YamlField version, exec.Member("apiVersion"));
  ASSIGN_OR_RETURN(out.api_version, version.Text());
  bool beta = out.api_version == "client.authentication.k8s.io/v1beta1";
  if (!beta && out.api_version != "client.authentication.k8s.io/v1") {
    return version.Error(
        absl::StrCat("expected client.authentication.k8s.io/v1 or client.authentication.k8s.io/v1beta1, got \"",
                     out.api_version, "\""));
  }
  ASSIGN_OR_RETURN(YamlField command, exec.Member("command"));
  ASSIGN_OR_RETURN(out.command, command.Text());
  if (out.command.empty()) return command.Error("expected the plugin's command");
  if (absl::StrContains(out.command, '/')) out.command = Resolve(exec, out.command);
  ASSIGN_OR_RETURN(out.args, exec.Texts("args"));
  ASSIGN_OR_RETURN(YamlField env, exec.Member("env"));
  ASSIGN_OR_RETURN(std::vector<YamlField> variables, env.Elements());
  for (const YamlField& variable : variables) {
    ASSIGN_OR_RETURN(std::string name, variable.Text("name"));
    ASSIGN_OR_RETURN(std::string value, variable.Text("value"));
    if (name.empty()) return variable.Error("expected a name");
    out.env.emplace_back(std::move(name), std::move(value));
  }
  ASSIGN_OR_RETURN(out.install_hint, exec.Text("installHint"));
  ASSIGN_OR_RETURN(out.provide_cluster_info, exec.Flag("provideClusterInfo"));
  ASSIGN_OR_RETURN(YamlField mode, exec.Member("interactiveMode"));
  ASSIGN_OR_RETURN(out.interactive_mode, mode.Text());
  if (out.interactive_mode.empty() && beta) out.interactive_mode = "IfAvailable";
  if (out.interactive_mode == "Always") {
    return mode.Error("expected Never or IfAvailable, got Always: nobody sits at a terminal here");
  }
  if (out.interactive_mode != "Never" && out.interactive_mode != "IfAvailable") {
    return mode.Error(absl::StrCat("expected Never, IfAvailable or Always, got \"", out.interactive_mode, "\""));
  }
  if (out.provide_cluster_info) {
    ASSIGN_OR_RETURN(out.cluster_json, ClusterInfo(cluster, *config, server));
  }
  config->identity.exec = std::move(out);
  return absl::OkStatus();
}

Status ReadImpersonation(const YamlField& user, Identity* out) {
  ASSIGN_OR_RETURN(out->as, user.Text("as"));
  ASSIGN_OR_RETURN(out->as_uid, user.Text("as-uid"));
  ASSIGN_OR_RETURN(out->as_groups, user.Texts("as-groups"));
  ASSIGN_OR_RETURN(YamlField extra, user.Member("as-user-extra"));
  if (!extra.absent()) {
    if (!extra.node().IsMap()) return extra.Error("expected a map of lists");
    for (const auto& member : extra.node()) {
      if (!member.first.IsScalar()) return extra.Error("expected names as keys");
      const std::string& key = member.first.Scalar();
      ASSIGN_OR_RETURN(std::vector<std::string> values, extra.Texts(key));
      for (std::string& value : values) out->as_user_extra.emplace_back(key, std::move(value));
    }
  }
  if (out->as.empty() && (!out->as_uid.empty() || !out->as_groups.empty() || !out->as_user_extra.empty())) {
    return user.Error("expected `as` beside as-uid, as-groups and as-user-extra");
  }
  return absl::OkStatus();
}

Status ReadUser(const YamlField& user, const YamlField& cluster, const std::string& server, const System& system,
                RestConfig* config) {
  Identity& out = config->identity;
  ASSIGN_OR_RETURN(YamlField provider, user.Member("auth-provider"));
  if (!provider.absent()) return provider.Error("expected an exec plugin; auth providers are no longer supported");
  ASSIGN_OR_RETURN(config->tls.client_cert_pem, Pem(user, "client-certificate", system, &out.client_cert_file));
  ASSIGN_OR_RETURN(config->tls.client_key_pem, Pem(user, "client-key", system, &out.client_key_file));
  if (!config->tls.client_cert_pem.empty() && config->tls.client_key_pem.empty()) {
    return user.Error("expected client-key or client-key-data beside the client certificate");
  }
  if (config->tls.client_cert_pem.empty() && !config->tls.client_key_pem.empty()) {
    return user.Error("expected client-certificate or client-certificate-data beside the client key");
  }
  ASSIGN_OR_RETURN(out.token, user.Text("token"));
  ASSIGN_OR_RETURN(YamlField token_file, user.Member("tokenFile"));
  ASSIGN_OR_RETURN(std::string token_path, token_file.Text());
  if (!token_path.empty()) {
    out.token_file = Resolve(user, token_path);
    auto text = system.read_file(out.token_file);
    if (!text.ok()) {
      return token_file.Error(
          absl::StrCat("expected a readable file, got ", out.token_file, ": ", text.status().message()));
    }
    out.token = std::string(absl::StripAsciiWhitespace(*text));
    if (out.token.empty()) return token_file.Error(absl::StrCat("expected a token, ", out.token_file, " is empty"));
  }
  ASSIGN_OR_RETURN(out.username, user.Text("username"));
  ASSIGN_OR_RETURN(out.password, user.Text("password"));
  if (!out.token.empty() && (!out.username.empty() || !out.password.empty())) {
    return user.Error("expected only one of token and username/password, got both");
  }
  for (std::string_view text : {std::string_view(out.token), std::string_view(out.username)}) {
    if (text.find_first_of("\r\n") != std::string_view::npos) return user.Error("expected credentials on one line");
  }
  RETURN_IF_ERROR(ReadImpersonation(user, &out));
  ASSIGN_OR_RETURN(YamlField exec, user.Member("exec"));
  if (exec.absent()) return absl::OkStatus();
  if (!out.username.empty()) return exec.Error("expected only one of exec and username/password, got both");
  return ReadExec(exec, cluster, server, config);
}

Status ReadServer(const YamlField& cluster, std::string text, RestConfig* config) {
  // As kubectl: without a scheme, https if there is anything about TLS.
  if (!absl::StrContains(text, "://")) {
    bool tls = config->tls.insecure || !config->tls.ca_pem.empty() || !config->tls.client_cert_pem.empty();
    text = absl::StrCat(tls ? "https://" : "http://", text);
  }
  ASSIGN_OR_RETURN(YamlField server, cluster.Member("server"));
  auto url = http::ParseUrl(text);
  if (!url.ok()) return server.Error(url.status().message());
  if (url->scheme != "http" && url->scheme != "https") return server.Error("expected http://… or https://…");
  if (!url->query.empty()) return server.Error("expected a URL without a query");
  config->server = *std::move(url);
  return absl::OkStatus();
}

StatusOr<RestConfig> Select(const Merged& merged, const KubeconfigOptions& options, const System& system) {
  std::string files = absl::StrJoin(merged.files, ":");
  std::string name = options.context;
  if (name.empty()) {
    if (!merged.current_context) {
      return absl::InvalidArgumentError(absl::StrCat(
          files, ": current-context: expected the name of a context, it is not set; ", Merged::Names(merged.contexts)));
    }
    ASSIGN_OR_RETURN(name, merged.current_context->Text());
  }
  const Named* context = Merged::Find(merged.contexts, name);
  if (context == nullptr) {
    std::string problem =
        absl::StrCat("expected the name of a context, got \"", name, "\"; ", Merged::Names(merged.contexts));
    if (options.context.empty()) return merged.current_context->Error(problem);
    return absl::InvalidArgumentError(absl::StrCat(files, ": --context: ", problem));
  }
  RestConfig config;
  config.context = name;
  ASSIGN_OR_RETURN(config.ns, context->body.Text("namespace"));
  if (config.ns.empty()) config.ns = "default";
  ASSIGN_OR_RETURN(YamlField cluster_field, context->body.Member("cluster"));
  ASSIGN_OR_RETURN(std::string cluster_name, cluster_field.Text());
  const Named* cluster = Merged::Find(merged.clusters, cluster_name);
  if (cluster == nullptr) {
    return cluster_field.Error(
        absl::StrCat("expected the name of a cluster, got \"", cluster_name, "\"; ", Merged::Names(merged.clusters)));
  }
  std::string server;
  RETURN_IF_ERROR(ReadCluster(cluster->body, system, &config, &server));
  ASSIGN_OR_RETURN(YamlField user_field, context->body.Member("user"));
  ASSIGN_OR_RETURN(std::string user_name, user_field.Text());
  if (!user_name.empty()) {
    const Named* user = Merged::Find(merged.users, user_name);
    if (user == nullptr) {
      return user_field.Error(
          absl::StrCat("expected the name of a user, got \"", user_name, "\"; ", Merged::Names(merged.users)));
    }
    RETURN_IF_ERROR(ReadUser(user->body, cluster->body, server, system, &config));
  }
  RETURN_IF_ERROR(ReadServer(cluster->body, server, &config));
  if (config.proxy_url.empty()) config.proxy_url = ProxyFromEnvironment(config.server, system.getenv);
  return config;
}

}  // namespace

System System::Real() {
  return {.read_file = ReadFile, .getenv = [](const std::string& name) -> std::optional<std::string> {
            const char* value = std::getenv(name.c_str());
            return value == nullptr ? std::nullopt : std::optional<std::string>(value);
          }};
}

StatusOr<RestConfig> LoadKubeconfig(const KubeconfigOptions& options, const System& system) {
  std::vector<std::string> paths;
  bool required = !options.path.empty();
  std::string variable = system.getenv("KUBECONFIG").value_or("");
  if (required) {
    paths.push_back(options.path);
  } else if (!variable.empty()) {
    for (std::string_view path : absl::StrSplit(variable, ':', absl::SkipEmpty())) paths.emplace_back(path);
  } else if (auto home = system.getenv("HOME"); home && !home->empty()) {
    paths.push_back(*home + "/.kube/config");
  }
  Merged merged;
  for (const std::string& path : paths) {
    auto text = system.read_file(path);
    if (absl::IsNotFound(text.status()) && !required) continue;
    if (!text.ok()) return Status(text.status().code(), absl::StrCat(path, ": ", text.status().message()));
    try {
      RETURN_IF_ERROR(merged.Add(*text, path));
    } catch (const YAML::Exception& e) {
      return absl::InvalidArgumentError(absl::StrCat(path, ": ", e.what()));
    }
  }
  bool empty = merged.clusters.empty() && merged.contexts.empty() && merged.users.empty();
  if (empty && !required) {
    if (options.in_cluster && system.getenv("KUBERNETES_SERVICE_HOST")) return InClusterConfig(system);
    if (merged.files.empty()) {
      return absl::NotFoundError(paths.empty() ? "no kubeconfig: neither --kubeconfig nor $KUBECONFIG nor $HOME is set"
                                               : absl::StrCat("no kubeconfig: ", absl::StrJoin(paths, ":"),
                                                              " does not exist, and this is no pod"));
    }
  }
  try {
    return Select(merged, options, system);
  } catch (const YAML::Exception& e) {
    return absl::InvalidArgumentError(absl::StrCat(absl::StrJoin(merged.files, ":"), ": ", e.what()));
  }
}

StatusOr<RestConfig> InClusterConfig(const System& system) {
  std::string host = system.getenv("KUBERNETES_SERVICE_HOST").value_or("");
  std::string port = system.getenv("KUBERNETES_SERVICE_PORT").value_or("");
  if (host.empty() || port.empty()) {
    return absl::NotFoundError(
        "in-cluster: expected KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT; is this a pod?");
  }
  RestConfig config;
  auto url = http::ParseUrl(absl::StrContains(host, ':') ? absl::StrCat("https://[", host, "]:", port)
                                                         : absl::StrCat("https://", host, ":", port));
  if (!url.ok()) return Annotate(url.status(), "KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT");
  config.server = *std::move(url);
  config.identity.token_file = absl::StrCat(kServiceAccountDir, "/token");
  auto token = system.read_file(config.identity.token_file);
  if (!token.ok()) return Annotate(token.status(), config.identity.token_file);
  config.identity.token = std::string(absl::StripAsciiWhitespace(*token));
  if (config.identity.token.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(config.identity.token_file, ": expected a token, the file is empty"));
  }
  std::string ca_path = absl::StrCat(kServiceAccountDir, "/ca.crt");
  auto ca = system.read_file(ca_path);
  if (!ca.ok()) return Annotate(ca.status(), ca_path);
  if (!LooksLikePem(*ca)) return absl::InvalidArgumentError(absl::StrCat(ca_path, ": expected PEM"));
  config.tls.ca_pem = *std::move(ca);
  auto ns = system.read_file(absl::StrCat(kServiceAccountDir, "/namespace"));
  config.ns = ns.ok() ? std::string(absl::StripAsciiWhitespace(*ns)) : "default";
  return config;
}

}  // namespace vck::kube
