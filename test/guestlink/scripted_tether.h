// A tether that says what a test wants it to say.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "guestapi/frame.h"
#include "guestapi/identity.h"
#include "guestlink/net.h"
#include "http/server.h"

namespace vck::guestlink {

// Sends `script` to whoever opens the channel, keeps it open until Drop(), and notes what it gets.
class ScriptedTether {
 public:
  // Lets in whoever shows a certificate of `client_ca` (PEM); "": everybody.
  explicit ScriptedTether(Net* net, const std::string& client_ca = "", int host = 200)
      : net_(net), address_(TestAddress(host)) {
    key_ = NewKey();
    http::ServerOptions options{.address = address_, .tls = Tls(client_ca)};
    server_ = *http::Server::Listen(net->executor(), net->clock(), std::move(options),
                                    [this](http::Exchange& exchange) { return Serve(&exchange); });
    net->Spawn(server_->Run());
  }
  ~ScriptedTether() { net_->Close(); }

  [[nodiscard]] Endpoint endpoint() const {
    return {.vm = "vm-1",
            .address = address_,
            .port = server_->port(),
            .guest = {.boot_id = "b1", .key_hash = *http::PublicKeyHash(key_)}};
  }
  void Say(const guestapi::Frame& frame) { script_ += guestapi::EncodeFrame(frame); }
  void SayText(const std::string& text) { script_ += text; }
  void SayNow(const guestapi::Frame& frame) {
    EXPECT_TRUE(net_->Run(stream_->Write(guestapi::EncodeFrame(frame))).ok());
  }
  void Drop() { stream_->Close(); }
  void SetStatus(int status) { status_ = status; }
  // For connections from now on.
  void ChangeKey(std::string key, const std::string& client_ca) {
    key_ = std::move(key);
    server_->SetTls(Tls(client_ca));
  }
  // Serves all requests but the channel's.
  void Further(http::Handler handler) { further_ = std::move(handler); }
  std::vector<guestapi::Frame>& frames() { return frames_; }
  [[nodiscard]] int channels() const { return channels_; }

 private:
  Task<Status> Serve(http::Exchange* exchange) {
    if (further_ && exchange->request().target != guestapi::kChannelPath) co_return co_await further_(*exchange);
    if (status_ != 101) co_return co_await exchange->Respond({status_, {}, R"({"error":{"message":"too old"}})"});
    std::string leftover;
    CO_ASSIGN_OR_RETURN(auto stream, co_await exchange->Upgrade({{"Upgrade", "vch-channel/1"}}, &leftover));
    stream_ = stream.get();
    ++channels_;
    CO_RETURN_IF_ERROR(co_await stream->Write(script_));
    guestapi::FrameSplitter splitter;
    while (true) {
      char buffer[4096];
      CO_ASSIGN_OR_RETURN(size_t n, co_await stream->ReadSome(buffer));
      if (n == 0) co_return absl::OkStatus();
      CO_RETURN_IF_ERROR(splitter.Feed({buffer, n}, [this](std::string_view line) -> Status {
        ASSIGN_OR_RETURN(auto frame, guestapi::DecodeFrame(line));
        frames_.push_back(std::move(frame));
        return absl::OkStatus();
      }));
    }
  }

  [[nodiscard]] std::shared_ptr<http::TlsContext> Tls(const std::string& client_ca) const {
    http::CertRequest request{.common_name = "x", .now = absl::Now()};
    http::TlsServerOptions tls{.cert_pem = *http::SignCertificate(key_, request, "", key_), .key_pem = key_};
    tls.client_ca_pem = client_ca;
    tls.require_client_cert = !client_ca.empty();
    return *http::TlsContext::Server(std::move(tls));
  }

  Net* net_;
  std::string address_;
  std::string key_;
  std::unique_ptr<http::Server> server_;
  std::string script_;
  int status_ = 101;
  int channels_ = 0;
  http::Stream* stream_ = nullptr;
  http::Handler further_;
  std::vector<guestapi::Frame> frames_;
};

inline guestapi::Hello HelloOf(const std::string& boot) { return {.boot_id = boot, .pod_uid = "uid-1"}; }
inline guestapi::GuestState StateOf(const std::string& boot, int64_t sequence, int64_t revision = 0) {
  guestapi::GuestState out;
  out.boot_id = boot;
  out.sequence = sequence;
  out.spec_revision = revision;
  out.guest_now = absl::Now() - absl::Hours(1);
  return out;
}

}  // namespace vck::guestlink
