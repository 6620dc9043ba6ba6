// vch-kubelet: parses flags, wires, runs.
#include <csignal>
#include <cstdio>
#include <functional>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#ifdef __GLIBC__
#include <malloc.h>
#endif
#include <sys/resource.h>

#include "async/clock.h"
#include "base/log.h"
#include "flags.h"
#include "node/app.h"

int main(int argc, char** argv) {
  auto [line, text, exit_code] = vck::ParseCommandLine({argv + 1, argv + argc});
  if (!line) {
    std::fputs(text.c_str(), exit_code == 0 ? stdout : stderr);
    return exit_code;
  }
#ifdef __GLIBC__
  // The few other threads are no reason for heaps of their own: some MiB less with a thousand pods.
  mallopt(M_ARENA_MAX, 1);
#endif
  vck::SetLogFormat(line->log_format);
  vck::SetLogVerbosity(line->verbosity);
  // Some ten thousand lines, for GET /logs/.
  static vck::LogMemory log(size_t{1} << 20);
  vck::SetLogMemory(&log);
  // A peer that closes first is an error value, not a signal.
  std::signal(SIGPIPE, SIG_IGN);
  // A connection per pod VM, and usual soft limits are 1024.
  rlimit files{};
  if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
  }

  vck::asio::io_context context(1);
  vck::RealClock clock(context.get_executor());
  vck::node::App app(context.get_executor(), clock, std::move(line->options), std::move(line->inputs), log);
  vck::asio::signal_set signals(context, SIGINT, SIGTERM);
  std::function<void(vck::ErrorCode, int)> on_signal = [&](vck::ErrorCode ec, int) {
    if (ec) return;
    app.Stop();
    signals.async_wait(on_signal);
  };
  signals.async_wait(on_signal);
  vck::asio::co_spawn(context, app.Run(), [&, &code = exit_code](std::exception_ptr exception, vck::Status status) {
    if (exception) std::rethrow_exception(exception);
    if (!status.ok()) {
      std::fprintf(stderr, "vch-kubelet: %s\n", std::string(status.message()).c_str());
      code = 1;
    }
    signals.cancel();
    context.stop();
  });
  context.run();
  return exit_code;
}
