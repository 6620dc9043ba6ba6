#include "kubeletapi/tls_source.h"

#include <fstream>
#include <sstream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "async/offload.h"
#include "async/task_group.h"
#include "base/log.h"
#include "kube/key_pair.h"

namespace vck::kubeletapi {
namespace {

constexpr absl::Duration kSelfSigned = absl::Hours(24 * 365);

StatusOr<std::string> ReadFile(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return absl::NotFoundError(absl::StrCat("cannot read ", path));
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

// A stored certificate is for these: one of another name or address is not used.
std::string Whom(const http::CertRequest& names) {
  return absl::StrCat(names.common_name, " ", absl::StrJoin(names.dns_names, ","), " ",
                      absl::StrJoin(names.ip_addresses, ","));
}

}  // namespace

StatusOr<std::unique_ptr<TlsSource>> TlsSource::Create(Clock& clock, asio::thread_pool& pool, kube::Client* client,
                                                       Options options) {
  std::unique_ptr<TlsSource> out(new TlsSource(clock, pool, client, std::move(options)));
  const Options& o = out->options_;
  ASSIGN_OR_RETURN(Files files, ReadFiles(o));
  if (o.cert_file.empty()) {
    auto stored = kube::LoadKeyPair(o.store_file, Whom(out->Names()), clock.WallNow());
    if (stored) {
      files.cert = std::move(stored->cert_pem);
      files.key = std::move(stored->key_pem);
    } else {
      out->self_signed_ = true;
      http::CertRequest names = out->Names();
      names.lifetime = kSelfSigned;
      names.now = clock.WallNow();
      ASSIGN_OR_RETURN(files.key, http::GenerateKeyPem());
      ASSIGN_OR_RETURN(files.cert, http::SignCertificate(files.key, names, "", files.key));
    }
  }
  RETURN_IF_ERROR(out->Use(files));
  return out;
}

http::CertRequest TlsSource::Names() const {
  http::CertRequest out = kube::NodeNames(options_.node_name);
  out.dns_names = options_.dns_names;
  out.ip_addresses = options_.ip_addresses;
  return out;
}

StatusOr<TlsSource::Files> TlsSource::ReadFiles(const Options& options) {
  Files out;
  if (!options.cert_file.empty()) {
    ASSIGN_OR_RETURN(out.cert, ReadFile(options.cert_file));
    ASSIGN_OR_RETURN(out.key, ReadFile(options.key_file));
  }
  if (!options.client_ca_file.empty()) {
    ASSIGN_OR_RETURN(out.client_ca, ReadFile(options.client_ca_file));
  }
  return out;
}

Status TlsSource::Use(const Files& files) {
  State next;
  next.cert_pem = files.cert;
  if (!files.client_ca.empty()) {
    auto pool = http::CertificatePool::Parse(files.client_ca);
    if (!pool.ok()) return Annotate(pool.status(), options_.client_ca_file);
    next.client_ca = *std::move(pool);
  }
  auto tls = http::TlsContext::Server({.cert_pem = files.cert,
                                       .key_pem = files.key,
                                       .client_ca_pem = files.client_ca,
                                       .defer_client_verification = next.client_ca != nullptr});
  if (!tls.ok()) {
    return Annotate(tls.status(), options_.cert_file.empty()
                                      ? "the serving certificate"
                                      : absl::StrCat(options_.cert_file, ", ", options_.key_file));
  }
  next.tls = *std::move(tls);
  ASSIGN_OR_RETURN(auto info, http::ReadCertificate(files.cert));
  next.expires = info.not_after;
  renew_at_ = kube::RenewalTime(info);
  if (self_signed_) renew_at_ = absl::InfinitePast();
  files_ = files;
  state_ = std::move(next);
  if (on_change_) on_change_(state_);
  return absl::OkStatus();
}

Task<Status> TlsSource::Run(Executor executor) {
  TaskGroup group(executor);
  group.Spawn("certificate files", WatchFiles(this));
  if (options_.cert_file.empty() && options_.request && client_ != nullptr) group.Spawn("renewal", Renew(this));
  co_return co_await group.Join();
}

Task<> TlsSource::WatchFiles(TlsSource* self) {
  std::string trouble;
  while (true) {
    co_await self->clock_.Sleep(self->options_.look);
    if (self->options_.cert_file.empty() && self->options_.client_ca_file.empty()) continue;
    Options options = self->options_;
    auto files = co_await Offload(self->pool_, [options] { return ReadFiles(options); });
    Status status = files.status();
    if (files.ok()) {
      if (self->options_.cert_file.empty()) {
        files->cert = self->files_.cert;
        files->key = self->files_.key;
      }
      if (*files != self->files_) {
        status = self->Use(*files);
        if (status.ok()) Log(Severity::kInfo, "Certificates of the kubelet API were read again");
      }
    }
    // Certificate and key are seldom replaced in one moment: said once, and only while it lasts.
    if (!status.ok() && trouble != status.message()) {
      Log(Severity::kWarning, "Certificates of the kubelet API cannot be read, the old ones stay", {{"err", status}});
    }
    trouble = std::string(status.message());
  }
}

Task<> TlsSource::Renew(TlsSource* self) {
  if (self->self_signed_) {
    Log(Severity::kWarning,
        "The kubelet API has a self-signed certificate until its request (kubernetes.io/kubelet-serving) is approved");
  }
  co_await kube::RenewForEver(
      self->clock_, self->options_.retry, self->renew_at_, [self] { return self->Request(); },
      "No serving certificate yet, will ask again");
}

Task<Status> TlsSource::Request() {
  http::CertRequest names = Names();
  std::string whom = Whom(names);
  CO_ASSIGN_OR_RETURN(kube::KeyPair pair,
                      co_await kube::RequestKeyPair(*client_, kube::Signer::kKubeletServing, std::move(names)));
  Files files = files_;
  files.cert = pair.cert_pem;
  files.key = pair.key_pem;
  const bool was_self_signed = std::exchange(self_signed_, false);
  if (Status status = Use(files); !status.ok()) {
    self_signed_ = was_self_signed;
    co_return status;
  }
  auto info = http::ReadCertificate(files.cert);
  Log(Severity::kInfo, "The kubelet API has a certificate",
      {{"expires", info.ok() ? absl::FormatTime(info->not_after, absl::UTCTimeZone()) : ""}});
  if (options_.store_file.empty()) co_return absl::OkStatus();
  Status written = co_await Offload(pool_, [path = options_.store_file, whom = std::move(whom),
                                            pair = std::move(pair)] { return kube::StoreKeyPair(path, whom, pair); });
  if (!written.ok()) Log(Severity::kWarning, "The certificate could not be kept", {{"err", written}});
  co_return absl::OkStatus();
}

}  // namespace vck::kubeletapi
