#include "guestos/process_io.h"

#include <array>
#include <cerrno>
#include <cstring>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/basic_stream_socket.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/write.hpp>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

namespace vck::guestos {
namespace {

using asio::local::stream_protocol;

constexpr size_t kReadBytes = size_t{32} * 1024;
constexpr absl::Duration kSilence = absl::Seconds(1);

Status MakePipe(Fd* read, Fd* write) {
  std::array<int, 2> fds{};
  if (::pipe2(fds.data(), O_CLOEXEC) != 0) return absl::ErrnoToStatus(errno, "pipe");
  read->Reset(fds[0]);
  write->Reset(fds[1]);
  return absl::OkStatus();
}

// Asio wants its ends non-blocking; the process's stay as they are.
Status SetNonBlocking(const Fd& fd) {
  if (::fcntl(fd.get(), F_SETFL, ::fcntl(fd.get(), F_GETFL) | O_NONBLOCK) < 0) {
    return absl::ErrnoToStatus(errno, "fcntl");
  }
  return absl::OkStatus();
}

StatusOr<ProcessIo> FromMaster(Executor executor, Fd master) {
  Fd copy(::fcntl(master.get(), F_DUPFD_CLOEXEC, 3));
  if (!copy.valid()) return absl::ErrnoToStatus(errno, "fcntl");
  RETURN_IF_ERROR(SetNonBlocking(master));  // of both: they share their flags
  ProcessIo io;
  io.out.emplace(executor, master.Release());
  io.in.emplace(executor, copy.Release());
  io.tty = true;
  return io;
}

// The descriptor that came with a message.
Fd ReceiveDescriptor(int socket) {
  char byte = 0;
  iovec data{&byte, 1};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  if (::recvmsg(socket, &message, MSG_CMSG_CLOEXEC) <= 0) return Fd();
  const cmsghdr* header = CMSG_FIRSTHDR(&message);
  if (header == nullptr || header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) return Fd();
  int fd = -1;
  std::memcpy(&fd, CMSG_DATA(header), sizeof fd);
  return Fd(fd);
}

}  // namespace

std::vector<std::pair<int, int>> ProcessEnds::Files() const {
  std::vector<std::pair<int, int>> files;
  int number = 0;
  for (const Fd* fd : {&in, &out, &err}) {
    if (fd->valid()) files.emplace_back(fd->get(), number);
    ++number;
  }
  return files;
}

StatusOr<std::pair<ProcessIo, ProcessEnds>> MakePipes(Executor executor, WantedStreams wanted, uint32_t uid,
                                                      uint32_t gid) {
  std::pair<ProcessIo, ProcessEnds> out;
  auto& [io, ends] = out;
  auto make = [&](bool write, std::optional<Descriptor>* ours, Fd* theirs) -> Status {
    Fd end;
    RETURN_IF_ERROR(write ? MakePipe(theirs, &end) : MakePipe(&end, theirs));
    RETURN_IF_ERROR(SetNonBlocking(end));
    if (::fchown(theirs->get(), uid, gid) != 0) return absl::ErrnoToStatus(errno, "fchown");
    ours->emplace(executor, end.Release());
    return absl::OkStatus();
  };
  if (wanted.in) RETURN_IF_ERROR(make(true, &io.in, &ends.in));
  if (wanted.out) RETURN_IF_ERROR(make(false, &io.out, &ends.out));
  if (wanted.err) RETURN_IF_ERROR(make(false, &io.err, &ends.err));
  return out;
}

StatusOr<ConsoleSocket> ConsoleSocket::Listen(Executor executor, std::string path) {
  if (path.size() >= sizeof(sockaddr_un::sun_path)) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": too long for a socket"));
  }
  stream_protocol::endpoint endpoint(path);
  Acceptor acceptor(executor);
  ErrorCode ec;
  acceptor.open(endpoint.protocol(), ec);
  if (!ec) acceptor.bind(endpoint, ec);
  if (!ec) acceptor.listen(1, ec);
  if (ec) return absl::UnavailableError(absl::StrCat(path, ": ", ec.message()));
  return ConsoleSocket(std::move(path), std::move(acceptor));
}

ConsoleSocket::~ConsoleSocket() {
  if (!path_.empty()) ::unlink(path_.c_str());
}

Task<StatusOr<ProcessIo>> ConsoleSocket::Receive() {
  auto executor = co_await asio::this_coro::executor;
  auto [failed, socket] = co_await acceptor_.async_accept(asio::as_tuple(kUseTask));
  if (failed == asio::error::operation_aborted) ThrowCancelled();
  if (failed) co_return absl::UnavailableError(absl::StrCat(path_, ": ", failed.message()));
  auto [ec] = co_await socket.async_wait(asio::socket_base::wait_read, asio::as_tuple(kUseTask));
  if (ec == asio::error::operation_aborted) ThrowCancelled();
  Fd master = ReceiveDescriptor(socket.native_handle());
  if (ec || !master.valid()) co_return absl::UnavailableError(absl::StrCat(path_, ": no terminal came"));
  co_return FromMaster(executor, std::move(master));
}

Status SetTerminalSize(const ProcessIo& io, guestapi::TerminalSize size) {
  if (!io.tty || !io.out) return absl::FailedPreconditionError("there is no terminal");
  winsize window{};
  window.ws_col = static_cast<unsigned short>(size.width);
  window.ws_row = static_cast<unsigned short>(size.height);
  // boost's native_handle() is not const
  const int fd = const_cast<Descriptor&>(*io.out).native_handle();
  if (::ioctl(fd, TIOCSWINSZ, &window) != 0) return absl::ErrnoToStatus(errno, "TIOCSWINSZ");
  return absl::OkStatus();
}

Task<Status> ReadOutput(Clock* clock, Descriptor* from, guestapi::StreamChannel channel, const bool* exited,
                        OutputConsumer* consumer) {
  while (true) {
    // A buffer is held only while there is something in it: most streams are silent most of the time.
    std::string data(kReadBytes, '\0');
    const ssize_t n = ::read(from->native_handle(), data.data(), data.size());
    if (n > 0) {
      data.resize(static_cast<size_t>(n));
      CO_RETURN_IF_ERROR(co_await consumer->Take(channel, std::move(data)));
      continue;
    }
    // EIO is how a terminal tells that nobody holds its other end any more.
    if (n == 0 || (errno != EAGAIN && errno != EINTR)) co_return absl::OkStatus();
    data = {};
    bool silent = false;
    Clock::Timer timer;
    if (*exited) {
      timer = clock->Schedule(clock->Now() + kSilence, [from, &silent] {
        silent = true;
        from->cancel();
      });
    }
    auto [ec] = co_await from->async_wait(asio::posix::descriptor_base::wait_read, asio::as_tuple(kUseTask));
    if (silent) co_return absl::OkStatus();
    if (ec == asio::error::operation_aborted && !*exited) ThrowCancelled();
    if (ec && ec != asio::error::operation_aborted) co_return absl::OkStatus();
  }
}

Task<Status> WriteInput(Descriptor* to, std::string_view data) {
  auto [ec, n] = co_await asio::async_write(*to, asio::buffer(data.data(), data.size()), asio::as_tuple(kUseTask));
  if (ec == asio::error::operation_aborted) ThrowCancelled();
  if (ec) co_return absl::CancelledError("the process does not read");
  co_return absl::OkStatus();
}

}  // namespace vck::guestos
