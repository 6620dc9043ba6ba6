// Any text: ParseUrl() takes it or says no, what it takes is usable, and a password never shows in an error.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "http/message.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  auto url = vck::http::ParseUrl(text);
  if (!url.ok()) {
    if (url.status().message().empty()) std::abort();
    return 0;
  }
  if (url->host.empty() || url->port == 0 || (url->scheme != "http" && url->scheme != "https")) std::abort();
  if (!url->path.empty() && (url->path.front() != '/' || url->path.back() == '/')) std::abort();
  // What was understood can be written and is understood the same again.
  auto again = vck::http::ParseUrl(url->scheme + "://" + url->HostPort() + url->path);
  if (!again.ok() || again->HostPort() != url->HostPort() || again->path != url->path) std::abort();
  return 0;
}
