#include "kube/credentials.h"

#include "absl/cleanup/cleanup.h"
#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "async/offload.h"
#include "async/wait.h"
#include "base/log.h"

namespace vck::kube {
namespace {

constexpr absl::Duration kFilesFresh = absl::Minutes(1);
constexpr absl::Duration kPluginTimeout = absl::Seconds(60);
// After a plugin failed, callers get its error for this long before it runs again.
constexpr absl::Duration kPluginPause = absl::Seconds(5);

// What a look at files and plugins gave. Absent: not asked for, or not readable.
struct Look {
  std::optional<std::string> token, cert, key;
  std::string file_error;
  std::optional<StatusOr<ExecResult>> exec;
};

class Source : public CredentialSource {
 public:
  Source(Clock& clock, asio::thread_pool& pool, RestConfig config, System system)
      : clock_(clock),
        pool_(pool),
        identity_(std::move(config.identity)),
        system_(std::move(system)),
        token_(identity_.token),
        cert_(std::move(config.tls.client_cert_pem)),
        key_(std::move(config.tls.client_key_pem)) {
    // The configuration was read just now.
    files_checked_ = clock_.Now();
    if (!identity_.exec) Publish();
  }

  Task<StatusOr<std::shared_ptr<const Credentials>>> Get() override {
    while (true) {
      if (Fresh()) co_return current_;
      if (!refreshing_) break;
      co_await refreshed_.Wait();
    }
    if (plugin_retry_ && clock_.Now() < *plugin_retry_ && !PluginFresh()) co_return plugin_error_;
    refreshing_ = true;
    absl::Cleanup done = [this] {
      refreshing_ = false;
      refreshed_.NotifyAll();
    };
    bool run_plugin = identity_.exec && !PluginFresh();
    // The pool gets copies: it touches nothing of ours.
    Look look = co_await Offload(
        pool_, [identity = identity_, system = system_, run_plugin] { return LookAt(identity, system, run_plugin); });
    files_checked_ = clock_.Now();
    if (!look.file_error.empty()) {
      Log(Severity::kWarning, "Credentials cannot be read again; the last ones stay in use",
          {{"err", look.file_error}});
    }
    if (look.token && !look.token->empty()) token_ = *std::move(look.token);
    if (look.cert && look.key) SetCertificate(*std::move(look.cert), *std::move(look.key));
    if (look.exec) {
      if (!look.exec->ok()) {
        plugin_error_ = look.exec->status();
        plugin_retry_ = clock_.Now() + kPluginPause;
        co_return plugin_error_;
      }
      ExecResult result = **std::move(look.exec);
      plugin_retry_.reset();
      plugin_done_ = true;
      expiry_ = result.expiry;
      plugin_token_ = std::move(result.token);
      if (!result.client_cert_pem.empty()) {
        SetCertificate(std::move(result.client_cert_pem), std::move(result.client_key_pem));
      }
    }
    invalid_ = false;
    Publish();
    co_return current_;
  }

  void Refresh() override { files_checked_ = Instant() - kFilesFresh; }

  void Invalidate(const std::shared_ptr<const Credentials>& used) override {
    if (used != current_) return;
    bool can_change = identity_.exec || HasFiles();
    if (!can_change) return;
    invalid_ = true;
    plugin_done_ = false;
  }

 private:
  [[nodiscard]] bool HasFiles() const { return !identity_.token_file.empty() || !identity_.client_cert_file.empty(); }
  [[nodiscard]] bool PluginFresh() const {
    return !identity_.exec || (plugin_done_ && (!expiry_ || clock_.WallNow() < *expiry_));
  }
  [[nodiscard]] bool Fresh() const {
    if (current_ == nullptr || invalid_ || !PluginFresh()) return false;
    return !HasFiles() || clock_.Now() - files_checked_ < kFilesFresh;
  }

  static Look LookAt(const Identity& identity, const System& system, bool run_plugin) {
    Look look;
    auto read = [&](const std::string& path) -> std::optional<std::string> {
      if (path.empty()) return std::nullopt;
      auto text = system.read_file(path);
      if (text.ok()) return *std::move(text);
      look.file_error = absl::StrCat(path, ": ", text.status().message());
      return std::nullopt;
    };
    look.token = read(identity.token_file);
    if (look.token) look.token = std::string(absl::StripAsciiWhitespace(*look.token));
    look.cert = read(identity.client_cert_file);
    look.key = read(identity.client_key_file);
    if (run_plugin) look.exec = RunExecPlugin(*identity.exec, kPluginTimeout);
    return look;
  }

  void SetCertificate(std::string cert, std::string key) {
    if (cert == cert_ && key == key_) return;
    cert_ = std::move(cert);
    key_ = std::move(key);
    ++certificate_generation_;
  }

  void Publish() {
    auto credentials = std::make_shared<Credentials>();
    http::Headers& headers = credentials->headers;
    const std::string& token = token_.empty() ? plugin_token_ : token_;
    if (!token.empty()) {
      headers.Set("Authorization", "Bearer " + token);
    } else if (!identity_.username.empty() || !identity_.password.empty()) {
      headers.Set("Authorization",
                  "Basic " + absl::Base64Escape(absl::StrCat(identity_.username, ":", identity_.password)));
    }
    if (!identity_.as.empty()) headers.Add("Impersonate-User", identity_.as);
    if (!identity_.as_uid.empty()) headers.Add("Impersonate-Uid", identity_.as_uid);
    for (const std::string& group : identity_.as_groups) headers.Add("Impersonate-Group", group);
    for (const auto& [key, value] : identity_.as_user_extra) {
      headers.Add("Impersonate-Extra-" + http::PercentEncode(key), value);
    }
    credentials->certificate_generation = certificate_generation_;
    if (certificate_generation_ > 0) {
      credentials->client_cert_pem = cert_;
      credentials->client_key_pem = key_;
    }
    current_ = std::move(credentials);
  }

  Clock& clock_;
  asio::thread_pool& pool_;
  Identity identity_;
  System system_;
  std::shared_ptr<const Credentials> current_;
  bool invalid_ = false;
  Instant files_checked_;
  std::string token_, plugin_token_, cert_, key_;
  int64_t certificate_generation_ = 0;
  bool plugin_done_ = false;
  std::optional<absl::Time> expiry_;
  std::optional<Instant> plugin_retry_;
  Status plugin_error_;
  bool refreshing_ = false;
  Signal refreshed_;
};

}  // namespace

std::shared_ptr<CredentialSource> CredentialSource::Create(Clock& clock, asio::thread_pool& pool, RestConfig config,
                                                           System system) {
  return std::make_shared<Source>(clock, pool, std::move(config), std::move(system));
}

}  // namespace vck::kube
