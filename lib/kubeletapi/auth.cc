#include "kubeletapi/auth.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/log.h"
#include "http/websocket.h"

namespace vck::kubeletapi {
namespace {

constexpr std::string_view kAuthenticated = "system:authenticated";
constexpr std::string_view kTokenProtocol = "base64url.bearer.authorization.k8s.io.";

std::string BearerToken(const http::Request& request) {
  const std::string_view field = absl::StripAsciiWhitespace(request.headers.Get("Authorization").value_or(""));
  constexpr std::string_view kScheme = "bearer ";
  if (field.size() <= kScheme.size() || !absl::EqualsIgnoreCase(field.substr(0, kScheme.size()), kScheme)) return "";
  return std::string(absl::StripAsciiWhitespace(field.substr(kScheme.size())));
}

// A browser, which cannot set Authorization for a WebSocket, offers its token as a subprotocol, beside one to speak
// (k8s.io/apiserver's websocket.ProtocolAuthenticator). "" if there is none, or it is not well-formed.
std::string SocketToken(const http::Request& request) {
  if (!http::IsWebSocketRequest(request)) return "";
  std::string token;
  size_t tokens = 0;
  const std::vector<std::string> offered = http::WebSocketProtocols(request);
  for (std::string_view protocol : offered) {
    if (!IsTokenProtocol(protocol)) continue;
    ++tokens;
    protocol.remove_prefix(kTokenProtocol.size());
    if (protocol.find('=') != std::string_view::npos || !absl::WebSafeBase64Unescape(protocol, &token)) return "";
  }
  const bool printable = std::all_of(token.begin(), token.end(), absl::ascii_isprint);
  return tokens == 1 && offered.size() > 1 && printable ? token : "";
}

void AddGroup(User* user, std::string_view group) {
  if (std::find(user->groups.begin(), user->groups.end(), group) == user->groups.end()) {
    user->groups.emplace_back(group);
  }
}

}  // namespace

bool IsTokenProtocol(std::string_view protocol) { return absl::StartsWith(protocol, kTokenProtocol); }

Task<std::optional<User>> Auth::Authenticate(const http::Exchange& exchange) {
  if (client_ca_ != nullptr) {
    Status verified = exchange.stream().VerifyClient(*client_ca_);
    if (verified.ok()) {
      auto peer = exchange.stream().Peer();
      if (!peer.common_name.empty()) {
        User user{.name = std::move(peer.common_name), .uid = {}, .groups = std::move(peer.organizations), .extra = {}};
        AddGroup(&user, kAuthenticated);
        co_return user;
      }
    } else if (!absl::IsNotFound(verified)) {
      Log(Severity::kWarning, "A client of the kubelet API showed a certificate that is not trusted",
          {{"peer", exchange.stream().remote_address()}, {"err", verified}});
    }
  }
  if (!options_.tokens) co_return std::nullopt;
  for (auto* token_of : {BearerToken, SocketToken}) {
    std::string token = token_of(exchange.request());
    if (token.empty()) continue;
    auto user = co_await reviews_.ReviewToken(std::move(token));
    if (!user.ok()) {
      Log(Severity::kError, "Unable to authenticate the request due to an error", {{"err", user.status()}});
      continue;
    }
    if (!*user) continue;
    AddGroup(&**user, kAuthenticated);
    co_return *std::move(user);
  }
  co_return std::nullopt;
}

Task<Refusal> Auth::Check(const http::Exchange& exchange, Attributes attributes) {
  std::optional<User> user;
  if (open()) user = co_await Authenticate(exchange);
  if (!user) co_return Refusal{401, "Unauthorized"};
  for (const std::string& subresource : attributes.subresources) {
    auto allowed = co_await reviews_.ReviewAccess(*user, attributes.verb, subresource);
    if (!allowed.ok()) {
      Log(Severity::kError, "Authorization error",
          {{"user", user->name}, {"verb", attributes.verb}, {"subresource", subresource}, {"err", allowed.status()}});
      co_return Refusal{500, absl::StrCat("Authorization error (user=", user->name, ", verb=", attributes.verb,
                                          ", resource=nodes, subresource=", subresource, ")")};
    }
    if (*allowed) co_return Refusal{};
  }
  const std::string subresources = absl::StrJoin(attributes.subresources, " ");
  LogV(2, "Forbidden", {{"user", user->name}, {"verb", attributes.verb}, {"subresource(s)", subresources}});
  co_return Refusal{403, absl::StrCat("Forbidden (user=", user->name, ", verb=", attributes.verb,
                                      ", resource=nodes, subresource(s)=[", subresources, "])\n")};
}

}  // namespace vck::kubeletapi
