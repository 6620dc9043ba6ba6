// Simulated guests (as guest-sim) whose commands are real: exec runs a program of this machine, a log is what the query
// of its container's name says, and port-forward goes to this machine's ports. For tests and measurements of the
// kubelet API with kubectl, without a virtual machine for each pod; take it for guest-sim: tools/lab up --bin.
//   /v1/attach                          tells which lines it hears
//   /v1/logs of container "lines-N"     N lines of 100 bytes
//   /v1/logs of any other               one line, and with follow another each 100 ms
//   /v1/stats                           containers "c" and "lines-20000" use what this very process and its commands
//   use
#include <csignal>
#include <cstdio>
#include <fstream>
#include <string>
#include <vector>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <sys/resource.h>
#include <unistd.h>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "async/clock.h"
#include "async/task_group.h"
#include "base/log.h"
#include "guestos/exec_session.h"
#include "guestos/process.h"
#include "guestos/query.h"
#include "guestos/stats.h"
#include "guestos/stream_peer.h"
#include "tether/sim.h"
#include "tether/streams.h"

using namespace vck;

namespace {

Task<Status> Copy(http::Stream* from, http::Stream* to, std::string first) {
  if (!first.empty()) CO_RETURN_IF_ERROR(co_await to->Write(first));
  while (true) {
    std::string data(size_t{16} * 1024, '\0');
    CO_ASSIGN_OR_RETURN(size_t n, co_await from->ReadSome(std::span<char>(data)));
    if (n == 0) break;
    data.resize(n);
    CO_RETURN_IF_ERROR(co_await to->Write(data));
  }
  co_await to->ShutdownWrite();
  co_return absl::OkStatus();
}

class HostStreams : public tether::Streams {
 public:
  HostStreams(Executor executor, Clock& clock) : executor_(executor), clock_(clock), reaper_(executor, clock) {}

  Task<Status> Serve(http::Exchange* exchange) override {
    auto query = guestos::Query::Parse(exchange->request().target);
    if (!query.ok()) co_return query.status();
    if (query->path() == "/v1/exec") {
      std::vector<std::string> command = query->All("command");
      co_return co_await Exec(exchange, *std::move(query), std::move(command));
    }
    if (query->path() == "/v1/attach") {
      co_return co_await Exec(exchange, *std::move(query), {"sh", "-c", "while read line; do echo heard $line; done"});
    }
    if (query->path() == "/v1/logs") co_return co_await Logs(exchange, *std::move(query));
    if (query->path() == "/v1/stats") co_return co_await Stats(exchange);
    if (query->path() == "/v1/portforward") co_return co_await PortForward(exchange, *std::move(query));
    co_return co_await exchange->Respond(tether::ErrorResponse(404, "NotFound", "no such endpoint"));
  }

 private:
  Task<Status> Exec(http::Exchange* exchange, guestos::Query query, std::vector<std::string> words) {
    std::string leftover;
    CO_ASSIGN_OR_RETURN(auto stream, co_await exchange->Upgrade({{"Upgrade", "vch-stream/1"}}, &leftover));
    auto peer = std::make_shared<guestos::StreamPeer>(std::move(stream), std::move(leftover));
    guestos::Command command;
    command.argv = {"/usr/bin/env"};
    for (std::string& word : words) command.argv.push_back(std::move(word));
    command.env = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/tmp"};
    command.new_session = true;
    auto pipes = guestos::MakePipes(
        executor_, {.in = query.Flag("stdin"), .out = query.Flag("stdout"), .err = query.Flag("stderr")}, ::getuid(),
        ::getgid());
    if (!pipes.ok()) co_return pipes.status();
    auto process = std::make_shared<guestos::StartedProcess>();
    {
      guestos::ProcessEnds ends = std::move(pipes->second);
      command.files = ends.Files();
      CO_ASSIGN_OR_RETURN(process->child, reaper_.Spawn(command));
    }
    process->io = std::move(pipes->first);
    co_await guestos::ServeProcess(&clock_, std::move(process), std::move(peer));
    co_return absl::OkStatus();
  }

  Task<Status> Logs(http::Exchange* exchange, guestos::Query query) {
    CO_RETURN_IF_ERROR(co_await exchange->Begin(200, {{"Content-Type", "text/plain"}}));
    const std::string name(query.Get("container"));
    int64_t lines = 1;
    if (name.rfind("lines-", 0) == 0) (void)absl::SimpleAtoi(name.substr(6), &lines);
    std::string text;
    for (int64_t i = 0; i < lines; ++i) {
      std::string line = absl::StrCat("line ", i, " ");
      line.resize(99, '.');
      absl::StrAppend(&text, line, "\n");
      if (text.size() < size_t{60} * 1024 && i + 1 < lines) continue;
      CO_RETURN_IF_ERROR(co_await exchange->WriteSome(text));
      text.clear();
    }
    while (query.Flag("follow")) {
      co_await clock_.Sleep(absl::Milliseconds(100));
      CO_RETURN_IF_ERROR(co_await exchange->WriteSome(absl::StrCat("line ", lines++, "\n")));
    }
    co_return co_await exchange->Finish();
  }

