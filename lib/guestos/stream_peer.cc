#include "guestos/stream_peer.h"

#include <algorithm>
#include <array>
#include <utility>

#include "async/timeout.h"

namespace vck::guestos {
namespace {

using guestapi::StreamChannel;

constexpr size_t kReadBytes = size_t{16} * 1024;
// As long as the kubelet waits for its client: until that reads, the kubelet does not read, either.
constexpr absl::Duration kLinger = absl::Minutes(15);

Task<Status> Drain(http::Stream* stream) {
  std::array<char, 1024> buffer;
  while (true) {
    CO_ASSIGN_OR_RETURN(size_t n, co_await stream->ReadSome(buffer));
    if (n == 0) co_return absl::OkStatus();
  }
}

}  // namespace

Task<Status> StreamPeer::Send(StreamChannel channel, std::string data) {
  auto turn = co_await sending_.Take();
  std::string_view rest = data;
  do {
    const std::string_view part = rest.substr(0, guestapi::kMaxStreamPayload);
    rest.remove_prefix(part.size());
    const std::string frame = guestapi::EncodeStreamFrame(channel, part);
    CO_RETURN_IF_ERROR(co_await stream_->Write(frame));
  } while (!rest.empty());
  co_return absl::OkStatus();
}

Task<> StreamPeer::Finish(Clock* clock, guestapi::StreamStatus status) {
  if (!(co_await Send(StreamChannel::kStatus, guestapi::Encode(status))).ok()) co_return;
  co_await stream_->ShutdownWrite();
  // Closing would answer what still comes with a reset, and what is not read yet might be lost.
  (void)co_await WithTimeout(*clock, kLinger, "the peer's closing", Drain(stream_.get()));
}

Task<Status> StreamPeer::Receive(Receiver* receiver) {
  guestapi::StreamDecoder decoder;
  std::string data = std::exchange(leftover_, {});
  while (true) {
    std::string input;
    bool ended = false;
    CO_RETURN_IF_ERROR(decoder.Feed(data, [&](StreamChannel channel, std::string_view piece) -> Status {
      if (channel == StreamChannel::kStdin) {
        if (piece.empty()) ended = true;
        if (!ended) input.append(piece);
      } else if (channel == StreamChannel::kResize) {
        ASSIGN_OR_RETURN(guestapi::TerminalSize size, guestapi::DecodeTerminalSize(piece));
        receiver->OnResize(size);
      } else {
        return absl::InvalidArgumentError("stream: a channel that is not the kubelet's");
      }
      return absl::OkStatus();
    }));
    if (!input.empty()) CO_RETURN_IF_ERROR(co_await receiver->OnInput(std::move(input)));
    if (ended) CO_RETURN_IF_ERROR(co_await receiver->OnInputEnd());
    data.clear();
    data.shrink_to_fit();
    CO_RETURN_IF_ERROR(co_await stream_->WaitReadable());
    data.resize(kReadBytes);
    CO_ASSIGN_OR_RETURN(size_t n, co_await stream_->ReadSome(std::span<char>(data)));
    if (n == 0) co_return absl::OkStatus();
    data.resize(n);
  }
}

}  // namespace vck::guestos
