// UTF-8, strictly: no overlong forms, no surrogates.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace vck {

struct Rune {
  uint32_t code = 0;
  size_t size = 0;  // in bytes; 0: not UTF-8
};
// The first character of a text that is not empty.
Rune DecodeRune(std::string_view text);

// True if all of it is well-formed.
bool IsUtf8(std::string_view text);

}  // namespace vck
