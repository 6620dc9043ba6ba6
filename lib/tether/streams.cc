#include "tether/streams.h"

#include <utility>

#include "json/json.h"

namespace vck::tether {

http::Response ErrorResponse(int status, std::string_view code, std::string_view message) {
  json::Object error;
  error["code"] = code;
  error["message"] = message;
  json::Object body;
  body["error"] = std::move(error);
  return {status, {{"Content-Type", "application/json"}}, json::Serialize(std::move(body)) + "\n"};
}

}  // namespace vck::tether
