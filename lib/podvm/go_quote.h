// Text in quotes as Go's strconv.Quote and %q write it.
#pragma once

#include <string>
#include <string_view>

namespace vck::podvm {

// Escapes quotes, backslashes, control characters, bytes that are not UTF-8, and characters that are not printable as
// far as they are known here: separators, format and private-use characters (not every unassigned one).
std::string GoQuote(std::string_view text);

}  // namespace vck::podvm
