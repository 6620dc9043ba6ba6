#include <array>
#include <utility>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/basic_socket_acceptor.hpp>
#include <boost/asio/basic_stream_socket.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/write.hpp>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "tether/sim.h"

namespace vck::tether {
namespace {

using asio::local::stream_protocol;
using Socket = asio::basic_stream_socket<stream_protocol, Executor>;
using Acceptor = asio::basic_socket_acceptor<stream_protocol, Executor>;

constexpr size_t kMaxLine = size_t{1024} * 1024;

// One vCenter's connection.
struct Connection {
  explicit Connection(Socket s) : socket(std::move(s)), writers(socket.get_executor()) {}
  Socket socket;
  std::string out;  // not yet being written
  bool writing = false;
  TaskGroup writers;
};

Task<> Write(Connection* connection) {
  while (!connection->out.empty()) {
    std::string data = std::exchange(connection->out, {});
    auto [ec, n] = co_await asio::async_write(connection->socket, asio::buffer(data), asio::as_tuple(kUseTask));
    if (ec == asio::error::operation_aborted) ThrowCancelled();
    if (ec) {
      ErrorCode ignored;
      connection->socket.close(ignored);  // ends the reader, too
      co_return;
    }
  }
  connection->writing = false;
}

Task<> Read(Sim* sim, Connection* connection) {
  guestapi::FrameSplitter splitter(kMaxLine);
  std::array<char, size_t{16} * 1024> buffer;
  while (true) {
    auto [ec, n] = co_await connection->socket.async_read_some(asio::buffer(buffer), asio::as_tuple(kUseTask));
    if (ec == asio::error::operation_aborted && connection->socket.is_open()) ThrowCancelled();
    if (ec) co_return;
    Status status = splitter.Feed({buffer.data(), n}, [sim](std::string_view line) {
      if (Status handled = sim->Handle(line); !handled.ok()) {
        Log(Severity::kError, "Line of vCenter not understood", {{"err", handled}});
      }
      return absl::OkStatus();
    });
    if (!status.ok()) {
      Log(Severity::kError, "Connection of vCenter given up", {{"err", status}});
      co_return;
    }
  }
}

Task<> Serve(Sim* sim, Socket socket) {
  Connection connection(std::move(socket));
  sim->Connected([&connection](std::string line) {
    connection.out += line;
    if (!std::exchange(connection.writing, true)) connection.writers.Spawn("write", Write(&connection));
  });
  bool cancelled = false;
  try {
    co_await Read(sim, &connection);
  } catch (const boost::system::system_error& e) {
    if (!IsCancelled(e)) throw;
    cancelled = true;
  }
  if (cancelled) co_await asio::this_coro::reset_cancellation_state(asio::disable_cancellation());
  sim->Disconnected();
  connection.writers.Cancel();
  (void)co_await connection.writers.Join();
  if (cancelled) {
    co_await asio::this_coro::reset_cancellation_state(asio::enable_terminal_cancellation());
    ThrowCancelled();
  }
}

struct RemoveFile {
  std::string path;
  ~RemoveFile() { ::unlink(path.c_str()); }
};

}  // namespace

Task<Status> ServeControl(Sim* sim, std::string path) {
  auto executor = co_await asio::this_coro::executor;
  if (path.size() >= sizeof(sockaddr_un::sun_path))
    co_return absl::InvalidArgumentError(absl::StrCat(path, ": too long for a socket"));
  stream_protocol::endpoint endpoint(path);
  ErrorCode ec;
  {
    Socket probe(executor);
    probe.connect(endpoint, ec);
    if (!ec) co_return absl::AlreadyExistsError(absl::StrCat(path, ": somebody listens there"));
  }
  // Left behind by one that was killed. Nothing but a socket is removed.
  struct stat info{};
  if (::lstat(path.c_str(), &info) == 0 && S_ISSOCK(info.st_mode)) ::unlink(path.c_str());
  Acceptor acceptor(executor);
  acceptor.open(endpoint.protocol(), ec);
  if (!ec) acceptor.bind(endpoint, ec);
  if (!ec) acceptor.listen(asio::socket_base::max_listen_connections, ec);
  if (ec) co_return absl::UnavailableError(absl::StrCat(path, ": ", ec.message()));
  RemoveFile remove{path};
  Log(Severity::kInfo, "Guests wait for vCenter", {{"socket", path}});
  while (true) {
    auto [failed, socket] = co_await acceptor.async_accept(asio::as_tuple(kUseTask));
    if (failed == asio::error::operation_aborted) ThrowCancelled();
    if (failed) co_return absl::UnavailableError(absl::StrCat(path, ": ", failed.message()));
    Log(Severity::kInfo, "vCenter connected");
    co_await Serve(sim, std::move(socket));
    Log(Severity::kInfo, "vCenter disconnected", {{"guests", sim->guests()}});
  }
}

}  // namespace vck::tether
