#include "kubeletapi/remote_command.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "http/websocket.h"
#include "json/json.h"

namespace vck::kubeletapi {
namespace {

constexpr size_t kMaxResize = 1024;

std::string StreamQuery(const CommandStreams& streams) {
  std::string out;
  if (streams.in) out += "&stdin=1";
  if (streams.out) out += "&stdout=1";
  if (streams.err) out += "&stderr=1";
  if (streams.tty) out += "&tty=1";
  return out;
}

std::string FailureMessage(const guestapi::StreamStatus& status, std::string_view what) {
  if (status.error.empty()) {
    return absl::StrCat("command terminated with non-zero exit code: exit status ", status.exit_code);
  }
  return absl::StrCat("Internal error occurred: ", what, ": ", status.error);
}

}  // namespace

StatusOr<CommandStreams> ParseCommandStreams(const Query& query) {
  CommandStreams out;
  out.tty = query.Get("tty") == "1";
  out.in = query.Get("input") == "1";
  out.out = query.Get("output") == "1";
  out.err = query.Get("error") == "1" && !out.tty;
  if (!out.in && !out.out && !out.err) {
    return absl::InvalidArgumentError("you must specify at least 1 of stdin, stdout, stderr");
  }
  return out;
}

std::string TetherExecTarget(const std::string& container, const std::vector<std::string>& command,
                             const CommandStreams& streams) {
  std::string out = absl::StrCat("/v1/exec?container=", http::PercentEncode(container));
  for (const std::string& word : command) absl::StrAppend(&out, "&command=", http::PercentEncode(word));
  return out + StreamQuery(streams);
}

std::string TetherAttachTarget(const std::string& container, const CommandStreams& streams) {
  return absl::StrCat("/v1/attach?container=", http::PercentEncode(container), StreamQuery(streams));
}

bool IsSpdyRequest(const http::Request& request) {
  bool upgrade = false;
  for (const auto& [name, value] : request.headers.fields()) {
    upgrade = upgrade || (absl::EqualsIgnoreCase(name, "Connection") && absl::StrContainsIgnoreCase(value, "upgrade"));
  }
  return upgrade && absl::StrContainsIgnoreCase(request.headers.Get("Upgrade").value_or(""), "spdy/3.1");
}

Negotiation Negotiate(const http::Request& request, const std::vector<std::string>& ours) {
  constexpr std::string_view kField = "X-Stream-Protocol-Version";
  Negotiation out;
  std::vector<std::string> theirs;
  bool present = false;
  for (const auto& [name, value] : request.headers.fields()) {
    if (!absl::EqualsIgnoreCase(name, kField)) continue;
    present = true;
    for (std::string_view protocol : absl::StrSplit(value, ',')) {
      protocol = absl::StripAsciiWhitespace(protocol);
      if (!protocol.empty()) theirs.emplace_back(protocol);
    }
  }
  if (theirs.empty()) {
    out.status = 400;
    out.error = present ? absl::StrCat("unable to upgrade: header ", kField, " contains no valid protocols")
                        : absl::StrCat("unable to upgrade: header ", kField, " does not exist in request with ",
                                       request.headers.fields().size(), " headers");
    return out;
  }
  for (const std::string& protocol : theirs) {
    if (std::find(ours.begin(), ours.end(), protocol) == ours.end()) continue;
    out.protocol = protocol;
    out.headers.Add(std::string(kField), protocol);
    return out;
  }
  out.status = 403;
  for (const std::string& protocol : ours) out.headers.Add("X-Accepted-Stream-Protocol-Versions", protocol);
  out.error = absl::StrCat("unable to upgrade: unable to negotiate protocol: client supports [",
                           absl::StrJoin(theirs, " "), "], server accepts [", absl::StrJoin(ours, " "), "]");
  return out;
}

const std::vector<std::string>& CommandProtocols() {
  static const std::vector<std::string> protocols = {"v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io",
                                                     "channel.k8s.io"};
  return protocols;
}

CommandVersion CommandVersionOf(std::string_view protocol) {
  if (protocol == "v5.channel.k8s.io") return CommandVersion::kV5;
  if (protocol == "v4.channel.k8s.io") return CommandVersion::kV4;
  if (protocol == "v3.channel.k8s.io") return CommandVersion::kV3;
  if (protocol == "v2.channel.k8s.io") return CommandVersion::kV2;
  return CommandVersion::kV1;
}

std::optional<WebSocketChoice> ChooseCommandProtocol(const http::Request& request) {
  const auto offered = http::WebSocketProtocols(request);
  if (offered.empty()) return WebSocketChoice{};
  for (const std::string& protocol : offered) {
    if (protocol == "v5.channel.k8s.io") return WebSocketChoice{protocol, {.close_signal = true}, true};
    if (protocol == "v4.channel.k8s.io") return WebSocketChoice{protocol, {}, true};
    if (protocol == "v4.base64.channel.k8s.io") return WebSocketChoice{protocol, {.base64 = true}, true};
    if (protocol == "channel.k8s.io") return WebSocketChoice{protocol, {}, false};
    if (protocol == "base64.channel.k8s.io") return WebSocketChoice{protocol, {.base64 = true}, false};
  }
  return std::nullopt;
}

std::string CommandStatusJson(const guestapi::StreamStatus& status, std::string_view what) {
  json::Object out;
  if (status.error.empty() && status.exit_code == 0) {
    out["metadata"] = json::Object();
    out["status"] = "Success";
    return json::Serialize(std::move(out));
  }
  out["metadata"] = json::Object();
  out["status"] = "Failure";
  out["message"] = FailureMessage(status, what);
  json::Object cause;
  if (status.error.empty()) {
    out["reason"] = "NonZeroExitCode";
    cause["reason"] = "ExitCode";
    cause["message"] = absl::StrCat(status.exit_code);
  } else {
    out["reason"] = "InternalError";
    cause["message"] = absl::StrCat(what, ": ", status.error);
  }
  json::Array causes;
  causes.push_back(std::move(cause));
  out["details"] = json::Object{{"causes", std::move(causes)}};
  if (!status.error.empty()) out["code"] = 500;
  return json::Serialize(std::move(out));
}

std::string CommandStatusText(const guestapi::StreamStatus& status, std::string_view what) {
  if (status.error.empty() && status.exit_code == 0) return "";
  return FailureMessage(status, what);
}

StatusOr<std::optional<guestapi::TerminalSize>> ResizeDecoder::Feed(std::string_view data) {
  std::optional<guestapi::TerminalSize> last;
  for (char c : data) {
    if (text_.empty() && absl::ascii_isspace(static_cast<unsigned char>(c))) continue;
    text_.push_back(c);
    if (text_.front() != '{' || text_.size() > kMaxResize) return absl::InvalidArgumentError("no terminal size");
    if (c != '}') continue;
    // The objects are flat: the first brace that closes one ends it.
    auto document = json::Document::Parse(std::exchange(text_, {}));
    if (!document.ok() || !document->root().is_object()) return absl::InvalidArgumentError("no terminal size");
    guestapi::TerminalSize size;
    for (const auto& member : document->root().get_object()) {
      int64_t value = member.value().is_int64() ? member.value().get_int64() : 0;
      value = std::clamp<int64_t>(value, 0, 0xffff);
      if (absl::EqualsIgnoreCase(member.key(), "width")) size.width = static_cast<int>(value);
      if (absl::EqualsIgnoreCase(member.key(), "height")) size.height = static_cast<int>(value);
    }
    last = size;
  }
  return last;
}

}  // namespace vck::kubeletapi
