#include "kubeletapi/command_session.h"

#include <array>
#include <span>
#include <utility>
#include <vector>

#include "async/task_group.h"
#include "async/wait.h"
#include "base/log.h"
#include "kubeletapi/liveness.h"

namespace vck::kubeletapi {
namespace {

using guestapi::StreamChannel;

// So much is collected from the guest before it is written, if it is there: fewer and larger records.
constexpr size_t kGather = size_t{48} * 1024;

// Of all readers: nothing that waits holds a buffer.
std::span<char> ReadBuffer() {
  thread_local std::array<char, size_t{64} * 1024> buffer;
  return buffer;
}

// Makes frames for the tether of what the client says.
class FrameInput : public CommandInput {
 public:
  void OnStdin(std::string_view piece) override {
    while (!piece.empty() && !ended_) {
      const std::string_view part = piece.substr(0, guestapi::kMaxStreamPayload);
      piece.remove_prefix(part.size());
      guestapi::AppendStreamHeader(&frames, StreamChannel::kStdin, part.size());
      frames.append(part);
    }
  }
  void OnStdinEnd() override {
    if (std::exchange(ended_, true)) return;
    guestapi::AppendStreamHeader(&frames, StreamChannel::kStdin, 0);
  }
  void OnResize(guestapi::TerminalSize size) override {
    frames += guestapi::EncodeStreamFrame(StreamChannel::kResize, Encode(size));
  }
  std::string frames;

 private:
  bool ended_ = false;
};

class Session {
 public:
  Session(Clock& clock, Executor executor, std::unique_ptr<CommandClient> client, guestlink::OpenedStream guest,
          CommandSessionOptions options)
      : clock_(clock),
        client_(std::move(client)),
        guest_(std::move(guest.stream)),
        leftover_(std::move(guest.leftover)),
        options_(options),
        group_(executor) {}

  Task<> Run() {
    if (!(co_await client_->Start()).ok()) co_return;
    Liveness liveness(clock_, options_.idle_timeout,
                      {.moved = [this] { return client_->moved() + moved_; },
                       // A guest that has is read to its end, as soon as the client takes it.
                       .hung_up = [this] { return client_->stream().HungUp(); },
                       .end = [this] { group_.Cancel(); }});
    auto creation = clock_.Schedule(clock_.Now() + options_.creation_timeout, [this] {
      if (ready_.IsSet()) return;
      LogV(2, "Timed out waiting for the client to create streams", {{"peer", client_->stream().remote_address()}});
      group_.Cancel();
    });
    if (client_->ready()) ready_.Set();
    group_.Spawn("input", Input(this));
    group_.Spawn("output", Output(this));
    (void)co_await group_.Join();
  }

 private:
  // From the client to the guest. The client's end ends the session.
  static Task<> Input(Session* self) {
    FrameInput input;
    bool guest_reads = true;
    while (true) {
      auto more = co_await self->client_->Receive(input);
      if (self->client_->ready()) self->ready_.Set();
      if (!more.ok()) LogV(3, "The client of a command has failed", {{"err", more.status()}});
      const bool gone = !more.ok() || !*more;
      const std::string frames = std::exchange(input.frames, {});
      const auto guest = self->guest_;
      if (guest_reads && guest != nullptr && !frames.empty()) {
        // A command that ends without reading all of its input is no failure: its end follows from the other side.
        guest_reads = (co_await guest->Write(frames)).ok();
        self->moved_ += frames.size();
      }
      if (gone) break;
    }
    self->group_.Cancel();
  }

  // From the guest to the client, to the verdict.
  static Task<> Output(Session* self) {
    co_await self->ready_.Wait();
    guestapi::StreamDecoder decoder;
    std::optional<guestapi::StreamStatus> verdict;
    while (!verdict) {
      auto text = co_await self->ReadGuest();
      if (!text.ok() || text->empty()) {
        verdict = guestapi::StreamStatus{.exit_code = 0, .error = "the connection to the pod's VM was lost"};
        break;
      }
      // Pieces are written one by one: what follows waits until the client has taken them.
      struct Piece {
        StreamChannel channel;
        std::string_view data;
      };
      std::vector<Piece> pieces;
      Status decoded = decoder.Feed(*text, [&](StreamChannel channel, std::string_view data) -> Status {
        if (channel == StreamChannel::kStatus) {
          ASSIGN_OR_RETURN(verdict, guestapi::DecodeStreamStatus(data));
        } else if (!data.empty()) {
          pieces.push_back({channel, data});
        }
        return absl::OkStatus();
      });
      if (!decoded.ok()) {
        verdict = guestapi::StreamStatus{.exit_code = 0, .error = std::string(decoded.message())};
      }
      for (const Piece& piece : pieces) {
        if (!(co_await self->client_->Write(piece.channel, piece.data)).ok()) {
          self->group_.Cancel();
          co_return;
        }
      }
    }
    // Others must not think that somebody still reads from the guest while we wait for the client.
    self->guest_->Close();
    self->guest_.reset();
    if (!(co_await self->client_->Finish(*verdict)).ok()) {
      self->group_.Cancel();
      co_return;
    }
    // What was written may still be on its way, and closing would answer the client's next byte (a ping) with a reset
    // that destroys it. So the client closes: then Input ends.
    co_await self->clock_.Sleep(self->options_.linger);
    self->group_.Cancel();
  }

  // "" at the end.
  Task<StatusOr<std::string>> ReadGuest() {
    if (!leftover_.empty()) co_return std::exchange(leftover_, {});
    CO_RETURN_IF_ERROR(co_await guest_->WaitReadable());
    std::string out;
    do {
      std::span<char> buffer = ReadBuffer();
      CO_ASSIGN_OR_RETURN(size_t n, co_await guest_->ReadSome(buffer));
      if (n == 0) break;
      out.append(buffer.data(), n);
    } while (out.size() < kGather && guest_->ReadableNow());
    moved_ += out.size();
    co_return out;
  }

  Clock& clock_;
  std::unique_ptr<CommandClient> client_;
  std::shared_ptr<http::Stream> guest_;  // null after the command's end
  std::string leftover_;
  CommandSessionOptions options_;
  Event ready_;
  uint64_t moved_ = 0;
  TaskGroup group_;
};

}  // namespace

Task<> RunCommandSession(Clock& clock, std::unique_ptr<CommandClient> client, guestlink::OpenedStream guest,
                         CommandSessionOptions options) {
  Session session(clock, co_await asio::this_coro::executor, std::move(client), std::move(guest), options);
  co_await session.Run();
}

}  // namespace vck::kubeletapi
