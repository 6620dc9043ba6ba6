// Header blocks: name/value pairs, packed by one zlib stream per direction of a connection (SPDY/3 §2.6.10).
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/status.h"
#include "http/message.h"

namespace vck::spdy {

// The dictionary that both directions begin with (§2.6.10.1).
const std::string& HeaderDictionary();

class HeaderEncoder {
 public:
  HeaderEncoder();
  ~HeaderEncoder();
  // Names are written in lower case; values of one name become one list. Every block changes the state for the next, so
  // all that are made must be sent, in that order.
  std::string Encode(const http::Headers& headers);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;  // made at the first use: a server that answers with empty blocks hardly needs it
};

class HeaderDecoder {
 public:
  // `max_bytes`: of one block, unpacked. More is ResourceExhausted.
  explicit HeaderDecoder(size_t max_bytes);
  ~HeaderDecoder();
  // One block. InvalidArgument (the connection is of no more use) when it is not zlib or is cut short; a block that
  // unpacks but whose content breaks the rules (an empty, doubled or upper-case name) says so in `*malformed`, and
  // concerns only its stream. A value with several parts becomes several fields.
  StatusOr<http::Headers> Decode(std::string_view block, bool* malformed);

 private:
  struct Impl;
  size_t max_bytes_;
  std::unique_ptr<Impl> impl_;
};

}  // namespace vck::spdy
