// A pod for tests whose containers really run: by crun, on this machine, in a mount namespace of the test's own. The
// image is busybox. Limits by cgroup are left to tests in a guest.
#pragma once

#include <chrono>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>

#include "async/timeout.h"
#include "gtest/gtest.h"
#include "guestapi/stream.h"
#include "guestos/crun_runtime.h"
#include "guestos/streams.h"
#include "guestos/temp_dir.h"
#include "http/client.h"
#include "http/server.h"

namespace vck::guestos {

// Frames of a session as they came.
struct SessionResult {
  std::string out, err;
  std::optional<guestapi::StreamStatus> status;
};

class CrunPod : public ::testing::Test {
 protected:
  // "": containers can be run here; else why not.
  static std::string Unusable();
  // The image as a loop device; made once.
  static std::string ImageDevice();
  static void TearDownTestSuite();

  void SetUp() override;
  void TearDown() override;

  template <class T>
  T Run(Task<T> task) {
    std::optional<T> out;
    std::exception_ptr exception;
    bool done = false;
    asio::co_spawn(context_, std::move(task), [&](std::exception_ptr e, T value) {
      exception = e;
      if (!e) out.emplace(std::move(value));
      done = true;
    });
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    context_.restart();
    while (!done && std::chrono::steady_clock::now() < end) context_.run_one_for(std::chrono::milliseconds(100));
    if (exception) std::rethrow_exception(exception);
    if (!out) throw std::runtime_error("no end within a minute");
    return std::move(*out);
  }

  // ---- the pod ----
  static guestapi::ContainerSpec Shell(std::string script);
  void Apply();  // pod_, as a new revision
  // Starts it as the next attempt of that name and returns the run's id.
  std::string Start(const guestapi::ContainerSpec& container);
  // The next event of a run.
  template <class Event>
  Event Await(const std::string& run_id) {
    tether::Event event = Run(NextEvent(run_id));
    if (auto* failed = std::get_if<tether::StartFailed>(&event); failed != nullptr) failure_ = *failed;
    if (auto* wanted = std::get_if<Event>(&event)) return *wanted;
    ADD_FAILURE() << "another event than was wanted: " << event.index() << " " << failure_.message;
    return {};
  }
  // Applies, starts, and waits for the end.
  tether::Exited RunToEnd(const guestapi::ContainerSpec& container);

  // ---- the streams ----
  StatusOr<http::Response> Get(const std::string& target);
  // Sends `input` and the end of it, and reads to the end.
  StatusOr<SessionResult> Session(const std::string& target, std::string input, bool end_input = true);
  struct Client {
    std::unique_ptr<http::Stream> stream;
    guestapi::StreamDecoder decoder;
    SessionResult seen;
  };
  StatusOr<std::unique_ptr<Client>> Open(std::string target);
  Status Send(Client* client, guestapi::StreamChannel channel, std::string data);
  // Until `text` has come on stdout (or everything, for "").
  Status ReadUntil(Client* client, std::string text);
  // Raw bytes there and, to their end, back.
  Task<StatusOr<std::string>> Exchange(Client* client, std::string bytes);
  void AwaitOutput(const std::string& container, const std::string& text);
  std::string Output(const std::string& container) {
    auto response = Get("/v1/logs?container=" + container);
    return response.ok() ? response->body : response.status().ToString();
  }

  std::string unusable_ = Unusable();  // the first: threads see what is mounted when they are made
  asio::io_context context_{1};
  RealClock clock_{context_.get_executor()};
  Reaper reaper_{context_.get_executor(), clock_};
  asio::thread_pool pool_{2};
  TempDir dir_;
  guestapi::GuestSpec pod_;
  CrunOptions options_;
  std::unique_ptr<CrunRuntime> runtime_;
  std::unique_ptr<GuestStreams> streams_;
  std::unique_ptr<tether::Runtime> handle_;
  std::unique_ptr<http::Server> server_;
  std::unique_ptr<TaskGroup> group_;
  tether::StartFailed failure_;
  bool waits_ = false;  // what the lifecycle says of every container

 private:
  Task<tether::Event> NextEvent(std::string run_id);
  Task<StatusOr<http::Response>> DoGet(std::string target);
  Task<StatusOr<std::unique_ptr<Client>>> DoOpen(std::string target);
  Task<Status> DoSend(Client* client, std::string frame);
  Task<Status> DoRead(Client* client, std::string text);
  Task<Status> ShutDown();

  std::deque<std::pair<std::string, tether::Event>> events_;
  Signal event_;
  int runs_ = 0;
  std::map<std::string, int> attempts_;
};

}  // namespace vck::guestos
