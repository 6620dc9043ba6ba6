#include "kubeletapi/attributes.h"

#include "absl/strings/match.h"

namespace vck::kubeletapi {
namespace {

// `path` is `prefix` or below it.
bool IsSubpath(std::string_view path, std::string_view prefix) {
  return absl::StartsWith(path, prefix) && (path.size() == prefix.size() || path[prefix.size()] == '/');
}

}  // namespace

Attributes AttributesOf(std::string_view method, const Target& target) {
  Attributes out;
  if (method == "POST") out.verb = "create";
  if (method == "GET") out.verb = "get";
  if (method == "PUT") out.verb = "update";
  if (method == "PATCH") out.verb = "patch";
  if (method == "DELETE") out.verb = "delete";
  // What is not served needs the most.
  if (target.devious) {
    out.subresources = {"proxy"};
    return out;
  }
  const std::string& path = target.path;
  struct Rule {
    std::string_view prefix, subresource;
  };
  for (const Rule& rule : {Rule{"/pods", "pods"}, Rule{"/healthz", "healthz"}, Rule{"/configz", "configz"},
                           Rule{"/runningpods", "pods"}}) {
    if (IsSubpath(path, rule.prefix)) {
      out.subresources = {std::string(rule.subresource), "proxy"};
      return out;
    }
  }
  for (const Rule& rule : {Rule{"/stats", "stats"}, Rule{"/metrics", "metrics"}, Rule{"/logs", "log"},
                           Rule{"/checkpoint", "checkpoint"}, Rule{"/statusz", "statusz"}, Rule{"/flagz", "configz"}}) {
    if (IsSubpath(path, rule.prefix)) {
      out.subresources = {std::string(rule.subresource)};
      return out;
    }
  }
  out.subresources = {"proxy"};
  return out;
}

}  // namespace vck::kubeletapi