  Task<Status> Stats(http::Exchange* exchange) {
    guestos::Usage usage;
    for (int who : {RUSAGE_SELF, RUSAGE_CHILDREN}) {
      rusage used{};
      getrusage(who, &used);
      usage.cpu_user_nanos += Nanos(used.ru_utime);
      usage.cpu_system_nanos += Nanos(used.ru_stime);
      usage.page_faults += used.ru_minflt + used.ru_majflt;
      usage.major_page_faults += used.ru_majflt;
    }
    usage.cpu_nanos = usage.cpu_user_nanos + usage.cpu_system_nanos;
    int64_t pages = 0, resident = 0;
    std::ifstream("/proc/self/statm") >> pages >> resident;
    usage.memory_bytes = usage.working_set_bytes = usage.rss_bytes = resident * ::sysconf(_SC_PAGESIZE);
    json::Object out = guestos::ReadStats({.scratch = "/tmp"}, clock_.WallNow());
    json::Array containers;
    for (const char* name : {"c", "lines-20000"}) {
      json::Object container = guestos::ToJson(usage);
      container["name"] = name;
      containers.push_back(std::move(container));
    }
    out["containers"] = std::move(containers);
    out["pod"] = guestos::ToJson(usage);
    co_return co_await exchange->Respond(
        {200, {{"Content-Type", "application/json"}}, json::Serialize(std::move(out))});
  }
  static int64_t Nanos(const timeval& t) { return int64_t{t.tv_sec} * 1'000'000'000 + int64_t{t.tv_usec} * 1000; }

  Task<Status> PortForward(http::Exchange* exchange, guestos::Query query) {
    auto port = query.Number("port", 1);
    if (!port.ok() || !*port) co_return absl::InvalidArgumentError("port");
    auto target = co_await http::Dial(clock_, "127.0.0.1", static_cast<uint16_t>(**port), nullptr, {});
    if (!target.ok()) {
      co_return co_await exchange->Respond(tether::ErrorResponse(
          502, "BadGateway",
          absl::StrCat("failed to connect to localhost:", **port, " inside the pod: ", target.status().message())));
    }
    std::string leftover;
    CO_ASSIGN_OR_RETURN(auto client, co_await exchange->Upgrade({{"Upgrade", "vch-tunnel/1"}}, &leftover));
    TaskGroup group(executor_);
    group.Spawn("to the pod", Copy(client.get(), target->get(), std::move(leftover)));
    group.Spawn("from the pod", Copy(target->get(), client.get(), ""));
    (void)co_await group.Join();
    co_return absl::OkStatus();
  }

  Executor executor_;
  Clock& clock_;
  guestos::Reaper reaper_;
};

Task<Status> Run(tether::Sim* sim, std::string control) {
  Status status;
  bool cancelled = false;
  try {
    status = co_await tether::ServeControl(sim, std::move(control));
  } catch (const boost::system::system_error& e) {
    if (!IsCancelled(e)) throw;
    cancelled = true;
  }
  if (cancelled) co_await asio::this_coro::reset_cancellation_state(asio::disable_cancellation());
  co_await sim->Close();
  co_return status;
}

}  // namespace

int main(int argc, char** argv) {
  std::string control;
  for (int i = 1; i + 1 < argc; ++i) {
    if (std::string_view(argv[i]) == "--control") control = argv[i + 1];
  }
  if (control.empty()) {
    std::fprintf(stderr, "usage: %s --control SOCKET\n", argv[0]);
    return 2;
  }
  std::signal(SIGPIPE, SIG_IGN);
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
  }
  asio::io_context context(1);
  RealClock clock(context.get_executor());
  HostStreams streams(context.get_executor(), clock);
  tether::Sim sim(context.get_executor(), clock, {.streams = &streams});
  asio::cancellation_signal stop;
  asio::signal_set signals(context, SIGINT, SIGTERM);
  signals.async_wait([&](ErrorCode ec, int) {
    if (!ec) stop.emit(asio::cancellation_type::terminal);
  });
  asio::co_spawn(context, Run(&sim, control),
                 asio::bind_cancellation_slot(stop.slot(), [&](std::exception_ptr, Status status) {
                   if (!status.ok()) std::fprintf(stderr, "%s\n", std::string(status.message()).c_str());
                   context.stop();
                 }));
  context.run();
  return 0;
}
