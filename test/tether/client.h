// A tether's client for tests: the parts of a kubelet by hand, on real sockets and fake or real time.
#pragma once

#include <string>
#include <vector>

#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "guestapi/frame.h"
#include "guestapi/identity.h"
#include "http/client.h"
#include "http/issuer.h"
#include "http/stream.h"
#include "http/tls.h"

namespace vck::tether {

// An address of this process's own in 127.0.0.0/8.
inline std::string TestAddress(int n) {
  int pid = static_cast<int>(::getpid());
  return absl::StrCat("127.", 64 + pid / 256 % 128, ".", pid % 256, ".", n);
}

// A VCH's key with its certificate.
struct Vch {
  std::string key = *http::GenerateKeyPem();
  std::string hash = *http::PublicKeyHash(key);
  std::string ca;

  Vch() {
    http::CertRequest request{.common_name = std::string(guestapi::kCaName), .is_ca = true, .now = absl::Now()};
    ca = *http::SignCertificate(key, request, "", key);
  }
  [[nodiscard]] guestapi::BootConfig Config(int n) const {
    guestapi::BootConfig config;
    config.pod_uid = absl::StrCat("uid-", n);
    config.host_name = absl::StrCat("host-", n);
    config.address = TestAddress(n) + "/20";
    config.kubelet_key_hash = hash;
    config.kubelet_ca = ca;
    return config;
  }
  // A certificate of this VCH for any key.
  [[nodiscard]] std::string Sign(const std::string& subject, const std::string& name, const std::string& uri = "",
                                 absl::Time now = absl::Now()) const {
    http::CertRequest request{.common_name = name, .now = now};
    request.dns_names = {std::string(guestapi::kTetherDnsName)};
    if (!uri.empty()) request.uris = {uri};
    return *http::SignCertificate(subject, request, ca, key);
  }
  // What the kubelet answers to a Hello that asks for it.
  [[nodiscard]] std::string Certify(const std::string& public_key, const std::string& pod_uid) const {
    http::CertRequest request{.common_name = pod_uid, .now = absl::Now()};
    request.dns_names = {std::string(guestapi::kTetherDnsName)};
    request.uris = {guestapi::PodUri(pod_uid)};
    return *(*http::CertificateIssuer::Create(ca, key))->Issue(public_key, request);
  }
  // A client with `client_key` ("": none), certified by this VCH.
  [[nodiscard]] std::shared_ptr<http::TlsContext> Client(const std::string& client_key,
                                                         absl::Time now = absl::Now()) const {
    http::TlsOptions options;
    options.insecure = true;
    if (!client_key.empty()) {
      options.client_key_pem = client_key;
      options.client_cert_pem = Sign(client_key, "client", "", now);
    }
    return *http::TlsContext::Client(options);
  }
};

// Sends one request over a connection of its own: the response, or why there is none.
inline Task<StatusOr<http::Response>> Ask(Clock* clock, std::shared_ptr<http::TlsContext> tls, int n,
                                          std::string target, std::string upgrade) {
  CO_ASSIGN_OR_RETURN(auto stream, co_await http::Dial(*clock, TestAddress(n), 10350, std::move(tls), {}));
  http::Request request;
  request.target = std::move(target);
  request.headers = {{"Host", "tether.vch"}};
  if (!upgrade.empty()) {
    request.headers.Add("Connection", "Upgrade");
    request.headers.Add("Upgrade", std::move(upgrade));
  }
  std::string leftover;
  co_return co_await http::Upgrade(*stream, std::move(request), &leftover);
}

// A held channel; frames are read when asked for.
class TestChannel {
 public:
  static Task<StatusOr<std::unique_ptr<TestChannel>>> Open(Clock* clock, std::shared_ptr<http::TlsContext> tls, int n) {
    auto out = std::make_unique<TestChannel>();
    CO_ASSIGN_OR_RETURN(out->stream_, co_await http::Dial(*clock, TestAddress(n), 10350, std::move(tls), {}));
    http::Request request;
    request.target = std::string(guestapi::kChannelPath);
    request.headers = {{"Host", "tether.vch"}, {"Connection", "Upgrade"}, {"Upgrade", "vch-channel/9, vch-channel/1"}};
    std::string leftover;
    CO_ASSIGN_OR_RETURN(auto response, co_await http::Upgrade(*out->stream_, std::move(request), &leftover));
    if (response.status != 101) co_return absl::UnavailableError(absl::StrCat("status ", response.status));
    CO_RETURN_IF_ERROR(out->Take(leftover));
    co_return std::move(out);
  }
  // The next frame; Unavailable at the end of the channel.
  Task<StatusOr<guestapi::Frame>> Next() {
    while (frames_.empty()) {
      char buffer[4096];
      CO_ASSIGN_OR_RETURN(size_t n, co_await stream_->ReadSome(buffer));
      if (n == 0) co_return absl::UnavailableError("closed");
      CO_RETURN_IF_ERROR(Take({buffer, n}));
    }
    guestapi::Frame out = std::move(frames_.front());
    frames_.erase(frames_.begin());
    co_return std::move(out);
  }
  Task<StatusOr<guestapi::GuestState>> NextState() {
    CO_ASSIGN_OR_RETURN(guestapi::Frame frame, co_await Next());
    if (auto* state = std::get_if<guestapi::GuestState>(&frame)) co_return std::move(*state);
    co_return absl::InvalidArgumentError("another frame than a state");
  }
  Task<Status> Send(std::string frame) { co_return co_await stream_->Write(frame); }
  [[nodiscard]] std::string key_hash() const { return stream_->PeerKeyHash(); }
  [[nodiscard]] std::string public_key() const { return http::PeerPublicKey(*stream_); }
  [[nodiscard]] http::Stream::PeerName peer() const { return stream_->Peer(); }

 private:
  Status Take(std::string_view data) {
    return splitter_.Feed(data, [this](std::string_view line) -> Status {
      ASSIGN_OR_RETURN(auto frame, guestapi::DecodeFrame(line));
      frames_.push_back(std::move(frame));
      return absl::OkStatus();
    });
  }
  std::unique_ptr<http::Stream> stream_;
  guestapi::FrameSplitter splitter_;
  std::vector<guestapi::Frame> frames_;
};

}  // namespace vck::tether
