// LogFiles on the VCH's datastore: "[datastore] <vch id>/logs/<path>".
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "node/log_archive.h"
#include "vsphere/datastore.h"

namespace vck::node {

class DatastoreLogs : public LogFiles {
 public:
  DatastoreLogs(vsphere::DatastoreFiles& files, vimtypes::MoRef datastore, std::string datastore_name,
                const std::string& vch_id);

  Task<Status> Upload(std::string path, int64_t size, http::BodySource source) override;
  Task<StatusOr<std::unique_ptr<http::BodyReader>>> Open(std::string path) override;
  Task<Status> Remove(std::string folder) override;
  Task<StatusOr<std::vector<std::string>>> Folders() override;
  // And the VCH's folder, if nothing else was in it.
  Task<Status> RemoveIfEmpty() override;

 private:
  [[nodiscard]] vsphere::FilePlace At(std::string_view path) const;

  vsphere::DatastoreFiles& files_;
  vimtypes::MoRef datastore_;
  std::string datastore_name_;
  std::string vch_;
  std::string root_;
};

}  // namespace vck::node
