// Names of vCenter objects.
#pragma once

#include <string>
#include <string_view>

#include "base/status.h"

namespace vck::vch {

inline constexpr size_t kMaxName = 80;  // vCenter's limit for an inventory name, counted before escaping

// The deterministic name of a pod's VM: "<namespace>-<pod>-<12 hex>", where the digits are the first of
// SHA-256("<vch id>\n<pod uid>") and the words before them are cut so that all fits into kMaxName. DuplicateName on it
// means: this pod's VM is there, or on its way.
std::string PodVmName(std::string_view vch_id, std::string_view pod_uid, std::string_view pod_namespace,
                      std::string_view pod_name);
// The name of an image's anchor: "image-<12 hex of the digest>-<12 hex>" for this VCH.
std::string ImageVmName(std::string_view vch_id, std::string_view digest);

// vCenter holds '%', '/' and '\' of a name as %25, %2f and %5c.
std::string EscapeName(std::string_view name);
std::string UnescapeName(std::string_view name);

// A VCH's name (folder, pool, endpoint VM): 1 to 31 characters, letters, digits, '-', '_' and '.', no '.' or '-' first.
Status CheckVchName(std::string_view name);

// "[datastore] dir/file": the form of a path on a datastore. Parse accepts what vCenter writes.
struct DatastorePath {
  std::string datastore;
  std::string path;  // no leading '/'; may be empty (the root)
  [[nodiscard]] std::string ToString() const;
  friend bool operator==(const DatastorePath&, const DatastorePath&) = default;
};
StatusOr<DatastorePath> ParseDatastorePath(std::string_view text);

}  // namespace vck::vch
