#include "node/datastore_logs.h"

#include "absl/strings/str_cat.h"
#include "vch/keys.h"

namespace vck::node {
namespace {

constexpr absl::Duration kUploadTimeout = absl::Minutes(2);

}  // namespace

DatastoreLogs::DatastoreLogs(vsphere::DatastoreFiles& files, vimtypes::MoRef datastore, std::string datastore_name,
                             const std::string& vch_id)
    : files_(files),
      datastore_(std::move(datastore)),
      datastore_name_(std::move(datastore_name)),
      vch_(vch_id),
      root_(absl::StrCat(vch_id, "/", vch::kLogsFolder)) {}

vsphere::FilePlace DatastoreLogs::At(std::string_view path) const {
  return {.datastore = datastore_name_, .path = path.empty() ? root_ : absl::StrCat(root_, "/", path)};
}

Task<Status> DatastoreLogs::Upload(std::string path, int64_t size, http::BodySource source) {
  CO_RETURN_IF_ERROR(co_await files_.MakeFolder(At(path.substr(0, path.rfind('/')))));
  co_return co_await files_.Upload(At(path), size, std::move(source), kUploadTimeout);
}

Task<StatusOr<std::unique_ptr<http::BodyReader>>> DatastoreLogs::Open(std::string path) {
  return files_.Open(At(path));
}

Task<Status> DatastoreLogs::Remove(std::string folder) { return files_.Delete(At(folder)); }

Task<StatusOr<std::vector<std::string>>> DatastoreLogs::Folders() {
  auto entries = co_await files_.List(datastore_, At(""));
  if (absl::IsNotFound(entries.status())) co_return std::vector<std::string>();
  CO_RETURN_IF_ERROR(entries.status());
  std::vector<std::string> names;
  for (const vsphere::FileEntry& entry : *entries) {
    if (entry.is_folder) names.push_back(entry.path.substr(entry.path.rfind('/') + 1));
  }
  co_return names;
}

Task<Status> DatastoreLogs::RemoveIfEmpty() {
  for (const std::string& folder : {root_, vch_}) {
    vsphere::FilePlace place{.datastore = datastore_name_, .path = folder};
    auto entries = co_await files_.List(datastore_, place);
    if (absl::IsNotFound(entries.status())) continue;
    CO_RETURN_IF_ERROR(entries.status());
    if (!entries->empty()) break;
    CO_RETURN_IF_ERROR(co_await files_.Delete(place));
  }
  co_return absl::OkStatus();
}

}  // namespace vck::node
