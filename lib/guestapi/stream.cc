#include "guestapi/stream.h"

#include <algorithm>

#include "guestapi/fields.h"

namespace vck::guestapi {

using internal::Fields;
using internal::Put;

void AppendStreamHeader(std::string* out, StreamChannel channel, size_t payload_bytes) {
  const auto length = static_cast<uint32_t>(payload_bytes);
  for (uint32_t byte : {uint32_t{static_cast<uint8_t>(channel)}, length >> 24, length >> 16, length >> 8, length}) {
    out->push_back(static_cast<char>(byte & 0xff));
  }
}

std::string EncodeStreamFrame(StreamChannel channel, std::string_view payload) {
  std::string out;
  out.reserve(kStreamHeaderBytes + payload.size());
  AppendStreamHeader(&out, channel, payload.size());
  out.append(payload);
  return out;
}

Status StreamDecoder::Feed(std::string_view data, absl::FunctionRef<Status(StreamChannel, std::string_view)> piece) {
  while (!data.empty()) {
    if (left_ == 0) {
      const size_t take = std::min(data.size(), kStreamHeaderBytes - header_.size());
      header_.append(data.substr(0, take));
      data.remove_prefix(take);
      if (header_.size() < kStreamHeaderBytes) return absl::OkStatus();
      const auto byte = [this](size_t i) { return static_cast<size_t>(static_cast<uint8_t>(header_[i])); };
      if (byte(0) > static_cast<size_t>(StreamChannel::kResize)) {
        return absl::InvalidArgumentError(absl::StrCat("stream: unknown channel ", byte(0)));
      }
      channel_ = static_cast<StreamChannel>(byte(0));
      left_ = byte(1) << 24 | byte(2) << 16 | byte(3) << 8 | byte(4);
      header_.clear();
      if (left_ > kMaxStreamPayload) {
        return absl::InvalidArgumentError(absl::StrCat("stream: a frame of ", left_, " bytes"));
      }
      if (left_ == 0) RETURN_IF_ERROR(piece(channel_, {}));
      continue;
    }
    const size_t take = std::min(data.size(), left_);
    const std::string_view part = data.substr(0, take);
    data.remove_prefix(take);
    left_ -= take;
    if (channel_ != StreamChannel::kStatus && channel_ != StreamChannel::kResize) {
      RETURN_IF_ERROR(piece(channel_, part));
      continue;
    }
    whole_.append(part);
    if (left_ > 0) continue;
    const std::string frame = std::exchange(whole_, {});
    RETURN_IF_ERROR(piece(channel_, frame));
  }
  return absl::OkStatus();
}

std::string Encode(const TerminalSize& size) {
  json::Object out;
  out["width"] = size.width;
  out["height"] = size.height;
  return json::Serialize(std::move(out));
}

StatusOr<TerminalSize> DecodeTerminalSize(std::string_view text) {
  ASSIGN_OR_RETURN(auto document, json::Document::Parse(text));
  TerminalSize out;
  Fields in(document.root(), "");
  in.Read("width", &out.width, 0, 0xffff);
  in.Read("height", &out.height, 0, 0xffff);
  RETURN_IF_ERROR(in.status());
  return out;
}

std::string Encode(const StreamStatus& status) {
  json::Object out;
  out["exitCode"] = status.exit_code;
  Put(&out, "error", status.error);
  return json::Serialize(std::move(out));
}

StatusOr<StreamStatus> DecodeStreamStatus(std::string_view text) {
  ASSIGN_OR_RETURN(auto document, json::Document::Parse(text));
  StreamStatus out;
  Fields in(document.root(), "");
  in.Read("exitCode", &out.exit_code, -1);
  in.Read("error", &out.error);
  RETURN_IF_ERROR(in.status());
  return out;
}

}  // namespace vck::guestapi
