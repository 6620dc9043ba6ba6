// Answers as the kubelet gives them: plain text. Not for other layers.
#pragma once

#include <string>

#include "absl/strings/str_cat.h"
#include "http/server.h"

namespace vck::kubeletapi::internal {

inline http::Response Text(int status, std::string body) {
  return {
      status, {{"Content-Type", "text/plain; charset=utf-8"}, {"X-Content-Type-Options", "nosniff"}}, std::move(body)};
}

}  // namespace vck::kubeletapi::internal
