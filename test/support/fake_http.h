// An http::Client that answers from a function of the test, on fake time.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "async/clock.h"
#include "async/timeout.h"
#include "async/wait.h"
#include "http/client.h"

namespace vck::testing {

// A response body that the test writes while somebody reads it.
class FakePipe {
 public:
  void Push(std::string bytes) {
    if (!bytes.empty()) pieces_.push_back(std::move(bytes));
    more_.NotifyAll();
  }
  void End() { Finish(absl::OkStatus()); }
  void Break() { Finish(absl::UnavailableError("connection reset by peer")); }
  // The reader was destroyed.
  [[nodiscard]] bool abandoned() const { return abandoned_; }

 private:
  friend class FakeBody;
  void Finish(Status status) {
    ended_ = true;
    status_ = std::move(status);
    more_.NotifyAll();
  }
  std::deque<std::string> pieces_;
  bool ended_ = false, abandoned_ = false;
  Status status_;
  Signal more_;
};

struct FakeReply {
  int status = 200;
  std::string body;                 // whole; or, with pieces or a pipe, what comes first
  std::vector<std::string> pieces;  // read one by one after `body`; a break or a pause where the text says so
  std::shared_ptr<FakePipe> pipe;   // read after the pieces; without one the body ends
  http::Headers headers;
  absl::Duration delay;  // before the response begins
  Status error;          // instead of a response

  // For `pieces`: the connection breaks here; the reader waits forever; it waits for so many seconds.
  static std::string Break() { return std::string("\x01break"); }
  static std::string Silence() { return std::string("\x01silence"); }
  static std::string Pause(int seconds) { return "\x01pause " + std::to_string(seconds); }
};

class FakeBody : public http::BodyReader {
 public:
  FakeBody(Clock& clock, FakeReply reply) : clock_(clock), pipe_(std::move(reply.pipe)) {
    if (!reply.body.empty()) pieces_.push_back(std::move(reply.body));
    for (std::string& piece : reply.pieces) pieces_.push_back(std::move(piece));
  }
  FakeBody(const FakeBody&) = delete;
  FakeBody& operator=(const FakeBody&) = delete;
  ~FakeBody() override {
    if (pipe_) pipe_->abandoned_ = true;
  }

  Task<StatusOr<std::string>> Read() override {
    while (!pieces_.empty()) {
      std::string piece = std::move(pieces_.front());
      pieces_.pop_front();
      if (piece == FakeReply::Break()) co_return absl::UnavailableError("connection reset by peer");
      if (piece == FakeReply::Silence()) co_await never_.Wait();
      if (piece.rfind("\x01pause ", 0) == 0) {
        co_await clock_.Sleep(absl::Seconds(std::stoi(piece.substr(7))));
        continue;
      }
      if (!piece.empty()) co_return piece;
    }
    if (!pipe_) co_return std::string();
    while (pipe_->pieces_.empty() && !pipe_->ended_) co_await pipe_->more_.Wait();
    if (pipe_->pieces_.empty()) {
      if (!pipe_->status_.ok()) co_return pipe_->status_;
      co_return std::string();
    }
    std::string piece = std::move(pipe_->pieces_.front());
    pipe_->pieces_.pop_front();
    co_return piece;
  }

 private:
  Clock& clock_;
  std::shared_ptr<FakePipe> pipe_;
  std::deque<std::string> pieces_;
  Event never_;
};

class FakeHttp : public http::Client {
 public:
  using Handler = std::function<FakeReply(const http::Request&)>;
  FakeHttp(Clock& clock, Handler handler) : clock_(clock), handler_(std::move(handler)) {}

  void Handle(Handler handler) { handler_ = std::move(handler); }
  // Everything that was asked, in order.
  [[nodiscard]] const std::vector<http::Request>& requests() const { return requests_; }
  [[nodiscard]] int tls_changes() const { return tls_changes_; }

  Task<StatusOr<http::Response>> Do(http::Request request, http::CallOptions options) override {
    FakeReply reply = Answer(request);
    if (reply.delay > options.timeout) {
      co_await clock_.Sleep(options.timeout);
      co_return absl::DeadlineExceededError("no response in time");
    }
    if (reply.delay > absl::ZeroDuration()) co_await clock_.Sleep(reply.delay);
    if (!reply.error.ok()) co_return reply.error;
    co_return http::Response{.status = reply.status, .headers = reply.headers, .body = reply.body};
  }
  Task<StatusOr<http::StreamingResponse>> Open(http::Request request, http::CallOptions options) override {
    FakeReply reply = Answer(request);
    if (reply.delay > options.timeout) {
      co_await clock_.Sleep(options.timeout);
      co_return absl::DeadlineExceededError("no response in time");
    }
    if (reply.delay > absl::ZeroDuration()) co_await clock_.Sleep(reply.delay);
    if (!reply.error.ok()) co_return reply.error;
    http::StreamingResponse response{.status = reply.status, .headers = reply.headers};
    response.body = std::make_unique<FakeBody>(clock_, std::move(reply));
    co_return response;
  }
  Task<StatusOr<http::Response>> Upload(http::Request request, int64_t /*size*/, http::BodySource source,
                                        http::CallOptions options) override {
    while (true) {
      auto piece = co_await source();
      if (!piece.ok()) co_return piece.status();
      if (piece->empty()) break;
      request.body += *piece;
    }
    co_return co_await Do(std::move(request), options);
  }
  void SetTls(std::shared_ptr<http::TlsContext> /*tls*/) override { ++tls_changes_; }
  Task<> Close() override { co_return; }
  [[nodiscard]] Stats stats() const override { return {.requests = static_cast<int64_t>(requests_.size())}; }

 private:
  FakeReply Answer(const http::Request& request) {
    requests_.push_back(request);
    return handler_(request);
  }
  Clock& clock_;
  Handler handler_;
  std::vector<http::Request> requests_;
  int tls_changes_ = 0;
};

}  // namespace vck::testing
