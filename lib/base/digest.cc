#include "base/digest.h"

#include <array>
#include <cstdlib>

#include <openssl/evp.h>
#include <sys/random.h>

#include "absl/log/check.h"
#include "absl/strings/escaping.h"

namespace vck {

std::string Sha256Hex(std::string_view data) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> out{};
  unsigned int size = 0;
  CHECK_EQ(EVP_Digest(data.data(), data.size(), out.data(), &size, EVP_sha256(), nullptr), 1);
  return absl::BytesToHexString(std::string_view(reinterpret_cast<const char*>(out.data()), size));
}

std::string RandomHex(size_t bytes) {
  std::string raw(bytes, '\0');
  size_t have = 0;
  while (have < bytes) {
    ssize_t n = getrandom(raw.data() + have, bytes - have, 0);
    if (n > 0) have += static_cast<size_t>(n);
  }
  return absl::BytesToHexString(raw);
}

}  // namespace vck
