#include "tether/http_get.h"

#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "http/client.h"

namespace vck::tether {
namespace {

constexpr size_t kMaxBody = 10 * 1024;
constexpr int kMaxRedirects = 10;
constexpr std::string_view kVersion = "1.36";  // of the kubelet whose behaviour this is

// What may stand in a request's target; the rest is percent-encoded.
bool IsTargetByte(char c) {
  return c > ' ' && c < 0x7f && std::string_view("\"<>\\^`{|}").find(c) == std::string_view::npos;
}

std::string Path(std::string_view text) {
  text = text.substr(0, text.find('#'));
  std::string out;
  if (text.empty() || text.front() != '/') out = "/";
  for (char c : text) {
    if (IsTargetByte(c)) {
      out += c;
    } else {
      absl::StrAppend(&out, "%", absl::Hex(static_cast<unsigned char>(c), absl::kZeroPad2));
    }
  }
  return out;
}

// RFC 3986 §5.2.4, of a path that begins with '/'.
std::string RemoveDots(std::string_view path) {
  std::string_view query;
  if (size_t at = path.find('?'); at != std::string_view::npos) {
    query = path.substr(at);
    path = path.substr(0, at);
  }
  std::string out;
  while (!path.empty()) {
    size_t end = path.find('/', 1);
    std::string_view segment = path.substr(0, end);
    path = end == std::string_view::npos ? std::string_view() : path.substr(end);
    if (segment == "/.") {
      if (path.empty()) out += "/";
    } else if (segment == "/..") {
      out.resize(out.rfind('/') == std::string::npos ? 0 : out.rfind('/'));
      if (path.empty()) out += "/";
    } else {
      out += segment;
    }
  }
  return absl::StrCat(out.empty() ? "/" : out, query);
}

http::Request Compose(const guestapi::Handler& handler, const GetTarget& target, const std::string& purpose) {
  http::Request request;
  request.target = target.path;
  std::string host;
  bool accept = false, agent = false;
  http::Headers given;
  for (const auto& [name, value] : handler.headers) {
    if (absl::EqualsIgnoreCase(name, "Host")) {
      if (host.empty()) host = value;
      continue;
    }
    if (absl::EqualsIgnoreCase(name, "Connection")) continue;
    if (absl::EqualsIgnoreCase(name, "User-Agent")) agent = true;
    if (absl::EqualsIgnoreCase(name, "Accept")) {
      accept = true;
      if (value.empty()) continue;
    }
    given.Add(name, value);
  }
  request.headers.Add("Host", host.empty() ? target.Authority() : host);
  if (!agent) request.headers.Add("User-Agent", absl::StrCat("kube-", purpose, "/", kVersion));
  if (!accept) request.headers.Add("Accept", "*/*");
  for (const auto& [name, value] : given.fields()) request.headers.Add(name, value);
  request.headers.Add("Connection", "close");
  return request;
}

struct Answer {
  GetResult result;
  std::string location;
};

Task<StatusOr<Answer>> GetOnce(Clock* clock, GetTarget target, http::Request request,
                               std::shared_ptr<http::TlsContext> tls) {
  auto stream = co_await http::Dial(*clock, target.host, static_cast<uint16_t>(target.port),
                                    target.https ? std::move(tls) : nullptr,
                                    {.connect_timeout = absl::Minutes(1), .alpn = {}, .proxy_url = {}});
  if (!stream.ok() && stream.status().GetPayload(http::kNotTls)) {
    co_return absl::FailedPreconditionError("http: server gave HTTP response to HTTPS client");
  }
  if (!stream.ok()) co_return absl::UnavailableError(DialError(stream.status(), target.Authority()));
  CO_ASSIGN_OR_RETURN(auto response, co_await http::FetchOn(*std::move(stream), std::move(request)));
  Answer out{.result = {.status = response.status}};
  out.location = std::string(response.headers.Get("Location").value_or(""));
  while (out.result.body.size() < kMaxBody) {
    CO_ASSIGN_OR_RETURN(std::string piece, co_await response.body->Read());
    if (piece.empty()) break;
    out.result.body += piece;
  }
  if (out.result.body.size() > kMaxBody) out.result.body.resize(kMaxBody);
  co_return out;
}

bool IsRedirect(int status) {
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

}  // namespace

std::string GetTarget::Authority() const {
  const bool v6 = host.find(':') != std::string::npos;
  return absl::StrCat(v6 ? "[" : "", host, v6 ? "]:" : ":", port);
}

std::string GetTarget::Url() const { return absl::StrCat(https ? "https://" : "http://", Authority(), path); }

GetTarget TargetOf(const guestapi::Handler& handler, std::string_view pod_ip) {
  std::string_view host = handler.host.empty() ? pod_ip : std::string_view(handler.host);
  if (absl::StartsWith(host, "[") && absl::EndsWith(host, "]")) host = host.substr(1, host.size() - 2);
  return {.https = handler.https, .host = std::string(host), .port = handler.port, .path = Path(handler.path)};
}

StatusOr<GetTarget> Redirect(const GetTarget& from, std::string_view location) {
  GetTarget out = from;
  std::string_view rest = absl::StripAsciiWhitespace(location);
  rest = rest.substr(0, rest.find('#'));
  if (size_t colon = rest.find(':'); colon != std::string_view::npos && colon < rest.find_first_of("/?")) {
    const std::string scheme = absl::AsciiStrToLower(rest.substr(0, colon));
    if (scheme != "http" && scheme != "https") {
      return absl::InvalidArgumentError(absl::StrCat("unsupported protocol scheme \"", scheme, "\""));
    }
    out.https = scheme == "https";
    rest.remove_prefix(colon + 1);
    if (!absl::StartsWith(rest, "//")) return absl::InvalidArgumentError("no Host in request URL");
  }
  if (!absl::ConsumePrefix(&rest, "//")) {
    if (rest.empty()) return out;
    if (rest.front() == '?') {
      out.path = absl::StrCat(from.path.substr(0, from.path.find('?')), Path(rest).substr(1));
    } else if (rest.front() == '/') {
      out.path = RemoveDots(Path(rest));
    } else {
      std::string_view base = std::string_view(from.path).substr(0, from.path.find('?'));
      out.path = RemoveDots(absl::StrCat(base.substr(0, base.rfind('/') + 1), Path(rest).substr(1)));
    }
    return out;
  }
  const size_t end = std::min(rest.find_first_of("/?"), rest.size());
  std::string_view authority = rest.substr(0, end);
  if (size_t at = authority.rfind('@'); at != std::string_view::npos) authority.remove_prefix(at + 1);
  std::string_view port;
  if (size_t colon = authority.rfind(':'); colon != std::string_view::npos && authority.back() != ']') {
    port = authority.substr(colon + 1);
    authority = authority.substr(0, colon);
  }
  if (absl::ConsumePrefix(&authority, "[") && !absl::ConsumeSuffix(&authority, "]")) {
    return absl::InvalidArgumentError("missing ']' in host");
  }
  if (authority.empty()) return absl::InvalidArgumentError("no Host in request URL");
  out.host = std::string(authority);
  out.port = out.https ? 443 : 80;
  if (!port.empty() && (!absl::SimpleAtoi(port, &out.port) || out.port < 1 || out.port > 65535)) {
    return absl::InvalidArgumentError(absl::StrCat("invalid port \":", port, "\" after host"));
  }
  out.path = RemoveDots(Path(rest.substr(end)));
  return out;
}

std::string DialError(const Status& status, std::string_view authority) {
  std::string_view message = status.message();
  constexpr std::string_view kRefused = ": Connection refused";
  if (absl::EndsWith(message, kRefused)) return absl::StrCat("dial tcp ", authority, ": connect: connection refused");
  constexpr std::string_view kNoRoute = ": No route to host";
  if (absl::EndsWith(message, kNoRoute)) return absl::StrCat("dial tcp ", authority, ": connect: no route to host");
  return absl::StrCat("dial tcp ", authority, ": ", message);
}

Task<StatusOr<GetResult>> HttpGet(Clock& clock, guestapi::Handler handler, GetTarget target, std::string purpose,
                                  std::shared_ptr<http::TlsContext> tls) {
  const std::string host = target.host;
  std::string shown = target.Url();
  const auto error = [&shown](const Status& status) {
    const bool no_tls = absl::IsFailedPrecondition(status);
    return Status(no_tls ? absl::StatusCode::kFailedPrecondition : absl::StatusCode::kUnavailable,
                  absl::StrCat("Get \"", shown, "\": ", status.message()));
  };
  for (int requests = 1;; ++requests) {
    auto answer = co_await GetOnce(&clock, target, Compose(handler, target, purpose), tls);
    if (!answer.ok()) co_return error(answer.status());
    if (!IsRedirect(answer->result.status) || answer->location.empty()) co_return std::move(answer->result);
    auto next = Redirect(target, answer->location);
    shown = answer->location;
    if (!next.ok()) co_return error(next.status());
    if (next->host != host) co_return std::move(answer->result);
    if (requests >= kMaxRedirects) co_return error(absl::UnavailableError("stopped after 10 redirects"));
    target = *std::move(next);
  }
}

}  // namespace vck::tether
