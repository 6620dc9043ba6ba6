#include "http/net.h"

#include <malloc.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define VCK_SANITIZED_HEAP
extern "C" size_t __sanitizer_get_current_allocated_bytes(void);  // NOLINT
#endif
#endif

namespace vck::http::testing {

double HeapKiB() {
#ifdef VCK_SANITIZED_HEAP
  return static_cast<double>(__sanitizer_get_current_allocated_bytes()) / 1024;
#else
  return static_cast<double>(mallinfo2().uordblks) / 1024;
#endif
}

Net::Net() : clock_(context_.get_executor()), group_(context_.get_executor()) {}

void Net::Stop() {
  for (auto& client : clients_) Run(client->Close());
  group_.Cancel();
  (void)Run(group_.Join());
}

Server& Net::Serve(ServerOptions options, Handler handler) {
  servers_.push_back(Server::Listen(executor(), clock_, std::move(options), std::move(handler)).value());
  group_.Spawn("server", servers_.back()->Run());
  return *servers_.back();
}

ScriptedServer& Net::Peer(Script script) {
  peers_.push_back(std::make_unique<ScriptedServer>(*this, std::move(script)));
  return *peers_.back();
}

std::shared_ptr<Client> Net::NewClient(ClientOptions options) {
  clients_.push_back(Client::Create(executor(), clock_, std::move(options)));
  return clients_.back();
}

Pki Pki::Make() {
  Pki pki;
  absl::Time now = absl::Now();
  pki.ca_key = GenerateKeyPem().value();
  pki.ca_cert =
      SignCertificate(pki.ca_key, {.common_name = "test CA", .is_ca = true, .now = now}, "", pki.ca_key).value();
  pki.server_key = GenerateKeyPem().value();
  CertRequest server{.common_name = "server", .dns_names = {"server.test"}, .ip_addresses = {"127.0.0.1"}, .now = now};
  pki.server_cert = SignCertificate(pki.server_key, server, pki.ca_cert, pki.ca_key).value();
  pki.client_key = GenerateKeyPem().value();
  CertRequest client{.common_name = "client", .organizations = {"one", "two"}, .uris = {"vch:pod/1,2"}, .now = now};
  pki.client_cert = SignCertificate(CreateCsr(pki.client_key, client).value(), client, pki.ca_cert, pki.ca_key).value();
  return pki;
}

std::shared_ptr<TlsContext> Pki::Server(bool require_client) const {
  TlsServerOptions options{.cert_pem = server_cert, .key_pem = server_key};
  if (require_client) {
    options.client_ca_pem = ca_cert;
    options.require_client_cert = true;
  }
  return TlsContext::Server(options).value();
}

std::shared_ptr<TlsContext> Pki::Client(TlsOptions options) const {
  if (options.ca_pem.empty()) options.ca_pem = ca_cert;
  return TlsContext::Client(options).value();
}

ScriptedServer::ScriptedServer(Net& net, Script script)
    : net_(net), script_(std::move(script)), acceptor_(net.executor(), {asio::ip::make_address("127.0.0.1"), 0}) {
  port_ = acceptor_.local_endpoint().port();
  net_.group().Spawn("scripted server", Accept(this));
}

Task<> ScriptedServer::Accept(ScriptedServer* self) {
  while (true) {
    auto socket = co_await self->acceptor_.async_accept(kUseTask);
    self->net_.group().Spawn("script", Serve(self, std::move(socket), self->connections_++));
  }
}

Task<> ScriptedServer::Serve(ScriptedServer* self, internal::TcpSocket socket, int number) {
  internal::TuneSocket(socket, {}, {});
  auto stream = internal::MakePlainStream(std::move(socket), "client");
  co_await self->script_(*stream, number);
}

Task<std::string> ReadUntil(Stream& stream, std::string text) {
  std::string all;
  char buffer[4096];
  while (all.find(text) == std::string::npos) {
    auto n = co_await stream.ReadSome(buffer);
    if (!n.ok() || *n == 0) break;
    all.append(buffer, *n);
  }
  co_return all;
}

Task<std::string> ReadAll(Stream& stream) {
  std::string all;
  char buffer[4096];
  while (true) {
    auto n = co_await stream.ReadSome(buffer);
    if (!n.ok() || *n == 0) break;
    all.append(buffer, *n);
  }
  co_return all;
}

}  // namespace vck::http::testing
