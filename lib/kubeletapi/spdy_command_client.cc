#include <map>
#include <utility>

#include "kubeletapi/command_client.h"
#include "spdy/connection.h"

namespace vck::kubeletapi {
namespace {

using guestapi::StreamChannel;

// A command has five streams; some more are refused one by one.
constexpr size_t kMaxStreams = 16;

enum class Kind { kError, kStdin, kStdout, kStderr, kResize };

std::optional<Kind> KindOf(std::string_view type) {
  if (type == "error") return Kind::kError;
  if (type == "stdin") return Kind::kStdin;
  if (type == "stdout") return Kind::kStdout;
  if (type == "stderr") return Kind::kStderr;
  if (type == "resize") return Kind::kResize;
  return std::nullopt;
}

class SpdyCommandClient : public CommandClient {
 public:
  SpdyCommandClient(std::unique_ptr<http::Stream> stream, std::string leftover, CommandVersion version,
                    CommandClientOptions options)
      : connection_(std::move(stream), std::move(leftover), {.max_streams = kMaxStreams}),
        version_(version),
        options_(std::move(options)) {
    const CommandStreams& s = options_.streams;
    // As the kubelet counts: what else comes does not hurt.
    expected_ = size_t{1} + (s.in ? 1 : 0) + (s.out ? 1 : 0) + (s.err ? 1 : 0) +
                (s.tty && version_ >= CommandVersion::kV3 ? 1 : 0);
  }

  Task<Status> Start() override { co_return absl::OkStatus(); }

  Task<StatusOr<bool>> Receive(CommandInput& input) override {
    Handler handler(this, &input);
    auto more = co_await connection_.Receive(handler);
    if (more.ok() && *more && !handler.status.ok()) co_return handler.status;
    co_return more;
  }

  [[nodiscard]] bool ready() const override { return streams_.size() >= expected_; }

  Task<Status> Write(StreamChannel output, std::string_view data) override {
    const uint32_t id = IdOf(output == StreamChannel::kStdout ? Kind::kStdout : Kind::kStderr);
    if (id == 0) co_return absl::OkStatus();
    co_return co_await connection_.Send(id, data);
  }

  Task<Status> Finish(const guestapi::StreamStatus& status) override {
    spdy::Session& session = connection_.session();
    const std::string text = version_ >= CommandVersion::kV4 ? CommandStatusJson(status, options_.what)
                                                             : CommandStatusText(status, options_.what);
    // The outputs end before the verdict comes; all of it in one write.
    for (Kind kind : {Kind::kStdout, Kind::kStderr}) session.Send(IdOf(kind), "", true);
    session.Send(IdOf(Kind::kError), text, true);
    for (Kind kind : {Kind::kStdin, Kind::kResize}) session.Send(IdOf(kind), "", true);
    session.GoAway(spdy::GoAwayStatus::kOk);
    co_return co_await connection_.Finish();
  }

  [[nodiscard]] http::Stream& stream() override { return connection_.stream(); }
  [[nodiscard]] uint64_t moved() const override { return connection_.moved(); }

 private:
  class Handler : public spdy::Events {
   public:
    Handler(SpdyCommandClient* client, CommandInput* input) : client_(client), input_(input) {}
    void OnStream(uint32_t id, http::Headers headers) override { client_->Accept(id, headers); }
    void OnData(uint32_t id, std::string_view piece) override {
      const auto kind = client_->KindOfId(id);
      if (kind == Kind::kStdin) input_->OnStdin(piece);
      if (kind != Kind::kResize || !status.ok()) return;
      auto size = client_->resize_.Feed(piece);
      if (!size.ok()) {
        status = size.status();
      } else if (*size) {
        input_->OnResize(**size);
      }
    }
    void OnEnd(uint32_t id) override {
      if (client_->KindOfId(id) == Kind::kStdin) input_->OnStdinEnd();
    }
    // A stream that the client gives up ends; the command goes on for the others.
    void OnReset(uint32_t id, spdy::ResetStatus) override { OnEnd(id); }
    Status status;

   private:
    SpdyCommandClient* client_;
    CommandInput* input_;
  };

  void Accept(uint32_t id, const http::Headers& headers) {
    spdy::Session& session = connection_.session();
    const auto kind = KindOf(headers.Get("streamtype").value_or(""));
    if (!kind || !streams_.emplace(*kind, id).second) {
      session.Reset(id, spdy::ResetStatus::kRefusedStream);
      return;
    }
    session.Reply(id);
    // What kubelets of v1 did, and clients of v1 expect.
    if (version_ == CommandVersion::kV1 && (*kind == Kind::kStdin || *kind == Kind::kError)) session.Send(id, "", true);
  }

  [[nodiscard]] uint32_t IdOf(Kind kind) const {
    auto found = streams_.find(kind);
    return found == streams_.end() ? 0 : found->second;
  }
  [[nodiscard]] std::optional<Kind> KindOfId(uint32_t id) const {
    for (const auto& [kind, other] : streams_) {
      if (other == id) return kind;
    }
    return std::nullopt;
  }

  spdy::Connection connection_;
  CommandVersion version_;
  CommandClientOptions options_;
  size_t expected_;
  std::map<Kind, uint32_t> streams_;
  ResizeDecoder resize_;
};

}  // namespace

std::unique_ptr<CommandClient> MakeSpdyCommandClient(std::unique_ptr<http::Stream> stream, std::string leftover,
                                                     CommandVersion version, CommandClientOptions options) {
  return std::make_unique<SpdyCommandClient>(std::move(stream), std::move(leftover), version, std::move(options));
}

}  // namespace vck::kubeletapi
