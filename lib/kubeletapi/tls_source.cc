#include "kubeletapi/tls_source.h"

#include <algorithm>
#include <fstream>
#include <sstream>
#include <utility>

#include <fcntl.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "async/backoff.h"
#include "async/offload.h"
#include "async/task_group.h"
#include "base/log.h"
#include "kube/csr.h"

namespace vck::kubeletapi {
namespace {

constexpr absl::Duration kSelfSigned = absl::Hours(24 * 365);
constexpr absl::Duration kRequestTimeout = absl::Minutes(15);
constexpr absl::Duration kMaxRetry = absl::Minutes(5);
// A stored certificate is named by this first line, so that one of another name or address is not used.
constexpr std::string_view kStoredFor = "# for ";

StatusOr<std::string> ReadFile(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return absl::NotFoundError(absl::StrCat("cannot read ", path));
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

// Never half of it, and never readable by others.
Status WriteFile(const std::string& path, const std::string& text) {
  const std::string next = path + ".new";
  int fd = ::open(next.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) return absl::UnavailableError(absl::StrCat("cannot write ", next));
  const bool written = ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size()) && ::fsync(fd) == 0;
  ::close(fd);
  if (!written || ::rename(next.c_str(), path.c_str()) != 0) {
    ::unlink(next.c_str());
    return absl::UnavailableError(absl::StrCat("cannot write ", path));
  }
  return absl::OkStatus();
}

std::string NamesLine(const http::CertRequest& names) {
  return absl::StrCat(kStoredFor, names.common_name, " ", absl::StrJoin(names.dns_names, ","), " ",
                      absl::StrJoin(names.ip_addresses, ","), "\n");
}

}  // namespace

StatusOr<std::unique_ptr<TlsSource>> TlsSource::Create(Clock& clock, asio::thread_pool& pool, kube::Client* client,
                                                       Options options) {
  std::unique_ptr<TlsSource> out(new TlsSource(clock, pool, client, std::move(options)));
  const Options& o = out->options_;
  ASSIGN_OR_RETURN(Files files, ReadFiles(o));
  if (o.cert_file.empty()) {
    if (auto stored = out->Stored()) {
      files.cert = std::move(stored->cert);
      files.key = std::move(stored->key);
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
  http::CertRequest out;
  out.common_name = absl::StrCat("system:node:", options_.node_name);
  out.organizations = {"system:nodes"};
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
  // The kubelet renews between 70 and 90 percent of a certificate's life.
  uint64_t random = RandomSeed();
  renew_at_ = info.not_before + (info.not_after - info.not_before) * (0.7 + 0.2 * NextRandom(random));
  if (self_signed_) renew_at_ = absl::InfinitePast();
  files_ = files;
  state_ = std::move(next);
  if (on_change_) on_change_(state_);
  return absl::OkStatus();
}

std::optional<TlsSource::Files> TlsSource::Stored() const {
  if (options_.store_file.empty()) return std::nullopt;
  auto text = ReadFile(options_.store_file);
  const std::string line = NamesLine(Names());
  if (!text.ok() || text->rfind(line, 0) != 0) return std::nullopt;
  const size_t key = text->find("-----BEGIN PRIVATE KEY");
  if (key == std::string::npos) return std::nullopt;
  Files out;
  out.cert = text->substr(line.size(), key - line.size());
  out.key = text->substr(key);
  auto info = http::ReadCertificate(out.cert);
  if (!info.ok() || clock_.WallNow() < info->not_before || clock_.WallNow() >= info->not_after) return std::nullopt;
  if (!http::TlsContext::Server({.cert_pem = out.cert, .key_pem = out.key}).ok()) return std::nullopt;
  return out;
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
  Backoff backoff({.initial = self->options_.retry, .max = kMaxRetry});
  while (true) {
    const absl::Duration wait = self->renew_at_ - self->clock_.WallNow();
    if (wait > absl::ZeroDuration()) {
      // In steps: wall time may jump.
      co_await self->clock_.Sleep(std::min<absl::Duration>(wait, absl::Hours(1)));
      continue;
    }
    Status status = co_await self->Request();
    if (status.ok()) {
      backoff.Reset();
      continue;
    }
    Log(Severity::kWarning, "No serving certificate yet, will ask again", {{"err", status}});
    co_await self->clock_.Sleep(backoff.Next());
  }
}

Task<Status> TlsSource::Request() {
  CO_ASSIGN_OR_RETURN(std::string key, http::GenerateKeyPem());
  kube::CertificateRequest request;
  CO_ASSIGN_OR_RETURN(request.csr_pem, http::CreateCsr(key, Names()));
  request.signer_name = "kubernetes.io/kubelet-serving";
  request.usages = {"digital signature", "server auth"};
  request.timeout = kRequestTimeout;
  CO_ASSIGN_OR_RETURN(std::string cert, co_await kube::RequestCertificate(*client_, std::move(request)));
  Files files = files_;
  files.cert = std::move(cert);
  files.key = std::move(key);
  const bool was_self_signed = std::exchange(self_signed_, false);
  if (Status status = Use(files); !status.ok()) {
    self_signed_ = was_self_signed;
    co_return status;
  }
  auto info = http::ReadCertificate(files.cert);
  Log(Severity::kInfo, "The kubelet API has a certificate",
      {{"expires", info.ok() ? absl::FormatTime(info->not_after, absl::UTCTimeZone()) : ""}});
  if (options_.store_file.empty()) co_return absl::OkStatus();
  const std::string text = absl::StrCat(NamesLine(Names()), files.cert, files.key);
  const std::string path = options_.store_file;
  Status written = co_await Offload(pool_, [path, text] { return WriteFile(path, text); });
  if (!written.ok()) Log(Severity::kWarning, "The certificate could not be kept", {{"err", written}});
  co_return absl::OkStatus();
}

}  // namespace vck::kubeletapi
