// PEM text from configuration and from guests' certificate requests: taken or refused with a message.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "http/tls.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace vck::http;
  std::string text(reinterpret_cast<const char*>(data), size);
  static const std::string* const key = new std::string(GenerateKeyPem().value());
  auto hash = PublicKeyHash(text);
  if (!hash.ok() && hash.status().message().empty()) std::abort();
  if (hash.ok() && hash->size() != 64) std::abort();
  (void)TlsContext::Client({.ca_pem = text});
  (void)SignCertificate(text, {.common_name = "x"}, "", *key);
  return 0;
}
