#include "base/digest.h"

#include <algorithm>
#include <array>
#include <cstdlib>

#include <openssl/evp.h>
#include <sys/random.h>

#include "absl/log/check.h"
#include "absl/strings/escaping.h"

namespace vck {

namespace {

using Sha256 = std::array<unsigned char, 32>;

Sha256 HashOf(std::string_view data) {
  // EVP_sha256() would be looked up anew by every call.
  static const EVP_MD* const kSha256 = EVP_MD_fetch(nullptr, "SHA256", nullptr);
  Sha256 out{};
  CHECK_EQ(EVP_Digest(data.data(), data.size(), out.data(), nullptr, kSha256, nullptr), 1);
  return out;
}

}  // namespace

std::string Sha256Hex(std::string_view data) {
  const Sha256 hash = HashOf(data);
  return absl::BytesToHexString(std::string_view(reinterpret_cast<const char*>(hash.data()), hash.size()));
}

Fingerprint FingerprintOf(std::string_view data) {
  const Sha256 hash = HashOf(data);
  Fingerprint out{};
  std::copy_n(hash.begin(), out.size(), out.begin());
  return out;
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
