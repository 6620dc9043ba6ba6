// Real loopback sockets for tests: a loop with real time and a limit, TLS material, and peers that follow a script.
#pragma once

#include <chrono>
#include <cstdlib>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/basic_socket_acceptor.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>

#include "async/clock.h"
#include "async/task_group.h"
#include "gtest/gtest.h"
#include "http/client.h"
#include "http/server.h"
#include "http/socket_stream.h"

namespace vck::http::testing {

class ScriptedServer;
// What a scripted peer does with one connection; the number counts connections from 0.
using Script = std::function<Task<>(Stream&, int)>;

// What is allocated now, without the allocator's own overhead.
double HeapKiB();

// Owns the loop and all that runs on it, and ends it in the right order.
class Net {
 public:
  Net();
  ~Net() { Stop(); }
  // Ends everything; done by the destructor.
  void Stop();
  // For tests whose scripts use locals: declared after those, it stops everything before they go.
  struct StopFirst {
    Net& net;
    ~StopFirst() { net.Stop(); }
  };
  // Both run until the end of the test.
  Server& Serve(ServerOptions options, Handler handler);
  ScriptedServer& Peer(Script script);
  // Closed at the end of the test.
  std::shared_ptr<Client> NewClient(ClientOptions options);
  Executor executor() { return context_.get_executor(); }
  Clock& clock() { return clock_; }
  // Runs beside whatever Run() runs; cancelled and joined at the end of the test.
  TaskGroup& group() { return group_; }

  template <class T>
  T Run(Task<T> task, std::chrono::seconds limit = std::chrono::seconds(20)) {
    std::exception_ptr exception;
    bool done = false;
    auto drive = [&] {
      auto end = std::chrono::steady_clock::now() + limit;
      context_.restart();
      while (!done && std::chrono::steady_clock::now() < end) {
        if (context_.run_one_until(end) == 0) context_.restart();
      }
      if (!done) {
        ADD_FAILURE() << "the task did not end in time";
        std::abort();
      }
      if (exception) std::rethrow_exception(exception);
    };
    if constexpr (std::is_void_v<T>) {
      asio::co_spawn(context_, std::move(task), [&](std::exception_ptr e) { exception = e, done = true; });
      drive();
    } else {
      std::optional<T> value;
      asio::co_spawn(context_, std::move(task), [&](std::exception_ptr e, T v) {
        exception = e, done = true;
        if (!e) value.emplace(std::move(v));
      });
      drive();
      return std::move(*value);
    }
  }

 private:
  asio::io_context context_;
  RealClock clock_;
  std::vector<std::unique_ptr<Server>> servers_;
  std::vector<std::unique_ptr<ScriptedServer>> peers_;
  std::vector<std::shared_ptr<Client>> clients_;
  TaskGroup group_;
};

// A CA and what it has signed for "server.test" and 127.0.0.1.
struct Pki {
  std::string ca_key, ca_cert, server_key, server_cert, client_key, client_cert;
  static const Pki& Get() {
    static const Pki pki = Make();
    return pki;
  }
  static Pki Make();
  std::shared_ptr<TlsContext> Server(bool require_client = false) const;
  std::shared_ptr<TlsContext> Client(TlsOptions options = {}) const;  // trusts the CA unless told otherwise
};

class ScriptedServer {
 public:
  ScriptedServer(Net& net, Script script);
  [[nodiscard]] uint16_t port() const { return port_; }
  [[nodiscard]] int connections() const { return connections_; }
  [[nodiscard]] Url url() const { return {.scheme = "http", .host = "127.0.0.1", .port = port_}; }

 private:
  using Acceptor = asio::basic_socket_acceptor<asio::ip::tcp, Executor>;
  static Task<> Accept(ScriptedServer* self);
  static Task<> Serve(ScriptedServer* self, internal::TcpSocket socket, int number);
  Net& net_;
  Script script_;
  Acceptor acceptor_;
  uint16_t port_ = 0;
  int connections_ = 0;
};

// Reads until `text` has been seen; returns all that was read, or what came before the end.
Task<std::string> ReadUntil(Stream& stream, std::string text);
Task<std::string> ReadAll(Stream& stream);

}  // namespace vck::http::testing
