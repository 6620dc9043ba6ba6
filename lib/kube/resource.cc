#include "kube/resource.h"

#include "absl/strings/str_cat.h"
#include "http/message.h"

namespace vck::kube {

std::string ResourcePath(const ObjectRef& ref, std::string_view subresource) {
  const Resource& r = ref.resource;
  std::string path =
      r.group.empty() ? absl::StrCat("/api/", r.version) : absl::StrCat("/apis/", r.group, "/", r.version);
  if (r.namespaced && !ref.ns.empty()) absl::StrAppend(&path, "/namespaces/", http::PercentEncode(ref.ns));
  absl::StrAppend(&path, "/", r.plural);
  if (!ref.name.empty()) absl::StrAppend(&path, "/", http::PercentEncode(ref.name));
  if (!subresource.empty()) absl::StrAppend(&path, "/", subresource);
  return path;
}

}  // namespace vck::kube
