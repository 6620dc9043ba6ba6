#include "spdy/session.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"

namespace vck::spdy {
namespace {

constexpr uint16_t kVersion = 3;
constexpr size_t kFrameHeader = 8;
constexpr uint32_t kIdMask = 0x7fffffff;
constexpr int64_t kInitialWindow = int64_t{64} * 1024;
constexpr int64_t kLargestWindow = 0x7fffffff;
// A frame of a type that is known has no more than this besides headers; settings are few.
constexpr size_t kMaxPlainFrame = 1024;
// A length is 24 bits; there is no reason to use them all.
constexpr size_t kMaxDataFrame = size_t{1} * 1024 * 1024;

enum FrameType : uint16_t {
  kSynStream = 1,
  kSynReply = 2,
  kRstStream = 3,
  kSettings = 4,
  kPing = 6,
  kGoAway = 7,
  kHeaders = 8,
  kWindowUpdate = 9,
};
constexpr uint8_t kFin = 1;
constexpr uint8_t kUnidirectional = 2;
constexpr uint32_t kSettingInitialWindow = 7;

bool HasHeaders(uint16_t type) { return type == kSynStream || type == kSynReply || type == kHeaders; }

uint32_t U32(std::string_view text, size_t at) {
  uint32_t out = 0;
  for (size_t i = 0; i < 4; ++i) out = out << 8 | static_cast<uint8_t>(text[at + i]);
  return out;
}

void AppendU32(std::string* out, uint32_t value) {
  for (int shift : {24, 16, 8, 0}) out->push_back(static_cast<char>((value >> shift) & 0xff));
}

std::string Words(std::initializer_list<uint32_t> words) {
  std::string out;
  for (uint32_t word : words) AppendU32(&out, word);
  return out;
}

}  // namespace

Session::Session(SessionOptions options)
    : options_(options),
      decoder_(options.max_header_bytes),
      next_id_(options.role == Role::kServer ? 2 : 1),
      next_ping_(next_id_),
      initial_send_window_(kInitialWindow),
      session_send_window_(kInitialWindow),
      session_receive_window_(kInitialWindow) {}

// ---- in ----

Status Session::Fail(std::string_view why) {
  failed_ = true;
  GoAway(GoAwayStatus::kProtocolError);
  return absl::InvalidArgumentError(absl::StrCat("SPDY: ", why));
}

Status Session::Feed(std::string_view data, Events& events) {
  if (failed_) return absl::FailedPreconditionError("SPDY: the session has failed before");
  while (!data.empty()) {
    if (!in_frame_) {
      const size_t take = std::min(data.size(), kFrameHeader - header_.size());
      header_.append(data.substr(0, take));
      data.remove_prefix(take);
      if (header_.size() < kFrameHeader) break;
      RETURN_IF_ERROR(OnFrameHeader());
    }
    const size_t take = std::min(data.size(), left_);
    const std::string_view part = data.substr(0, take);
    data.remove_prefix(take);
    left_ -= take;
    if (!control_) {
      if (!part.empty()) OnDataPiece(part, events);
    } else if (!skip_) {
      payload_.append(part);
    }
    if (left_ > 0) break;
    in_frame_ = false;
    header_.clear();
    if (!control_) {
      OnDataEnd(events);
    } else if (!skip_) {
      RETURN_IF_ERROR(OnControl(events));
    }
    payload_ = {};
  }
  return absl::OkStatus();
}

Status Session::OnFrameHeader() {
  const uint32_t first = U32(header_, 0);
  const uint32_t second = U32(header_, 4);
  flags_ = static_cast<uint8_t>(second >> 24);
  left_ = second & 0xffffff;
  in_frame_ = true;
  control_ = (first >> 31) != 0;
  if (!control_) {
    data_id_ = first;
    if (data_id_ == 0) return Fail("data for stream 0");
    return absl::OkStatus();
  }
  if (((first >> 16) & 0x7fff) != kVersion) return Fail(absl::StrCat("version ", (first >> 16) & 0x7fff));
  type_ = static_cast<uint16_t>(first & 0xffff);
  const bool known = HasHeaders(type_) || type_ == kRstStream || type_ == kSettings || type_ == kPing ||
                     type_ == kGoAway || type_ == kWindowUpdate;
  skip_ = !known;  // §2.2.1
  const size_t most = kMaxPlainFrame + (HasHeaders(type_) ? options_.max_header_bytes : 0);
  if (known && left_ > most) return Fail(absl::StrCat("a frame of type ", type_, " with ", left_, " bytes"));
  return absl::OkStatus();
}

Status Session::OnControl(Events& events) {
  const std::string_view payload = payload_;
  const auto expect = [&](size_t bytes) {
    return payload.size() == bytes ? absl::OkStatus()
                                   : Fail(absl::StrCat("a frame of type ", type_, " with ", payload.size(), " bytes"));
  };
  switch (type_) {
    case kSynStream:
      return OnSynStream(payload, events);
    case kSynReply:
    case kHeaders:
      return OnHeaderFrame(payload, type_ == kSynReply, events);
    case kRstStream: {
      RETURN_IF_ERROR(expect(8));
      const uint32_t id = U32(payload, 0) & kIdMask;
      const uint32_t status = U32(payload, 4);
      if (id == 0 || status == 0) return Fail("RST_STREAM without stream or status");
      if (streams_.erase(id) > 0) events.OnReset(id, static_cast<ResetStatus>(status));
      return absl::OkStatus();
    }
    case kSettings:
      return OnSettings(payload, events);
    case kPing: {
      RETURN_IF_ERROR(expect(4));
      const uint32_t id = U32(payload, 0);
      if (id % 2 == next_id_ % 2) {
        events.OnPong(id);
      } else {
        AppendControl(kPing, 0, payload);
      }
      return absl::OkStatus();
    }
    case kGoAway:
      RETURN_IF_ERROR(expect(8));
      if (!std::exchange(got_goaway_, true)) events.OnGoAway(static_cast<GoAwayStatus>(U32(payload, 4)));
      return absl::OkStatus();
    default:
      return OnWindowUpdate(payload, events);
  }
}

Status Session::OnSynStream(std::string_view payload, Events& events) {
  if (payload.size() < 10) return Fail("a short SYN_STREAM");
  const uint32_t id = U32(payload, 0) & kIdMask;
  if (id == 0) return Fail("SYN_STREAM for stream 0");
  bool malformed = false;
  // Also of streams that are refused: later blocks depend on it.
  auto headers = decoder_.Decode(payload.substr(10), &malformed);
  if (!headers.ok()) return Fail(headers.status().message());
  if (sent_goaway_) return absl::OkStatus();
  if (id % 2 == next_id_ % 2 || id <= last_peer_id_) {
    Refuse(id, streams_.contains(id) ? ResetStatus::kStreamInUse : ResetStatus::kProtocolError, events);
    return absl::OkStatus();
  }
  last_peer_id_ = id;
  if (malformed || streams_.size() >= options_.max_streams) {
    Refuse(id, malformed ? ResetStatus::kProtocolError : ResetStatus::kRefusedStream, events);
    return absl::OkStatus();
  }
  streams_[id] = {.local_done = (flags_ & kUnidirectional) != 0,
                  .remote_done = false,
                  .send_window = initial_send_window_,
                  .receive_window = kInitialWindow};
  const bool fin = (flags_ & kFin) != 0;
  events.OnStream(id, *std::move(headers));
  if (fin) RemoteDone(id, events);
  return absl::OkStatus();
}

Status Session::OnHeaderFrame(std::string_view payload, bool is_reply, Events& events) {
  if (payload.size() < 4) return Fail("a short frame of headers");
  const uint32_t id = U32(payload, 0) & kIdMask;
  bool malformed = false;
  auto headers = decoder_.Decode(payload.substr(4), &malformed);
  if (!headers.ok()) return Fail(headers.status().message());
  auto stream = streams_.find(id);
  if (stream == streams_.end()) return absl::OkStatus();
  const bool ours = id % 2 == next_id_ % 2;
  if (malformed || (is_reply && !ours) || stream->second.remote_done) {
    Refuse(id, stream->second.remote_done ? ResetStatus::kStreamAlreadyClosed : ResetStatus::kProtocolError, events);
    return absl::OkStatus();
  }
  const bool fin = (flags_ & kFin) != 0;
  if (is_reply) {
    events.OnReply(id, *std::move(headers));
  } else {
    events.OnHeaders(id, *std::move(headers));
  }
  if (fin) RemoteDone(id, events);
  return absl::OkStatus();
}

Status Session::OnSettings(std::string_view payload, Events& events) {
  if (payload.size() < 4) return Fail("a short SETTINGS");
  const size_t count = U32(payload, 0);
  if (payload.size() - 4 != count * 8) return Fail("SETTINGS of another length than they say");
  for (size_t i = 0; i < count; ++i) {
    const uint32_t setting = U32(payload, 4 + i * 8) & 0xffffff;
    const uint32_t value = U32(payload, 8 + i * 8);
    if (setting != kSettingInitialWindow) continue;
    if (value > kIdMask) return Fail("SETTINGS with a window that is too large");
    stream_windows_bind_ = true;
    const int64_t change = int64_t{value} - initial_send_window_;
    initial_send_window_ = value;
    for (auto& [id, stream] : streams_) stream.send_window += change;
    events.OnWindow();
  }
  return absl::OkStatus();
}

Status Session::OnWindowUpdate(std::string_view payload, Events& events) {
  if (payload.size() != 8) return Fail("a WINDOW_UPDATE of another length");
  const uint32_t id = U32(payload, 0) & kIdMask;
  const uint32_t delta = U32(payload, 4) & kIdMask;
  if (id == 0) {
    session_window_binds_ = true;
    session_send_window_ += delta;
    if (delta == 0 || session_send_window_ > kLargestWindow) return Fail("a WINDOW_UPDATE out of range");
  } else {
    stream_windows_bind_ = true;
    auto stream = streams_.find(id);
    if (stream == streams_.end()) return absl::OkStatus();
    stream->second.send_window += delta;
    if (delta == 0 || stream->second.send_window > kLargestWindow) {
      Refuse(id, delta == 0 ? ResetStatus::kProtocolError : ResetStatus::kFlowControlError, events);
      return absl::OkStatus();
    }
  }
  events.OnWindow();
  return absl::OkStatus();
}

void Session::OnDataPiece(std::string_view piece, Events& events) {
  Credit(0, &session_receive_window_, piece.size());
  auto stream = streams_.find(data_id_);
  // Of streams that are gone there may still be something under way.
  if (stream == streams_.end() || stream->second.remote_done) return;
  const bool last = left_ == 0 && (flags_ & kFin) != 0;
  if (!last) Credit(data_id_, &stream->second.receive_window, piece.size());
  events.OnData(data_id_, piece);
}

void Session::OnDataEnd(Events& events) {
  auto stream = streams_.find(data_id_);
  if (stream == streams_.end()) {
    const bool ours = data_id_ % 2 == next_id_ % 2;
    const bool never_was = ours ? data_id_ >= next_id_ : data_id_ > last_peer_id_;
    if (never_was && !sent_goaway_) Refuse(data_id_, ResetStatus::kInvalidStream, events);
    return;
  }
  if (stream->second.remote_done) {
    Refuse(data_id_, ResetStatus::kStreamAlreadyClosed, events);
  } else if ((flags_ & kFin) != 0) {
    RemoteDone(data_id_, events);
  }
}

// Ends a stream for a mistake of the peer's.
void Session::Refuse(uint32_t id, ResetStatus status, Events& events) {
  AppendControl(kRstStream, 0, Words({id, static_cast<uint32_t>(status)}));
  if (streams_.erase(id) > 0) events.OnReset(id, status);
}

void Session::Credit(uint32_t id, int64_t* window, size_t used) {
  *window -= static_cast<int64_t>(used);
  if (*window > kInitialWindow / 2) return;
  // A peer that does not count may be far below zero, and one frame raises by less than 2^31.
  const int64_t delta = std::min(kLargestWindow - *window, kLargestWindow);
  *window += delta;
  AppendControl(kWindowUpdate, 0, Words({id, static_cast<uint32_t>(delta)}));
}

void Session::RemoteDone(uint32_t id, Events& events) {
  auto stream = streams_.find(id);
  if (stream == streams_.end()) return;
  stream->second.remote_done = true;
  if (stream->second.local_done) streams_.erase(stream);
  events.OnEnd(id);
}

// ---- out ----

void Session::LocalDone(uint32_t id) {
  auto stream = streams_.find(id);
  if (stream == streams_.end()) return;
  stream->second.local_done = true;
  if (stream->second.remote_done) streams_.erase(stream);
}

void Session::AppendControl(uint16_t type, uint8_t flags, std::string_view payload) {
  AppendU32(&out_, uint32_t{0x80000000} | uint32_t{kVersion} << 16 | type);
  AppendU32(&out_, uint32_t{flags} << 24 | static_cast<uint32_t>(payload.size()));
  out_.append(payload);
}

uint32_t Session::Open(const http::Headers& headers, bool fin) {
  if (got_goaway_ || sent_goaway_ || next_id_ > kIdMask) return 0;
  const uint32_t id = next_id_;
  next_id_ += 2;
  streams_[id] = {
      .local_done = fin, .remote_done = false, .send_window = initial_send_window_, .receive_window = kInitialWindow};
  AppendControl(kSynStream, fin ? kFin : 0,
                absl::StrCat(Words({id, 0}), std::string_view("\0\0", 2), encoder_.Encode(headers)));
  return id;
}

void Session::Reply(uint32_t id, const http::Headers& headers, bool fin) {
  if (!streams_.contains(id)) return;
  AppendControl(kSynReply, fin ? kFin : 0, absl::StrCat(Words({id}), encoder_.Encode(headers)));
  if (fin) LocalDone(id);
}

void Session::Reset(uint32_t id, ResetStatus status) {
  if (streams_.erase(id) == 0) return;
  AppendControl(kRstStream, 0, Words({id, static_cast<uint32_t>(status)}));
}

bool Session::Writable(uint32_t id) const {
  auto stream = streams_.find(id);
  return stream != streams_.end() && !stream->second.local_done;
}

size_t Session::Sendable(uint32_t id) const {
  if (!Writable(id)) return 0;
  int64_t most = std::numeric_limits<int64_t>::max();
  if (stream_windows_bind_) most = std::min(most, streams_.at(id).send_window);
  if (session_window_binds_) most = std::min(most, session_send_window_);
  return static_cast<size_t>(std::max<int64_t>(0, most));
}

void Session::Send(uint32_t id, std::string_view data, bool fin) {
  auto stream = streams_.find(id);
  if (stream == streams_.end() || stream->second.local_done || (data.empty() && !fin)) return;
  stream->second.send_window -= static_cast<int64_t>(data.size());
  session_send_window_ -= static_cast<int64_t>(data.size());
  do {
    const std::string_view part = data.substr(0, kMaxDataFrame);
    data.remove_prefix(part.size());
    AppendU32(&out_, id);
    AppendU32(&out_, (fin && data.empty() ? uint32_t{kFin} << 24 : 0) | static_cast<uint32_t>(part.size()));
    out_.append(part);
  } while (!data.empty());
  if (fin) LocalDone(id);
}

void Session::Ping() {
  AppendControl(kPing, 0, Words({next_ping_}));
  next_ping_ += 2;
}

void Session::GoAway(GoAwayStatus status) {
  if (std::exchange(sent_goaway_, true)) return;
  AppendControl(kGoAway, 0, Words({last_peer_id_, static_cast<uint32_t>(status)}));
}

}  // namespace vck::spdy
