// Files on datastores: content through vCenter's /folder, the rest through FileManager and the datastore's browser.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "vsphere/calls.h"

namespace vck::vsphere {

// A place on a datastore. `path` has no leading '/'.
struct FilePlace {
  std::string datastore;  // by name
  std::string path;
  [[nodiscard]] std::string ToString() const;  // "[datastore] path"
};

struct FileEntry {
  std::string path;  // relative to the datastore's root
  int64_t size = 0;
  std::string modified;  // xsd:dateTime
  bool is_folder = false;
};

class DatastoreFiles {
 public:
  // `datacenter_path` is as /folder wants it: "DC0", or "folder/DC0".
  DatastoreFiles(Calls& calls, MoRef datacenter, std::string datacenter_path);

  // Overwrites. The folder must exist.
  Task<Status> Upload(FilePlace place, std::string content);
  // `size` in bytes. Not repeated when the session turns out to be gone: Unauthenticated then.
  Task<Status> Upload(FilePlace place, int64_t size, http::BodySource source, absl::Duration timeout);
  // NotFound if there is no such file; ResourceExhausted beyond max_bytes.
  Task<StatusOr<std::string>> Download(FilePlace place, size_t max_bytes = 64 << 20);
  // The bytes from `offset` on, as they come.
  Task<StatusOr<std::unique_ptr<http::BodyReader>>> Open(FilePlace place, int64_t offset = 0);

  // What matches `pattern` ("*.log") in the folder and, if `recursive`, below it. NotFound if there is no such folder.
  Task<StatusOr<std::vector<FileEntry>>> List(MoRef datastore, FilePlace folder, std::string pattern = "*",
                                              bool recursive = false);
  // A file, or a folder with all in it. Gone already: OK.
  Task<Status> Delete(FilePlace place);
  Task<Status> Move(FilePlace from, FilePlace to, bool force);
  Task<Status> Copy(FilePlace from, FilePlace to, bool force);
  // With its parents. There already: OK.
  Task<Status> MakeFolder(FilePlace place);

 private:
  [[nodiscard]] http::Request Request(std::string method, const FilePlace& place) const;
  template <class Send>
  Task<StatusOr<http::Response>> WithSession(http::Request request, Send send);
  Task<StatusOr<MoRef>> FileManager();

  Calls& calls_;
  MoRef datacenter_;
  std::string datacenter_path_;
};

}  // namespace vck::vsphere
