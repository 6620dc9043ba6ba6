#include "oci/registry_client.h"

#include <algorithm>
#include <fstream>
#include <map>
#include <optional>
#include <sstream>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "async/backoff.h"
#include "async/timeout.h"
#include "base/digest.h"
#include "base/log.h"
#include "oci/authorizer.h"
#include "oci/blob_file.h"

namespace vck::oci {
namespace {

constexpr size_t kMaxManifest = size_t{4} << 20;  // distribution-spec: registries take at least as much
constexpr size_t kMaxConfig = size_t{8} << 20;
constexpr size_t kMaxErrorBody = size_t{64} << 10;
constexpr int kMaxRedirects = 5;
constexpr int kMaxIndexDepth = 3;
constexpr size_t kMaxClients = 32;

// Where names are looked for: a mirror, or the registry itself.
struct Endpoint {
  http::Url url;  // its path comes before /v2
  HostSettings settings;
  std::string mirror_of;  // "docker.io"; "": the registry itself
};

// A request to one endpoint, about one repository.
struct Ask {
  std::string method = "GET";
  std::string repository;
  std::string path;  // below the repository: "manifests/latest"
  http::Headers headers;
};

struct Answer {
  http::StreamingResponse response;
  std::string where;  // "https://host/v2/…", for messages
};

std::string OriginText(const http::Url& url) {
  bool standard = url.port == (url.scheme == "https" ? 443 : 80);
  return absl::StrCat(url.scheme, "://", standard ? url.host : url.HostPort());
}

StatusOr<std::string> ReadFile(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return absl::NotFoundError(absl::StrCat("cannot read ", path));
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

// Where a redirect leads (RFC 9110 §10.2.2): an absolute URL, or a path on the same host.
struct Target {
  http::Url origin;
  std::string path_and_query;
};
StatusOr<Target> Redirect(const Target& from, std::string_view location) {
  location = location.substr(0, location.find('#'));
  Target out{.origin = from.origin};
  std::string absolute;
  if (location.starts_with("//")) {
    absolute = absl::StrCat(from.origin.scheme, ":", location);
  } else if (absl::StrContains(location.substr(0, location.find('?')), "://")) {
    absolute = location;
  } else if (location.starts_with('/')) {
    out.path_and_query = location;
    return out;
  } else {
    std::string_view folder = std::string_view(from.path_and_query).substr(0, from.path_and_query.find('?'));
    out.path_and_query = absl::StrCat(folder.substr(0, folder.rfind('/') + 1), location);
    return out;
  }
  size_t authority = absolute.find("://") + 3;
  size_t rest = absolute.find_first_of("/?", authority);
  auto url = http::ParseUrl(absolute.substr(0, rest));
  if (!url.ok()) return absl::UnavailableError(absl::StrCat("redirect: ", url.status().message()));
  out.origin = *std::move(url);
  out.path_and_query = rest == std::string::npos ? "/" : absolute.substr(rest);
  if (out.path_and_query.front() == '?') out.path_and_query.insert(0, "/");
  return out;
}

bool SameOrigin(const http::Url& a, const http::Url& b) {
  return a.scheme == b.scheme && a.host == b.host && a.port == b.port;
}

// "bytes 100-199/200" begins at 100.
bool BeginsAt(std::string_view content_range, int64_t offset) {
  content_range = absl::StripAsciiWhitespace(content_range);
  if (!content_range.starts_with("bytes ")) return false;
  content_range.remove_prefix(6);
  int64_t start = -1;
  return absl::SimpleAtoi(content_range.substr(0, content_range.find('-')), &start) && start == offset;
}

// So many credentials are tried at most.
constexpr size_t kMaxCredentials = 16;

}  // namespace

int64_t RemoteImage::layer_bytes() const {
  int64_t sum = 0;
  for (const Layer& layer : manifest.layers) sum += layer.descriptor.size;
  return sum;
}

struct RegistryClient::Impl {
  Impl(Executor e, Clock& c, asio::thread_pool& p, RegistryOptions o, HttpFactory f)
      : executor(e),
        clock(c),
        pool(p),
        options(std::move(o)),
        factory(std::move(f)),
        authorizer(c, [this](http::Url url, HostSettings trust, http::Request request) {
          return SendWhole(std::move(url), std::move(trust), std::move(request));
        }) {
    if (!factory) {
      factory = [this](http::ClientOptions http) -> StatusOr<std::shared_ptr<http::Client>> {
        return http::Client::Create(executor, clock, std::move(http));
      };
    }
  }

