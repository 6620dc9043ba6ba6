#include "kube/key_pair.h"

#include <algorithm>
#include <fstream>
#include <sstream>
#include <string_view>
#include <utility>

#include <fcntl.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "async/backoff.h"
#include "base/log.h"
#include "kube/csr.h"

namespace vck::kube {
namespace {

constexpr absl::Duration kRequestTimeout = absl::Minutes(15);

std::string FirstLine(const std::string& whom) { return absl::StrCat("# for ", whom, "\n"); }

// Where the key begins, whatever its kind; EC parameters may be before it.
size_t FindKey(std::string_view text) {
  constexpr std::string_view kBegin = "-----BEGIN ", kKey = "PRIVATE KEY-----";
  for (size_t at = text.find(kBegin); at != std::string_view::npos; at = text.find(kBegin, at + 1)) {
    const std::string_view line = text.substr(at, text.find('\n', at) - at);
    if (line.find(kKey) != std::string_view::npos) return at;
  }
  return std::string_view::npos;
}

}  // namespace

std::string KeyPairText(const std::string& whom, const KeyPair& pair) {
  return absl::StrCat(FirstLine(whom), pair.cert_pem, pair.cert_pem.ends_with('\n') ? "" : "\n", pair.key_pem);
}

std::optional<KeyPair> LoadKeyPair(const std::string& path, const std::string& whom, absl::Time now) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return std::nullopt;
  std::stringstream buffer;
  buffer << in.rdbuf();
  const std::string text = buffer.str();
  const std::string line = FirstLine(whom);
  const size_t key = FindKey(text);
  if (!text.starts_with(line) || key == std::string::npos || key < line.size()) return std::nullopt;
  KeyPair out{.cert_pem = text.substr(line.size(), key - line.size()), .key_pem = text.substr(key)};
  auto info = http::ReadCertificate(out.cert_pem);
  if (!info.ok() || now < info->not_before || now >= info->not_after) return std::nullopt;
  if (!http::TlsContext::Server({.cert_pem = out.cert_pem, .key_pem = out.key_pem}).ok()) return std::nullopt;
  return out;
}

Status StoreKeyPair(const std::string& path, const std::string& whom, const KeyPair& pair) {
  const std::string text = KeyPairText(whom, pair);
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

absl::Time RenewalTime(const http::CertificateInfo& certificate) {
  uint64_t random = RandomSeed();
  return certificate.not_before + (certificate.not_after - certificate.not_before) * (0.7 + 0.2 * NextRandom(random));
}

http::CertRequest NodeNames(const std::string& node_name) {
  http::CertRequest out;
  out.common_name = absl::StrCat("system:node:", node_name);
  out.organizations = {"system:nodes"};
  return out;
}

Task<StatusOr<KeyPair>> RequestKeyPair(Client& client, Signer signer, http::CertRequest names) {
  KeyPair out;
  CO_ASSIGN_OR_RETURN(out.key_pem, http::GenerateKeyPem());
  CertificateRequest request;
  CO_ASSIGN_OR_RETURN(request.csr_pem, http::CreateCsr(out.key_pem, names));
  const bool serving = signer == Signer::kKubeletServing;
  request.signer_name = serving ? "kubernetes.io/kubelet-serving" : "kubernetes.io/kube-apiserver-client-kubelet";
  request.usages = {"digital signature", serving ? "server auth" : "client auth"};
  request.timeout = kRequestTimeout;
  CO_ASSIGN_OR_RETURN(out.cert_pem, co_await RequestCertificate(client, std::move(request)));
  co_return out;
}

Task<> RenewForEver(Clock& clock, absl::Duration retry, const absl::Time& renew_at, std::function<Task<Status>()> renew,
                    std::string complaint) {
  Backoff backoff({.initial = retry, .max = absl::Minutes(5)});
  while (true) {
    const absl::Duration wait = renew_at - clock.WallNow();
    if (wait > absl::ZeroDuration()) {
      // In steps: wall time may jump.
      co_await clock.Sleep(std::min<absl::Duration>(wait, absl::Hours(1)));
      continue;
    }
    Status status = co_await renew();
    if (status.ok()) {
      backoff.Reset();
      continue;
    }
    Log(Severity::kWarning, complaint, {{"err", status}});
    co_await clock.Sleep(backoff.Next());
  }
}

}  // namespace vck::kube
