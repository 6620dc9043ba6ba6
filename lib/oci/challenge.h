// WWW-Authenticate (RFC 9110 §11.6.1) and the answers of token servers; pure.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"
#include "base/status.h"

namespace vck::oci {

struct Challenge {
  std::string scheme;                         // "bearer", "basic": lower case
  std::map<std::string, std::string> params;  // names in lower case; a token68 is left out
};
// The challenges of one field, in order. What is malformed ends the list.
std::vector<Challenge> ParseChallenges(std::string_view field);

// docs.docker.com/registry/spec/auth/token: token or access_token.
struct Token {
  std::string token;
  absl::Duration lifetime;  // 60 s where not said
};
StatusOr<Token> ParseToken(std::string_view body);

// A registry's error body: {"errors":[{"code":"UNAUTHORIZED","message":"…"}]}: "message; message", or "".
std::string ErrorText(std::string_view body);
// The same for one code: whether it is among them.
bool HasErrorCode(std::string_view body, std::string_view code);

}  // namespace vck::oci