  [[nodiscard]] StatusOr<std::vector<Endpoint>> EndpointsOf(const Reference& reference) const;
  Task<StatusOr<std::shared_ptr<http::Client>>> ClientOf(http::Url origin, HostSettings settings);
  Task<StatusOr<http::Response>> SendWhole(http::Url url, HostSettings trust, http::Request request);
  Task<StatusOr<http::StreamingResponse>> SendOnce(Target target, HostSettings trust, http::Request request);
  Task<StatusOr<Answer>> SendAs(Endpoint endpoint, Ask ask, Credential credential);
  Task<StatusOr<Answer>> Send(Endpoint endpoint, Ask ask, std::string name, std::shared_ptr<const Keyring> keyring);
  Task<StatusOr<std::string>> ReadBody(http::BodyReader& body, size_t limit);
  Task<Status> Refusal(Answer answer, std::string method, std::string name);
  std::vector<Credential> CredentialsFor(const Endpoint& endpoint, const std::string& name, const Keyring* keyring);

  struct Fetched {
    std::string media_type, body;
  };
  Task<StatusOr<Fetched>> Fetch(Reference reference, Ask ask, std::shared_ptr<const Keyring> keyring, size_t limit);
  Task<StatusOr<Fetched>> FetchManifest(Reference reference, std::string what, std::shared_ptr<const Keyring> keyring);
  Task<StatusOr<std::string>> Digest(Reference reference, std::shared_ptr<const Keyring> keyring);
  Task<StatusOr<RemoteImage>> Resolve(Reference reference, std::shared_ptr<const Keyring> keyring);
  Task<StatusOr<std::optional<RemoteImage>>> ForThisPlatform(Reference reference, Manifest manifest, std::string digest,
                                                             std::shared_ptr<const Keyring> keyring, int depth);
  Task<Status> FetchBlob(Reference reference, Descriptor blob, std::shared_ptr<const Keyring> keyring, std::string path,
                         std::function<void(size_t)> progress);
  Task<Status> FetchFrom(Endpoint endpoint, Reference reference, Descriptor blob,
                         std::shared_ptr<const Keyring> keyring, BlobFile& file, std::function<void(size_t)> progress);

