// The proxy that the environment asks for.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "http/message.h"

namespace vck::kube {

// HTTPS_PROXY or HTTP_PROXY by the server's scheme, unless NO_PROXY covers it (names and their subdomains, ".suffix",
// addresses, networks, "*", each with an optional ":port"), in upper or lower case; "" for none. Loopback is never
// proxied.
std::string ProxyFromEnvironment(const http::Url& server,
                                 const std::function<std::optional<std::string>(const std::string&)>& getenv);

}  // namespace vck::kube
