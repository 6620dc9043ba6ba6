// guest-sim: simulated guests for a simulated vCenter; the tethers of all pod VMs in one process.
#include <csignal>
#include <cstdio>
#include <exception>
#include <string>

#include <CLI/CLI.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <sys/resource.h>

#include "async/clock.h"
#include "base/log.h"
#include "tether/sim.h"

namespace {

struct Flags {
  std::string control;
  std::string boot_delay = "0ms";
  std::string log_format = "text";
  int verbosity = 0;
  vck::tether::SimOptions sim;
};

// A guest takes a listening socket and one for each connection.
void RaiseDescriptorLimit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

vck::Task<vck::Status> Run(vck::tether::Sim* sim, std::string control) {
  vck::Status status;
  bool cancelled = false;
  try {
    status = co_await vck::tether::ServeControl(sim, std::move(control));
  } catch (const boost::system::system_error& e) {
    if (!vck::IsCancelled(e)) throw;
    cancelled = true;
  }
  if (cancelled) co_await vck::asio::this_coro::reset_cancellation_state(vck::asio::disable_cancellation());
  co_await sim->Close();
  co_return status;
}

}  // namespace

int main(int argc, char** argv) {
  Flags flags;
  CLI::App app("Simulated guests: serves the tethers of all pod VMs that a simulated vCenter powers on.", "guest-sim");
  app.set_version_flag("--version", VCK_VERSION);
  app.add_option("--control", flags.control, "unix socket to listen on for vCenter; removed at exit")->required();
  app.add_option("--port", flags.sim.port, "port of tethers whose guest configuration names none")
      ->capture_default_str();
  app.add_option("--boot-delay", flags.boot_delay, "time from power-on until the tether runs, as in 500ms or 3s")
      ->capture_default_str();
  app.add_option("--log-format", flags.log_format, "text or json")
      ->check(CLI::IsMember({"text", "json"}))
      ->capture_default_str();
  app.add_option("-v,--v", flags.verbosity, "verbosity of the log")->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  if (!absl::ParseDuration(flags.boot_delay, &flags.sim.boot_delay) || flags.sim.boot_delay < absl::ZeroDuration()) {
    std::fprintf(stderr, "guest-sim: --boot-delay: \"%s\" is not a duration like 500ms\n", flags.boot_delay.c_str());
    return 2;
  }
  vck::SetLogFormat(flags.log_format == "json" ? vck::LogFormat::kJson : vck::LogFormat::kText);
  vck::SetLogVerbosity(flags.verbosity);
  std::signal(SIGPIPE, SIG_IGN);
  RaiseDescriptorLimit();

  vck::asio::io_context context(1);
  vck::RealClock clock(context.get_executor());
  vck::tether::Sim sim(context.get_executor(), clock, flags.sim);
  vck::asio::cancellation_signal stop;
  vck::asio::signal_set signals(context, SIGINT, SIGTERM);
  signals.async_wait([&](vck::ErrorCode ec, int) {
    if (!ec) stop.emit(vck::asio::cancellation_type::terminal);
  });
  int exit_code = 0;
  auto done = [&](std::exception_ptr exception, vck::Status status) {
    if (exception) std::rethrow_exception(exception);
    if (!status.ok()) {
      std::fprintf(stderr, "guest-sim: %s\n", std::string(status.message()).c_str());
      exit_code = 1;
    }
    signals.cancel();
  };
  vck::asio::co_spawn(context, Run(&sim, flags.control), vck::asio::bind_cancellation_slot(stop.slot(), done));
  context.run();
  return exit_code;
}
