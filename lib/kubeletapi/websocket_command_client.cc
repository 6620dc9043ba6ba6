#include <utility>

#include "http/websocket.h"
#include "kubeletapi/channel_codec.h"
#include "kubeletapi/command_client.h"

namespace vck::kubeletapi {
namespace {

using guestapi::StreamChannel;

constexpr uint8_t kStdin = 0, kStdout = 1, kStderr = 2, kError = 3, kResize = 4;

class WebSocketCommandClient : public CommandClient {
 public:
  WebSocketCommandClient(std::unique_ptr<http::Stream> stream, std::string leftover, WebSocketChoice choice,
                         CommandClientOptions options)
      : socket_(std::move(stream), std::move(leftover)),
        choice_(std::move(choice)),
        options_(std::move(options)),
        decoder_(choice_.channels) {}

  // An empty message on the lowest channel that we write to.
  Task<Status> Start() override {
    const CommandStreams& s = options_.streams;
    AppendChannelMessage(&socket_.output(), choice_.channels, s.out ? kStdout : s.err ? kStderr : kError, "");
    co_return co_await socket_.Flush();
  }

  Task<StatusOr<bool>> Receive(CommandInput& input) override {
    Handler handler(this, &input);
    auto more = co_await socket_.Receive(handler);
    if (handler.status.ok()) co_return more;
    (void)co_await socket_.Close(http::kCloseProtocolError, handler.status.message());
    co_return handler.status;
  }

  [[nodiscard]] bool ready() const override { return true; }

  Task<Status> Write(StreamChannel output, std::string_view data) override {
    const bool out = output == StreamChannel::kStdout;
    if (!(out ? options_.streams.out : options_.streams.err)) co_return absl::OkStatus();
    AppendChannelMessage(&socket_.output(), choice_.channels, out ? kStdout : kStderr, data);
    co_return co_await socket_.Flush();
  }

  Task<Status> Finish(const guestapi::StreamStatus& verdict) override {
    const std::string text =
        choice_.json_status ? CommandStatusJson(verdict, options_.what) : CommandStatusText(verdict, options_.what);
    if (!text.empty()) AppendChannelMessage(&socket_.output(), choice_.channels, kError, text);
    Status status = co_await socket_.Close(http::kCloseNormal, "");
    if (status.ok()) co_await socket_.stream().ShutdownWrite();
    co_return status;
  }

  [[nodiscard]] http::Stream& stream() override { return socket_.stream(); }
  [[nodiscard]] uint64_t moved() const override { return socket_.moved(); }

 private:
  class Handler : public http::WebSocketEvents, public ChannelEvents {
   public:
    Handler(WebSocketCommandClient* client, CommandInput* input) : client_(client), input_(input) {}
    void OnMessage(http::WebSocketOp, std::string_view piece, bool begin, bool end) override {
      if (status.ok()) status = client_->decoder_.Feed(piece, begin, end, *this);
    }
    void OnChannel(uint8_t channel, std::string_view piece) override {
      if (channel == kStdin) input_->OnStdin(piece);
      if (channel != kResize || !status.ok()) return;
      auto size = client_->resize_.Feed(piece);
      if (!size.ok()) {
        status = size.status();
      } else if (*size) {
        input_->OnResize(**size);
      }
    }
    void OnChannelEnd(uint8_t channel) override {
      if (channel == kStdin) input_->OnStdinEnd();
    }
    Status status;

   private:
    WebSocketCommandClient* client_;
    CommandInput* input_;
  };

  http::WebSocket socket_;
  WebSocketChoice choice_;
  CommandClientOptions options_;
  ChannelDecoder decoder_;
  ResizeDecoder resize_;
};

}  // namespace

std::unique_ptr<CommandClient> MakeWebSocketCommandClient(std::unique_ptr<http::Stream> stream, std::string leftover,
                                                          WebSocketChoice choice, CommandClientOptions options) {
  return std::make_unique<WebSocketCommandClient>(std::move(stream), std::move(leftover), std::move(choice),
                                                  std::move(options));
}

}  // namespace vck::kubeletapi
