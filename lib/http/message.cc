#include "http/message.h"

#include <boost/url/parse.hpp>
#include <boost/url/url_view.hpp>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace vck::http {
namespace {

// What a person may see of a URL: whatever could be part of a password is left out, even where the text is malformed.
std::string Redact(std::string_view text) {
  size_t at = text.rfind('@');
  if (at == std::string_view::npos) return std::string(text);
  size_t start = text.find("://");
  start = start == std::string_view::npos || start > at ? 0 : start + 3;
  size_t colon = text.find(':', start);
  if (colon == std::string_view::npos || colon > at) return std::string(text);
  return absl::StrCat(text.substr(0, colon), ":***", text.substr(at));
}

Status UrlError(std::string_view text, std::string_view expected) {
  return absl::InvalidArgumentError(absl::StrCat("\"", Redact(text), "\" is not a usable URL: ", expected));
}

bool ValidHost(std::string_view host, bool ipv6) {
  if (host.empty() || host.size() > 255) return false;
  for (char c : host) {
    if (!absl::ascii_isalnum(static_cast<unsigned char>(c)) && c != '.' && c != '-' && c != '_' &&
        !(ipv6 && c == ':')) {
      return false;
    }
  }
  return true;
}

}  // namespace

void Headers::Set(std::string_view name, std::string value) {
  std::string key(name);  // `name` may be a view into a field that goes away
  Remove(key);
  fields_.emplace_back(std::move(key), std::move(value));
}

void Headers::Remove(std::string_view name) {
  std::erase_if(fields_, [name = std::string(name)](const auto& f) { return absl::EqualsIgnoreCase(f.first, name); });
}

std::optional<std::string_view> Headers::Get(std::string_view name) const {
  for (const auto& [key, value] : fields_) {
    if (absl::EqualsIgnoreCase(key, name)) return value;
  }
  return std::nullopt;
}

std::string Url::HostPort() const {
  bool ipv6 = absl::StrContains(host, ':');
  return absl::StrCat(ipv6 ? "[" : "", host, ipv6 ? "]:" : ":", port);
}

StatusOr<Url> ParseUrl(std::string_view text) {
  auto parsed = boost::urls::parse_uri(text);
  if (!parsed) return UrlError(text, "expected http(s)://host[:port][/path]");
  const boost::urls::url_view& view = *parsed;
  Url url;
  url.scheme = absl::AsciiStrToLower(std::string_view(view.scheme()));
  if (url.scheme != "http" && url.scheme != "https") return UrlError(text, "the scheme must be http or https");
  if (view.has_fragment()) return UrlError(text, "it must not have a '#' part");
  url.host = absl::AsciiStrToLower(view.host_address());
  if (!ValidHost(url.host, view.host_type() == boost::urls::host_type::ipv6)) {
    return UrlError(text, "expected a host name or an IP address");
  }
  url.port = url.scheme == "http" ? 80 : 443;
  if (view.has_port() && !view.port().empty()) {
    url.port = view.port_number();
    if (url.port == 0) return UrlError(text, "the port must be a number from 1 to 65535");
  }
  url.path = std::string(view.encoded_path());
  while (url.path.ends_with('/')) url.path.pop_back();
  url.query = std::string(view.encoded_query());
  if (view.has_userinfo()) {
    url.user = view.user();
    url.password = view.password();
  }
  return url;
}

std::string PercentEncode(std::string_view text) {
  static constexpr char kHex[] = "0123456789ABCDEF";
  std::string out;
  out.reserve(text.size());
  for (char c : text) {
    auto byte = static_cast<unsigned char>(c);
    if (absl::ascii_isalnum(byte) || c == '-' || c == '.' || c == '_' || c == '~') {
      out.push_back(c);
    } else {
      out.push_back('%');
      out.push_back(kHex[byte >> 4]);
      out.push_back(kHex[byte & 15]);
    }
  }
  return out;
}

}  // namespace vck::http
