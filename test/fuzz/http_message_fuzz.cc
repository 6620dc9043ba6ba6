// Bytes of a peer: the first byte chooses request or response and the size of the pieces, and the result must not
// depend on how the bytes were cut.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "http/h1.h"

namespace {

using vck::http::internal::MessageParser;

struct Result {
  bool error = false;
  int status = 0;
  std::string method, target, body, fields;
  bool operator==(const Result&) const = default;
};

Result Parse(MessageParser::Kind kind, std::string_view data, size_t piece) {
  MessageParser parser(kind, {.header_bytes = 2048, .body_bytes = 65536});
  Result result;
  std::string input;
  while (!data.empty() && !parser.done() && !result.error) {
    size_t n = std::min(piece, data.size());
    input.append(data.substr(0, n));
    data.remove_prefix(n);
    while (!input.empty() && !parser.done()) {
      auto used = parser.Feed(input);
      if (!used.ok()) {
        result.error = true;
        break;
      }
      if (*used > input.size()) std::abort();
      input.erase(0, *used);
      if (*used == 0) break;
    }
    result.body += parser.TakeBody();
  }
  if (!parser.done()) (void)parser.Eof();
  // How early a bad message is noticed may differ, so that it is an error or still incomplete; that it is no message
  // may not.
  if (result.error || !parser.done()) return {.error = true};
  result.status = parser.status();
  for (const auto& [name, value] : parser.headers().fields()) result.fields += name + ":" + value + "\n";
  result.method = parser.TakeMethod();
  result.target = parser.TakeTarget();
  return result;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  auto kind = (data[0] & 1) != 0 ? MessageParser::Kind::kRequest : MessageParser::Kind::kResponse;
  size_t piece = 1 + data[0] / 2;
  std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (Parse(kind, text, piece) != Parse(kind, text, text.size() + 1)) std::abort();
  return 0;
}