  Executor executor;
  Clock& clock;
  asio::thread_pool& pool;
  RegistryOptions options;
  HttpFactory factory;
  Authorizer authorizer;
  struct Known {
    std::shared_ptr<http::Client> client;
    uint64_t used = 0;
  };
  std::map<std::string, Known> clients;  // by origin and settings
  uint64_t uses = 0;
  std::map<std::string, Credential> worked;  // what the endpoint took for a repository the last time
};

StatusOr<std::vector<Endpoint>> RegistryClient::Impl::EndpointsOf(const Reference& reference) const {
  std::vector<Endpoint> out;
  const RegistryEntry* entry = options.config.Find(reference.Name());
  if (entry != nullptr) {
    for (const Mirror& mirror : entry->mirrors) out.push_back({mirror.url, mirror.settings, reference.registry});
    if (entry->mirrors_only) return out;
  }
  Endpoint own;
  // What was said for the mirrors is not said for the registry.
  if (entry != nullptr && std::ranges::none_of(entry->mirrors, &Mirror::inherits)) own.settings = entry->settings;
  std::string host = reference.registry == "docker.io" ? "registry-1.docker.io" : reference.registry;
  ASSIGN_OR_RETURN(own.url, http::ParseUrl(absl::StrCat(own.settings.plain_http ? "http://" : "https://", host)));
  out.push_back(std::move(own));
  return out;
}

Task<StatusOr<std::shared_ptr<http::Client>>> RegistryClient::Impl::ClientOf(http::Url origin, HostSettings settings) {
  std::string key =
      absl::StrCat(origin.scheme, "://", origin.HostPort(), "\n", settings.insecure, "\n", settings.ca_file);
  auto it = clients.find(key);
  if (it == clients.end()) {
    http::ClientOptions http{.origin = origin};
    http.origin.path.clear();
    http.origin.query.clear();
    http.http2 = false;  // a connection for each layer, with a window of its own
    if (origin.scheme == "https") {
      http::TlsOptions tls{.insecure = settings.insecure};
      if (!settings.ca_file.empty()) {
        CO_ASSIGN_OR_RETURN(tls.ca_pem, ReadFile(settings.ca_file));
      }
      auto context = http::TlsContext::Client(std::move(tls));
      if (!context.ok()) co_return Annotate(context.status(), settings.ca_file);
      http.tls = *std::move(context);
    }
    if (options.proxy) http.dial.proxy_url = options.proxy(origin);
    if (clients.size() >= kMaxClients) {
      auto oldest = clients.end();
      for (auto c = clients.begin(); c != clients.end(); ++c) {
        if (c->second.client.use_count() == 1 && (oldest == clients.end() || c->second.used < oldest->second.used)) {
          oldest = c;
        }
      }
      if (oldest != clients.end()) {
        std::shared_ptr<http::Client> idle = std::move(oldest->second.client);
        clients.erase(oldest);
        co_await idle->Close();
      }
    }
    CO_ASSIGN_OR_RETURN(std::shared_ptr<http::Client> client, factory(std::move(http)));
    it = clients.emplace(key, Known{std::move(client)}).first;
  }
  it->second.used = ++uses;
  co_return it->second.client;
}

Task<StatusOr<http::Response>> RegistryClient::Impl::SendWhole(http::Url url, HostSettings trust,
                                                               http::Request request) {
  CO_ASSIGN_OR_RETURN(std::shared_ptr<http::Client> client, co_await ClientOf(std::move(url), std::move(trust)));
  request.headers.Set("User-Agent", options.user_agent);
  co_return co_await client->Do(std::move(request),
                                {.timeout = options.call_timeout, .max_body_bytes = size_t{1} << 20});
}

Task<StatusOr<http::StreamingResponse>> RegistryClient::Impl::SendOnce(Target target, HostSettings trust,
                                                                       http::Request request) {
  request.headers.Set("User-Agent", options.user_agent);
  for (int redirects = 0;; ++redirects) {
    CO_ASSIGN_OR_RETURN(std::shared_ptr<http::Client> client, co_await ClientOf(target.origin, trust));
    request.target = target.path_and_query;
    CO_ASSIGN_OR_RETURN(http::StreamingResponse response,
                        co_await client->Open(request, {.timeout = options.call_timeout}));
    bool redirect = response.status == 301 || response.status == 302 || response.status == 303 ||
                    response.status == 307 || response.status == 308;
    if (!redirect) co_return response;
    std::string location(response.headers.Get("Location").value_or(""));
    if (location.empty()) co_return absl::UnavailableError("a redirect without a Location");
    if (redirects == kMaxRedirects) co_return absl::UnavailableError("too many redirects");
    CO_ASSIGN_OR_RETURN(Target next, Redirect(target, location));
    // What is for the registry is not for its blob store.
    if (!SameOrigin(next.origin, target.origin)) request.headers.Remove("Authorization");
    target = std::move(next);
  }
}

Task<StatusOr<Answer>> RegistryClient::Impl::SendAs(Endpoint endpoint, Ask ask, Credential credential) {
  Target target{.origin = endpoint.url,
                .path_and_query = absl::StrCat(endpoint.url.path, "/v2/", ask.repository, "/", ask.path)};
  std::string where = absl::StrCat(OriginText(endpoint.url), target.path_and_query);
  if (!endpoint.mirror_of.empty()) {
    absl::StrAppend(&target.path_and_query, "?ns=", http::PercentEncode(endpoint.mirror_of));
  }
  Authorizer::Scope scope{endpoint.url, ask.repository, std::move(credential), endpoint.settings};
  std::string authorization = authorizer.Known(scope);
  bool answered = false;
  while (true) {
    http::Request request{.method = ask.method, .headers = ask.headers};
    if (!authorization.empty()) request.headers.Add("Authorization", authorization);
    StatusOr<http::StreamingResponse> response = co_await SendOnce(target, endpoint.settings, std::move(request));
    if (!response.ok()) {
      co_return Annotate(response.status(), absl::StrCat("failed to do request: ", ask.method, " \"", where, "\""));
    }
    LogV(3, "Registry", {{"method", ask.method}, {"url", where}, {"status", response->status}});
    if (response->status != 401 || answered) co_return Answer{*std::move(response), where};
    std::vector<Challenge> challenges;
    for (const auto& [name, value] : response->headers.fields()) {
      if (!absl::EqualsIgnoreCase(name, "WWW-Authenticate")) continue;
      for (Challenge& challenge : ParseChallenges(value)) challenges.push_back(std::move(challenge));
    }
    if (challenges.empty()) co_return Answer{*std::move(response), where};
    // Read to the end, the connection can be used again.
    (void)co_await ReadBody(*response->body, kMaxErrorBody);
    response->body.reset();
    // The known one may just have run out; the answer to a fresh one counts.
    authorizer.Forget(scope);
    CO_ASSIGN_OR_RETURN(authorization, co_await authorizer.Answer(scope, std::move(challenges)));
    answered = true;
  }
}

std::vector<Credential> RegistryClient::Impl::CredentialsFor(const Endpoint& endpoint, const std::string& name,
                                                             const Keyring* keyring) {
  std::vector<Credential> out;
  if (keyring != nullptr) {
    // A pod's credentials for a registry are not told to its mirror; those for the mirror itself are.
    std::string host = OriginText(endpoint.url).substr(endpoint.url.scheme.size() + 3);
    if (endpoint.mirror_of.empty()) {
      out = keyring->Lookup(name);
    } else if (host.find_first_of(".:") != std::string::npos) {
      out = keyring->Lookup(absl::StrCat(host, name.substr(name.find('/'))));
    }
  }
  const HostSettings& settings = endpoint.settings;
  if (!settings.username.empty()) {
    auto password = ReadFile(settings.password_file);
    if (password.ok()) {
      out.push_back(
          {.username = settings.username, .password = std::string(absl::StripTrailingAsciiWhitespace(*password))});
    } else {
      Log(Severity::kWarning, "The registry's password cannot be read",
          {{"registry", OriginText(endpoint.url)}, {"err", password.status()}});
    }
  }
  if (out.size() > kMaxCredentials) out.resize(kMaxCredentials);
  if (out.empty()) out.emplace_back();
  return out;
}

Task<StatusOr<Answer>> RegistryClient::Impl::Send(Endpoint endpoint, Ask ask, std::string name,
                                                  std::shared_ptr<const Keyring> keyring) {
  std::vector<Credential> credentials = CredentialsFor(endpoint, name, keyring.get());
  std::string key = absl::StrCat(OriginText(endpoint.url), "\n", ask.repository);
  if (auto it = worked.find(key); it != worked.end()) {
    auto same = std::ranges::find(credentials, it->second);
    if (same != credentials.end()) std::rotate(credentials.begin(), same, same + 1);
  }
  Status refused;
  for (const Credential& credential : credentials) {
    StatusOr<Answer> answer = co_await SendAs(endpoint, ask, credential);
    if (!answer.ok()) {
      if (!absl::IsPermissionDenied(answer.status())) co_return answer.status();
      refused = answer.status();
      continue;
    }
    int status = answer->response.status;
    if (status == 401 || status == 403) {
      refused = co_await Refusal(*std::move(answer), ask.method, name);
      continue;
    }
    if (worked.size() >= 1000) worked.clear();
    worked[key] = credential;
    co_return answer;
  }
  co_return refused;
}

Task<StatusOr<std::string>> RegistryClient::Impl::ReadBody(http::BodyReader& body, size_t limit) {
  std::string out;
  while (true) {
    CO_ASSIGN_OR_RETURN(std::string piece,
                        co_await WithTimeout(clock, options.idle_timeout, "the next bytes", body.Read()));
    if (piece.empty()) co_return out;
    if (out.size() + piece.size() > limit) {
      co_return absl::ResourceExhaustedError(absl::StrCat("the answer is longer than ", limit, " bytes"));
    }
    out += piece;
  }
}

// What a status of 400 and above means.
Task<Status> RegistryClient::Impl::Refusal(Answer answer, std::string method, std::string name) {
  std::string text;
  if (method != "HEAD") {
    StatusOr<std::string> body = co_await ReadBody(*answer.response.body, kMaxErrorBody);
    if (body.ok()) text = ErrorText(*body);
  }
  int status = answer.response.status;
  if (status == 404) co_return absl::NotFoundError(absl::StrCat(name, ": not found"));
  if (status == 401 || status == 403) {
    co_return absl::PermissionDeniedError(
        absl::StrCat("pull access denied, repository does not exist or may require authorization: server message: ",
                     text.empty() ? "" : text + ": ", status == 401 ? "authorization failed" : "access denied"));
  }
  std::string message =
      absl::StrCat("unexpected status from ", method, " request to ", answer.where, ": ", StatusText(status));
  if (!text.empty()) absl::StrAppend(&message, ": ", text);
  if (status == 429) co_return absl::ResourceExhaustedError(message);
  co_return status >= 500 || status == 408 ? absl::UnavailableError(message) : absl::FailedPreconditionError(message);
}

// The whole answer of the first endpoint that has it; the last one's error.
Task<StatusOr<RegistryClient::Impl::Fetched>> RegistryClient::Impl::Fetch(Reference reference, Ask ask,
                                                                          std::shared_ptr<const Keyring> keyring,
                                                                          size_t limit) {
  CO_ASSIGN_OR_RETURN(std::vector<Endpoint> endpoints, EndpointsOf(reference));
  ask.repository = reference.repository;
  Status failure;
  for (const Endpoint& endpoint : endpoints) {
    StatusOr<Answer> answer = co_await Send(endpoint, ask, reference.Name(), keyring);
    if (!answer.ok()) {
      failure = answer.status();
      continue;
    }
    if (answer->response.status != 200) {
      failure = co_await Refusal(*std::move(answer), ask.method, reference.ToString());
      continue;
    }
    Fetched out{.media_type = std::string(answer->response.headers.Get("Content-Type").value_or(""))};
    StatusOr<std::string> body = co_await ReadBody(*answer->response.body, limit);
    if (!body.ok()) {
      failure = Annotate(body.status(), answer->where);
      continue;
    }
    out.body = *std::move(body);
    co_return out;
  }
  co_return failure;
}

http::Headers AcceptManifests() {
  return {{"Accept", absl::StrCat(kDockerManifest, ", ", kDockerList, ", ", kOciManifest, ", ", kOciIndex, ", */*")}};
}

Task<StatusOr<RegistryClient::Impl::Fetched>> RegistryClient::Impl::FetchManifest(
    Reference reference, std::string what, std::shared_ptr<const Keyring> keyring) {
  Ask ask{.path = absl::StrCat("manifests/", what), .headers = AcceptManifests()};
  CO_ASSIGN_OR_RETURN(Fetched out, co_await Fetch(reference, std::move(ask), std::move(keyring), kMaxManifest));
  if (absl::StrContains(what, ':')) {
    Hasher hasher(what);
    hasher.Update(out.body);
    std::string digest = hasher.Finish();
    if (digest != what) {
      co_return absl::DataLossError(absl::StrCat("manifest: unexpected digest: expected ", what, ", got ", digest));
    }
  }
  co_return out;
}

Task<StatusOr<std::string>> RegistryClient::Impl::Digest(Reference reference, std::shared_ptr<const Keyring> keyring) {
  if (!reference.digest.empty()) co_return reference.digest;
  CO_ASSIGN_OR_RETURN(std::vector<Endpoint> endpoints, EndpointsOf(reference));
  Status failure;
  for (const Endpoint& endpoint : endpoints) {
    Ask ask{.method = "HEAD",
            .repository = reference.repository,
            .path = absl::StrCat("manifests/", reference.tag),
            .headers = AcceptManifests()};
    StatusOr<Answer> answer = co_await Send(endpoint, std::move(ask), reference.Name(), keyring);
    if (!answer.ok()) {
      failure = answer.status();
      continue;
    }
    std::string digest(answer->response.headers.Get("Docker-Content-Digest").value_or(""));
    int status = answer->response.status;
    if (status == 200) (void)co_await ReadBody(*answer->response.body, kMaxErrorBody);
    if (status == 200 && CheckDigest(digest).ok()) co_return digest;
    if (status == 200 || status == 405 || status == 501) {
      // It does not tell: the manifest does.
      answer = absl::UnknownError("");
      CO_ASSIGN_OR_RETURN(Fetched manifest, co_await FetchManifest(reference, reference.tag, keyring));
      co_return absl::StrCat("sha256:", Sha256Hex(manifest.body));
    }
    failure = co_await Refusal(*std::move(answer), "HEAD", reference.ToString());
  }
  co_return failure;
}

Task<StatusOr<RemoteImage>> RegistryClient::Impl::Resolve(Reference reference, std::shared_ptr<const Keyring> keyring) {
  std::string what = reference.digest.empty() ? reference.tag : reference.digest;
  CO_ASSIGN_OR_RETURN(Fetched fetched, co_await FetchManifest(reference, what, keyring));
  std::string digest = reference.digest.empty() ? absl::StrCat("sha256:", Sha256Hex(fetched.body)) : reference.digest;
  CO_ASSIGN_OR_RETURN(Manifest manifest, ParseManifest(fetched.media_type, fetched.body));
  fetched.body = {};
  CO_ASSIGN_OR_RETURN(std::optional<RemoteImage> image,
                      co_await ForThisPlatform(reference, std::move(manifest), digest, std::move(keyring), 0));
  if (!image)
    co_return absl::NotFoundError(
        absl::StrCat("no match for platform linux/amd64 in manifest ", digest, ": not found"));
  image->digest = std::move(digest);
  co_return *std::move(image);
}

// The image behind a manifest or an index, if it is for linux/amd64.
Task<StatusOr<std::optional<RemoteImage>>> RegistryClient::Impl::ForThisPlatform(Reference reference, Manifest manifest,
                                                                                 std::string digest,
                                                                                 std::shared_ptr<const Keyring> keyring,
                                                                                 int depth) {
  if (manifest.is_index) {
    if (depth == kMaxIndexDepth) co_return absl::InvalidArgumentError("manifest: indexes within indexes, too deep");
    for (const Descriptor& entry : ForPlatform(manifest.entries)) {
      CO_ASSIGN_OR_RETURN(Fetched fetched, co_await FetchManifest(reference, entry.digest, keyring));
      CO_ASSIGN_OR_RETURN(
          Manifest inner,
          ParseManifest(entry.media_type.empty() ? fetched.media_type : entry.media_type, fetched.body));
      CO_ASSIGN_OR_RETURN(std::optional<RemoteImage> image,
                          co_await ForThisPlatform(reference, std::move(inner), entry.digest, keyring, depth + 1));
      if (image) co_return image;
    }
    co_return std::nullopt;
  }
  Ask ask{.path = absl::StrCat("blobs/", manifest.config.digest)};
  if (manifest.config.size > static_cast<int64_t>(kMaxConfig)) {
    co_return absl::ResourceExhaustedError("the image's configuration is too large");
  }
  CO_ASSIGN_OR_RETURN(Fetched config, co_await Fetch(reference, std::move(ask), keyring, kMaxConfig));
  Hasher hasher(manifest.config.digest);
  hasher.Update(config.body);
  if (std::string got = hasher.Finish(); got != manifest.config.digest) {
    co_return absl::DataLossError(
        absl::StrCat("image configuration: unexpected digest: expected ", manifest.config.digest, ", got ", got));
  }
  RemoteImage out;
  CO_ASSIGN_OR_RETURN(out.image_config, ParseImageConfig(config.body));
  const Platform& platform = out.image_config.platform;
  if ((!platform.os.empty() && platform.os != "linux") ||
      (!platform.architecture.empty() && platform.architecture != "amd64")) {
    co_return std::nullopt;
  }
  if (out.image_config.diff_ids.size() != manifest.layers.size()) {
    co_return absl::InvalidArgumentError(
        absl::StrCat("mismatched image rootfs and manifest layers: ", out.image_config.diff_ids.size(), " and ",
                     manifest.layers.size()));
  }
  out.manifest_digest = std::move(digest);
  out.manifest = std::move(manifest);
  out.config = std::move(config.body);
  co_return out;
}

// What is left of the blob, from one endpoint. OK: all of it is in the file.
Task<Status> RegistryClient::Impl::FetchFrom(Endpoint endpoint, Reference reference, Descriptor blob,
                                             std::shared_ptr<const Keyring> keyring, BlobFile& file,
                                             std::function<void(size_t)> progress) {
  Ask ask{.repository = reference.repository, .path = absl::StrCat("blobs/", blob.digest)};
  int64_t offset = file.size();
  if (offset > 0) ask.headers.Add("Range", absl::StrCat("bytes=", offset, "-"));
  CO_ASSIGN_OR_RETURN(Answer answer, co_await Send(std::move(endpoint), std::move(ask), reference.Name(), keyring));
  int status = answer.response.status;
  bool whole = status == 200;
  bool rest = status == 206 && BeginsAt(answer.response.headers.Get("Content-Range").value_or(""), offset);
  if (status == 416 || (status == 206 && !rest)) {
    CO_RETURN_IF_ERROR(co_await file.Restart());
    co_return absl::UnavailableError(absl::StrCat(answer.where, ": a part of a blob could not be had"));
  }
  if (!whole && !rest)
    co_return co_await Refusal(std::move(answer), "GET", absl::StrCat(reference.Name(), "@", blob.digest));
  if (whole && offset > 0) CO_RETURN_IF_ERROR(co_await file.Restart());
  while (true) {
    StatusOr<std::string> piece =
        co_await WithTimeout(clock, options.idle_timeout, "the next bytes", answer.response.body->Read());
    if (!piece.ok()) co_return Annotate(piece.status(), answer.where);
    if (piece->empty()) break;
    if (file.size() + static_cast<int64_t>(piece->size()) > blob.size) {
      co_return absl::DataLossError(absl::StrCat(answer.where, ": the blob is longer than ", blob.size, " bytes"));
    }
    if (progress) progress(piece->size());
    CO_RETURN_IF_ERROR(co_await file.Append(*std::move(piece)));
  }
  if (file.size() < blob.size) {
    co_return absl::UnavailableError(
        absl::StrCat(answer.where, ": the blob ended after ", file.size(), " of ", blob.size, " bytes"));
  }
  co_return absl::OkStatus();
}

Task<Status> RegistryClient::Impl::FetchBlob(Reference reference, Descriptor blob,
                                             std::shared_ptr<const Keyring> keyring, std::string path,
                                             std::function<void(size_t)> progress) {
  CO_ASSIGN_OR_RETURN(std::vector<Endpoint> endpoints, EndpointsOf(reference));
  CO_ASSIGN_OR_RETURN(std::unique_ptr<BlobFile> file, BlobFile::Create(pool, std::move(path), blob.digest));
  Backoff backoff({.initial = absl::Milliseconds(500), .max = absl::Seconds(10)});
  Status failure;
  size_t at = 0;
  for (int idle = 0; idle < options.blob_attempts;) {
    int64_t before = file->size();
    failure = co_await FetchFrom(endpoints[at], reference, blob, keyring, *file, progress);
    if (failure.ok()) {
      failure = co_await file->Commit();
      if (failure.ok()) co_return failure;
    }
    // The local disk's troubles are not the registry's.
    if (!file->error().ok()) co_return file->error();
    bool broken = absl::IsUnavailable(failure) || absl::IsDeadlineExceeded(failure);
    if (absl::IsDataLoss(failure)) CO_RETURN_IF_ERROR(co_await file->Restart());
    if (broken && file->size() > before) {
      idle = 0;
      backoff.Reset();
      continue;
    }
    bool last = at + 1 == endpoints.size();
    if (last && !broken && !absl::IsDataLoss(failure)) break;
    at = last ? 0 : at + 1;
    if (last) {
      idle += absl::IsDataLoss(failure) ? 2 : 1;
      if (idle < options.blob_attempts) co_await clock.Sleep(backoff.Next());
    }
  }
  co_return failure;
}

RegistryClient::RegistryClient(Executor executor, Clock& clock, asio::thread_pool& pool, RegistryOptions options,
                               HttpFactory factory)
    : impl_(std::make_shared<Impl>(executor, clock, pool, std::move(options), std::move(factory))) {}
RegistryClient::~RegistryClient() = default;

Task<StatusOr<std::string>> RegistryClient::Digest(Reference reference, std::shared_ptr<const Keyring> keyring) {
  return impl_->Digest(std::move(reference), std::move(keyring));
}
Task<StatusOr<RemoteImage>> RegistryClient::Resolve(Reference reference, std::shared_ptr<const Keyring> keyring) {
  return impl_->Resolve(std::move(reference), std::move(keyring));
}
Task<Status> RegistryClient::FetchBlob(Reference reference, Descriptor blob, std::shared_ptr<const Keyring> keyring,
                                       std::string path, std::function<void(size_t)> progress) {
  return impl_->FetchBlob(std::move(reference), std::move(blob), std::move(keyring), std::move(path),
                          std::move(progress));
}
Task<> RegistryClient::Close() {
  std::map<std::string, Impl::Known> all = std::exchange(impl_->clients, {});
  for (auto& [key, known] : all) co_await known.client->Close();
}

}  // namespace vck::oci
