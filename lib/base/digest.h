// SHA-256 and random bytes, as text.
#pragma once

#include <array>
#include <cstddef>
#include <string>
#include <string_view>

namespace vck {

// Lower-case hex of SHA-256 (FIPS 180-4): 64 characters.
std::string Sha256Hex(std::string_view data);
// The first half of SHA-256: stands for `data` as a key, in a tenth of the memory.
using Fingerprint = std::array<unsigned char, 16>;
Fingerprint FingerprintOf(std::string_view data);
// Lower-case hex of `bytes` random bytes from the system's generator.
std::string RandomHex(size_t bytes);

}  // namespace vck
