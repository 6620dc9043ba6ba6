// HTTP requests and responses as plain values.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"

namespace vck::http {

// Header fields in order; names compare without case (RFC 9110 §5.1).
class Headers {
 public:
  Headers() = default;
  Headers(std::initializer_list<std::pair<std::string, std::string>> fields) : fields_(fields) {}
  void Add(std::string name, std::string value) { fields_.emplace_back(std::move(name), std::move(value)); }
  // Replaces all fields of that name.
  void Set(std::string_view name, std::string value);
  void Remove(std::string_view name);
  // The first value of that name.
  [[nodiscard]] std::optional<std::string_view> Get(std::string_view name) const;
  [[nodiscard]] const std::vector<std::pair<std::string, std::string>>& fields() const { return fields_; }

 private:
  std::vector<std::pair<std::string, std::string>> fields_;
};

struct Request {
  std::string method = "GET";
  std::string target = "/";  // path and query, already percent-encoded
  Headers headers;           // Host, Content-Length and connection fields are the client's business
  std::string body;
};

struct Response {
  int status = 0;
  Headers headers;
  std::string body;
};

struct Url {
  std::string scheme;                          // "http" or "https", lower case
  std::string host;                            // without brackets, lower case
  uint16_t port = 0;                           // 80 or 443 where none was written
  std::string path;                            // "" or begins with '/'; no trailing slash
  std::string query;                           // without '?'
  std::string user, password;                  // decoded; empty where absent
  [[nodiscard]] std::string HostPort() const;  // "host:port", IPv6 in brackets
};
// Errors say what was expected and quote the text without its password.
StatusOr<Url> ParseUrl(std::string_view text);
// Percent-encodes all but unreserved characters (RFC 3986 §2.3).
std::string PercentEncode(std::string_view text);

// Payload type URLs on the Status of a failed call.
// Set when the request may have reached the server (so a mutation must be read back before it is repeated); value "1".
inline constexpr std::string_view kMaybeSent = "vck/http/maybe-sent";

}  // namespace vck::http
