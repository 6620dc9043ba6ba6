// The port's certificate, and whose client certificates it accepts: from files that are looked at again and again, or,
// without files, by CertificateSigningRequest, with a self-signed one until that is approved.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <boost/asio/thread_pool.hpp>

#include "async/clock.h"
#include "async/task.h"
#include "base/status.h"
#include "http/tls.h"
#include "kube/client.h"

namespace vck::kubeletapi {

class TlsSource {
 public:
  struct Options {
    std::string cert_file, key_file;  // both or none
    std::string client_ca_file;       // "": no client certificates
    // Without files:
    bool request = true;    // by CSR; false: self-signed for good
    std::string node_name;  // CN system:node:<name>
    std::vector<std::string> dns_names, ip_addresses;
    std::string store_file;                    // keeps key and certificate over restarts, mode 0600; "": does not
    absl::Duration look = absl::Seconds(10);   // at files
    absl::Duration retry = absl::Seconds(10);  // after a request that failed; grows to five minutes
  };
  struct State {
    std::shared_ptr<http::TlsContext> tls;
    std::shared_ptr<const http::CertificatePool> client_ca;  // null: none
    std::string cert_pem;
    absl::Time expires;
  };

  // Reads the files once. InvalidArgument or NotFound, with the file's name, when they cannot be used. `client` (for
  // requests; may be null without) and `pool` outlive it.
  static StatusOr<std::unique_ptr<TlsSource>> Create(Clock& clock, asio::thread_pool& pool, kube::Client* client,
                                                     Options options);

  [[nodiscard]] const State& state() const { return state_; }
  // Called after each change; one listener.
  void OnChange(std::function<void(const State&)> fn) { on_change_ = std::move(fn); }
  // Looks at files and renews certificates until cancelled. A file that cannot be used leaves what was there.
  Task<Status> Run(Executor executor);

 private:
  struct Files {
    std::string cert, key, client_ca;
    friend bool operator==(const Files&, const Files&) = default;
  };
  TlsSource(Clock& clock, asio::thread_pool& pool, kube::Client* client, Options options)
      : clock_(clock), pool_(pool), client_(client), options_(std::move(options)) {}
  static StatusOr<Files> ReadFiles(const Options& options);
  // Takes these on if they can be used.
  Status Use(const Files& files);
  static Task<> WatchFiles(TlsSource* self);
  static Task<> Renew(TlsSource* self);
  // One request, to its end.
  Task<Status> Request();
  [[nodiscard]] http::CertRequest Names() const;

  Clock& clock_;
  asio::thread_pool& pool_;
  kube::Client* client_;
  Options options_;
  Files files_;
  bool self_signed_ = false;
  absl::Time renew_at_ = absl::InfiniteFuture();
  State state_;
  std::function<void(const State&)> on_change_;
};

}  // namespace vck::kubeletapi
