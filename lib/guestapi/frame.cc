#include "guestapi/frame.h"

#include "guestapi/fields.h"

namespace vck::guestapi {
namespace {

using internal::Fields;
using internal::Put;

struct Member {
  std::string_view name;
  json::Value value;
};

struct ToMember {
  const boost::json::storage_ptr& storage;

  Member operator()(const UnknownFrame&) const { return {"unknown", json::Value(storage)}; }
  Member operator()(const Hello& hello) const {
    json::Object out(storage);
    Put(&out, "version", hello.version);
    Put(&out, "bootId", hello.boot_id);
    Put(&out, "podUid", hello.pod_uid);
    Put(&out, "certify", hello.certify);
    return {"hello", std::move(out)};
  }
  Member operator()(const Certificate& certificate) const {
    return {"certificate", json::Value(std::string_view(certificate.pem), storage)};
  }
  Member operator()(const GuestSpec& spec) const { return {"spec", ToJson(spec, storage)}; }
  Member operator()(const StopRequest& request) const { return {"stop", ToJson(request, storage)}; }
  Member operator()(const Ack& ack) const { return {"ack", json::Value(ack.sequence, storage)}; }
  Member operator()(const PowerOff&) const { return {"poweroff", json::Value(true, storage)}; }
  Member operator()(const GuestState& state) const { return {"state", ToJson(state, storage)}; }
};

template <class T>
std::string EncodeOne(const T& content) {
  boost::json::monotonic_resource arena;
  boost::json::storage_ptr storage(&arena);
  Member member = ToMember{storage}(content);
  json::Object frame(storage);
  frame[member.name] = std::move(member.value);
  std::string out = json::Serialize(json::Value(std::move(frame)));
  out.push_back('\n');
  return out;
}

StatusOr<Frame> HelloFromJson(const json::Value& value) {
  Hello out;
  Fields in(value, "");
  // Another version is the kubelet's to judge, so it is read and not refused here.
  in.Read("version", &out.version, 1);
  in.Read("bootId", &out.boot_id);
  in.Require("bootId", !out.boot_id.empty());
  in.Read("podUid", &out.pod_uid);
  in.Read("certify", &out.certify);
  RETURN_IF_ERROR(in.status());
  return out;
}

template <class T>
StatusOr<Frame> Named(std::string_view name, StatusOr<T> result) {
  if (!result.ok()) return Annotate(result.status(), name);
  return Frame(*std::move(result));
}

}  // namespace

std::string EncodeFrame(const Frame& frame) {
  return std::visit([](const auto& content) { return EncodeOne(content); }, frame);
}
std::string EncodeFrame(const GuestSpec& spec) { return EncodeOne(spec); }
std::string EncodeFrame(const GuestState& state) { return EncodeOne(state); }

StatusOr<Frame> DecodeFrame(std::string_view line) {
  ASSIGN_OR_RETURN(auto document, json::Document::Parse(line));
  const json::Value& root = document.root();
  Fields frame(root, "");
  RETURN_IF_ERROR(frame.status());
  if (const auto* value = frame.Member("state")) return Named("state", StateFromJson(*value));
  if (const auto* value = frame.Member("spec")) return Named("spec", SpecFromJson(*value));
  if (const auto* value = frame.Member("stop")) return Named("stop", StopFromJson(*value));
  if (const auto* value = frame.Member("hello")) return Named("hello", HelloFromJson(*value));
  if (frame.Member("ack") != nullptr) {
    Ack ack;
    frame.Read("ack", &ack.sequence, 0);
    RETURN_IF_ERROR(frame.status());
    return ack;
  }
  if (frame.Member("certificate") != nullptr) {
    Certificate certificate;
    frame.Read("certificate", &certificate.pem);
    RETURN_IF_ERROR(frame.status());
    return certificate;
  }
  if (frame.Member("poweroff") != nullptr) {
    bool power_off = false;
    frame.Read("poweroff", &power_off);
    RETURN_IF_ERROR(frame.status());
    if (power_off) return PowerOff{};
  }
  return UnknownFrame{};
}

Status FrameSplitter::Feed(std::string_view data, absl::FunctionRef<Status(std::string_view)> line) {
  while (!data.empty()) {
    size_t end = data.find('\n');
    size_t length = std::min(end, data.size());
    if (partial_.size() + length > max_bytes_) {
      return absl::ResourceExhaustedError(absl::StrCat("a frame of more than ", max_bytes_, " bytes"));
    }
    if (end == std::string_view::npos) {
      partial_.append(data);
      return absl::OkStatus();
    }
    if (partial_.empty()) {
      if (length > 0) RETURN_IF_ERROR(line(data.substr(0, length)));
    } else {
      // Taken out first: the memory goes back with it.
      std::string whole = std::move(partial_);
      partial_ = std::string();
      whole.append(data.substr(0, length));
      RETURN_IF_ERROR(line(whole));
    }
    data.remove_prefix(length + 1);
  }
  return absl::OkStatus();
}

}  // namespace vck::guestapi
