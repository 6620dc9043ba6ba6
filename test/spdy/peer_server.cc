// A SPDY/3.1 server for peers of another make: test/spdy/peer speaks Go's spdystream to it. Prints its port, and serves
// until its standard input ends. What it does with a stream is in the stream's headers:
//   mode: echo                     sends back what comes
//   mode: sink                     takes all, then answers its length and SHA-256
//   mode: source, bytes: N         sends N bytes, the i-th being i % 251
//   mode: headers                  answers with the headers it got, in the reply
//   mode: refuse, reset, reset-late  resets at once, after the reply, after the first data
#include <array>
#include <cstdio>
#include <map>
#include <string>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/basic_stream_descriptor.hpp>
#include <boost/asio/read.hpp>
#include <unistd.h>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "async/clock.h"
#include "async/task_group.h"
#include "base/digest.h"
#include "http/server.h"
#include "spdy/connection.h"

using namespace vck;

namespace {

class Session : public spdy::Events {
 public:
  Session(Executor executor, std::unique_ptr<http::Stream> stream, std::string leftover)
      : connection_(std::move(stream), std::move(leftover), {}), group_(executor) {}

  Task<> Run() {
    group_.Spawn("read", Read(this));
    (void)co_await group_.Join();
  }

  void OnStream(uint32_t id, http::Headers headers) override {
    spdy::Session& session = connection_.session();
    const std::string mode(headers.Get("mode").value_or(""));
    modes_[id] = mode;
    if (mode == "refuse") {
      session.Reset(id, spdy::ResetStatus::kRefusedStream);
      return;
    }
    session.Reply(id, mode == "headers" ? headers : http::Headers());
    if (mode == "reset") session.Reset(id, spdy::ResetStatus::kCancel);
    if (mode == "headers") session.Send(id, "", true);
    if (mode == "source") {
      int64_t bytes = 0;
      (void)absl::SimpleAtoi(headers.Get("bytes").value_or(""), &bytes);
      group_.Spawn("source", Source(this, id, bytes));
    }
  }
  void OnData(uint32_t id, std::string_view piece) override {
    const std::string& mode = modes_[id];
    if (mode == "reset-late") connection_.session().Reset(id, spdy::ResetStatus::kCancel);
    if (mode == "echo") echo_.emplace_back(id, std::string(piece));
    if (mode == "sink") taken_[id].append(piece);
  }
  void OnEnd(uint32_t id) override {
    const std::string& mode = modes_[id];
    if (mode == "echo") echo_.emplace_back(id, "");
    if (mode == "sink") {
      const std::string& all = taken_[id];
      connection_.session().Send(id, absl::StrCat(all.size(), " ", Sha256Hex(all)), true);
      taken_.erase(id);
    }
  }
  void OnReset(uint32_t id, spdy::ResetStatus) override { taken_.erase(id); }

 private:
  static Task<> Read(Session* self) {
    while (true) {
      auto more = co_await self->connection_.Receive(*self);
      if (!more.ok() || !*more) break;
      // Nothing more is read before this has been taken.
      auto echo = std::exchange(self->echo_, {});
      for (const auto& [id, text] : echo) (void)co_await self->connection_.Send(id, text, text.empty());
      (void)co_await self->connection_.Flush();
    }
    self->group_.Cancel();
  }
  static Task<> Source(Session* self, uint32_t id, int64_t bytes) {
    std::string pattern;
    for (int i = 0; i < 251 * 100; ++i) pattern.push_back(static_cast<char>(i % 251));
    while (bytes > 0) {
      const auto n = static_cast<size_t>(std::min<int64_t>(bytes, static_cast<int64_t>(pattern.size())));
      bytes -= static_cast<int64_t>(n);
      const std::string_view part = std::string_view(pattern).substr(0, n);
      if (!(co_await self->connection_.Send(id, part, bytes == 0)).ok()) co_return;
    }
  }

  spdy::Connection connection_;
  std::map<uint32_t, std::string> modes_;
  std::map<uint32_t, std::string> taken_;
  std::vector<std::pair<uint32_t, std::string>> echo_;
  TaskGroup group_;
};

Task<Status> Serve(http::Exchange& exchange) {
  std::string leftover;
  CO_ASSIGN_OR_RETURN(auto stream, co_await exchange.Upgrade({{"Upgrade", "SPDY/3.1"}}, &leftover));
  Session session(co_await asio::this_coro::executor, std::move(stream), std::move(leftover));
  co_await session.Run();
  co_return absl::OkStatus();
}

}  // namespace

int main() {
  asio::io_context context(1);
  RealClock clock(context.get_executor());
  auto server = http::Server::Listen(context.get_executor(), clock, {}, [](http::Exchange& e) { return Serve(e); });
  if (!server.ok()) return 1;
  std::printf("%d\n", (*server)->port());
  std::fflush(stdout);
  asio::co_spawn(context, (*server)->Run(), [](std::exception_ptr, Status) {});
  asio::posix::basic_stream_descriptor<Executor> input(context.get_executor(), ::dup(0));
  std::array<char, 1> byte{};
  asio::async_read(input, asio::buffer(byte), [&](ErrorCode, size_t) { context.stop(); });
  context.run();
  // The server's coroutines go down with the context.
  std::_Exit(0);
}
