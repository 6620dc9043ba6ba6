#include "kube/proxy_env.h"

#include <boost/asio/ip/address.hpp>
#include <boost/asio/ip/network_v4.hpp>
#include <boost/asio/ip/network_v6.hpp>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace vck::kube {
namespace {

namespace ip = boost::asio::ip;

bool InNetwork(const ip::address& address, const std::string& network) {
  boost::system::error_code ec;
  if (address.is_v4()) {
    auto net = ip::make_network_v4(network, ec);
    if (ec) return false;
    auto host = ip::network_v4(address.to_v4(), net.prefix_length());
    return host.canonical() == net.canonical();
  }
  auto net = ip::make_network_v6(network, ec);
  if (ec) return false;
  auto host = ip::network_v6(address.to_v6(), net.prefix_length());
  return host.canonical() == net.canonical();
}

bool Covers(std::string pattern, const http::Url& server) {
  if (pattern == "*") return true;
  boost::system::error_code ec;
  ip::address address = ip::make_address(server.host, ec);
  bool is_address = !ec;
  if (is_address && absl::StrContains(pattern, '/')) return InNetwork(address, pattern);
  // A port after the last colon, unless the colons are an IPv6 address's.
  size_t colon = pattern.rfind(':');
  if (colon != std::string::npos && (pattern.find(':') == colon || pattern[colon - 1] == ']')) {
    if (pattern.substr(colon + 1) != absl::StrCat(server.port)) return false;
    pattern.resize(colon);
  }
  if (pattern.size() > 2 && pattern.front() == '[' && pattern.back() == ']')
    pattern = pattern.substr(1, pattern.size() - 2);
  if (is_address) {
    ip::address other = ip::make_address(pattern, ec);
    return !ec && other == address;
  }
  if (absl::StartsWith(pattern, "*.")) pattern.erase(0, 1);
  if (absl::StartsWith(pattern, ".")) return absl::EndsWith(server.host, pattern);
  return server.host == pattern || absl::EndsWith(server.host, "." + pattern);
}

}  // namespace

std::string ProxyFromEnvironment(const http::Url& server,
                                 const std::function<std::optional<std::string>(const std::string&)>& getenv) {
  auto get = [&](const std::string& name) {
    auto value = getenv(name);
    if (!value || value->empty()) value = getenv(absl::AsciiStrToLower(name));
    return value.value_or("");
  };
  std::string proxy = get(server.scheme == "https" ? "HTTPS_PROXY" : "HTTP_PROXY");
  if (proxy.empty()) return "";
  boost::system::error_code ec;
  ip::address address = ip::make_address(server.host, ec);
  if (server.host == "localhost" || (!ec && address.is_loopback())) return "";
  for (std::string_view part : absl::StrSplit(get("NO_PROXY"), ',', absl::SkipEmpty())) {
    std::string pattern = absl::AsciiStrToLower(absl::StripAsciiWhitespace(part));
    if (!pattern.empty() && Covers(pattern, server)) return "";
  }
  return absl::StrContains(proxy, "://") ? proxy : absl::StrCat("http://", proxy);
}

}  // namespace vck::kube
