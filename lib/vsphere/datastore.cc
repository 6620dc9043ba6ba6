#include "vsphere/datastore.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace vck::vsphere {
namespace {

constexpr absl::Duration kTransferTimeout = absl::Minutes(5);

Status ToStatus(const http::Response& response, const http::Request& request) {
  if (response.status < 300) return absl::OkStatus();
  std::string text = absl::StrCat(request.method, " ", request.target, ": HTTP status ", response.status);
  switch (response.status) {
    case 401:
      return absl::UnauthenticatedError(text);
    case 403:
      return absl::PermissionDeniedError(text);
    case 404:
      return absl::NotFoundError(text);
    case 507:
      return absl::ResourceExhaustedError(text);
    default:
      return response.status >= 500 ? absl::UnavailableError(text) : absl::InvalidArgumentError(text);
  }
}

std::string EncodePath(std::string_view path) {
  std::string out;
  for (std::string_view part : absl::StrSplit(path, '/')) {
    if (!part.empty()) absl::StrAppend(&out, "/", http::PercentEncode(part));
  }
  return out;
}

void AppendResults(const vim::HostDatastoreBrowserSearchResults& results, std::vector<FileEntry>& out) {
  // "[ds] dir/" or "[ds]".
  std::string_view folder = results.folderPath ? std::string_view(*results.folderPath) : std::string_view();
  size_t bracket = folder.find(']');
  if (bracket != std::string_view::npos) folder.remove_prefix(bracket + 1);
  while (folder.starts_with(' ') || folder.starts_with('/')) folder.remove_prefix(1);
  while (folder.ends_with('/')) folder.remove_suffix(1);
  for (const auto& file : results.file) {
    out.push_back({.path = folder.empty() ? file->path : absl::StrCat(folder, "/", file->path),
                   .size = file->fileSize.value_or(0),
                   .modified = file->modification.value_or(""),
                   .is_folder = file->TypeName() == vim::FolderFileInfo::kWsdlName});
  }
}

}  // namespace

std::string FilePlace::ToString() const {
  return path.empty() ? absl::StrCat("[", datastore, "]") : absl::StrCat("[", datastore, "] ", path);
}

DatastoreFiles::DatastoreFiles(Calls& calls, MoRef datacenter, std::string datacenter_path)
    : calls_(calls), datacenter_(std::move(datacenter)), datacenter_path_(std::move(datacenter_path)) {}

http::Request DatastoreFiles::Request(std::string method, const FilePlace& place) const {
  return {.method = std::move(method),
          .target = absl::StrCat("/folder", EncodePath(place.path), "?dcPath=", http::PercentEncode(datacenter_path_),
                                 "&dsName=", http::PercentEncode(place.datastore)),
          .headers = {{"User-Agent", calls_.session().options().user_agent}}};
}

// Sends a request that may be repeated with a fresh session's cookie.
template <class Send>
Task<StatusOr<http::Response>> DatastoreFiles::WithSession(http::Request request, Send send) {
  for (int attempt = 0;; ++attempt) {
    CO_RETURN_IF_ERROR(co_await calls_.session().Connect());
    uint64_t epoch = calls_.session().epoch();
    http::Request copy = request;
    copy.headers.Set("Cookie", calls_.session().cookie());
    CO_ASSIGN_OR_RETURN(http::Response response, co_await send(calls_.session().client(), std::move(copy)));
    if (response.status != 401 || attempt > 0) {
      CO_RETURN_IF_ERROR(ToStatus(response, request));
      co_return response;
    }
    calls_.session().Invalidate(epoch);
  }
}

Task<Status> DatastoreFiles::Upload(FilePlace place, std::string content) {
  http::Request request = Request("PUT", place);
  request.headers.Add("Content-Type", "application/octet-stream");
  request.body = std::move(content);
  co_return (co_await WithSession(std::move(request), [](http::Client& client, http::Request r) {
    return client.Do(std::move(r), {.timeout = kTransferTimeout});
  })).status();
}

Task<Status> DatastoreFiles::Upload(FilePlace place, int64_t size, http::BodySource source, absl::Duration timeout) {
  CO_RETURN_IF_ERROR(co_await calls_.session().Connect());
  http::Request request = Request("PUT", place);
  request.headers.Add("Content-Type", "application/octet-stream");
  request.headers.Add("Cookie", calls_.session().cookie());
  uint64_t epoch = calls_.session().epoch();
  http::Request sent = request;
  CO_ASSIGN_OR_RETURN(http::Response response, co_await calls_.session().client().Upload(
                                                   std::move(sent), size, std::move(source), {.timeout = timeout}));
  if (response.status == 401) calls_.session().Invalidate(epoch);
  co_return ToStatus(response, request);
}

Task<StatusOr<std::string>> DatastoreFiles::Download(FilePlace place, size_t max_bytes) {
  CO_ASSIGN_OR_RETURN(http::Response response,
                      co_await WithSession(Request("GET", place), [max_bytes](http::Client& client, http::Request r) {
                        return client.Do(std::move(r), {.timeout = kTransferTimeout, .max_body_bytes = max_bytes});
                      }));
  co_return std::move(response.body);
}

Task<StatusOr<std::unique_ptr<http::BodyReader>>> DatastoreFiles::Open(FilePlace place, int64_t offset) {
  http::Request request = Request("GET", place);
  if (offset > 0) request.headers.Add("Range", absl::StrCat("bytes=", offset, "-"));
  for (int attempt = 0;; ++attempt) {
    CO_RETURN_IF_ERROR(co_await calls_.session().Connect());
    uint64_t epoch = calls_.session().epoch();
    http::Request copy = request;
    copy.headers.Set("Cookie", calls_.session().cookie());
    CO_ASSIGN_OR_RETURN(http::StreamingResponse response, co_await calls_.session().client().Open(std::move(copy)));
    if (response.status == 401 && attempt == 0) {
      calls_.session().Invalidate(epoch);
      continue;
    }
    CO_RETURN_IF_ERROR(ToStatus({.status = response.status}, request));
    if (offset > 0 && response.status != 206) co_return absl::UnimplementedError("the server sends no ranges");
    co_return std::move(response.body);
  }
}

Task<StatusOr<std::vector<FileEntry>>> DatastoreFiles::List(MoRef datastore, FilePlace folder, std::string pattern,
                                                            bool recursive) {
  CO_ASSIGN_OR_RETURN(std::vector<ObjectChange> found, co_await calls_.Retrieve({datastore}, {"browser"}));
  const MoRef* browser = nullptr;
  if (!found.empty() && !found[0].changes.empty()) browser = std::get_if<MoRef>(&found[0].changes[0].value);
  if (browser == nullptr)
    co_return absl::NotFoundError(absl::StrCat("datastore ", folder.datastore, " has no browser"));
  vim::HostDatastoreBrowserSearchSpec spec;
  spec.details = vim::FileQueryFlags{.fileType = true, .fileSize = true, .modification = true, .fileOwner = false};
  spec.matchPattern = {std::move(pattern)};
  std::string path = folder.ToString();
  auto call = vim::SearchDatastore_Task(*browser, path, spec);
  if (recursive) {
    auto below = vim::SearchDatastoreSubFolders_Task(*browser, path, spec);
    call = {below.method, std::move(below.body)};
  }
  StatusOr<TaskResult> done = co_await calls_.RunTask(std::move(call));
  if (vim::IsFault(done.status(), "FileNotFound")) co_return absl::NotFoundError(done.status().message());
  CO_RETURN_IF_ERROR(done.status());
  std::vector<FileEntry> files;
  const auto* raw = std::get_if<vim::RawXml>(&done->result);
  if (raw == nullptr) co_return files;
  if (raw->type == "ArrayOfHostDatastoreBrowserSearchResults") {
    CO_ASSIGN_OR_RETURN(auto all, vim::FromRaw<std::vector<vim::HostDatastoreBrowserSearchResults>>(*raw));
    for (const auto& results : all) AppendResults(results, files);
  } else {
    CO_ASSIGN_OR_RETURN(auto results, vim::FromRaw<vim::HostDatastoreBrowserSearchResults>(*raw));
    AppendResults(results, files);
  }
  co_return files;
}

Task<StatusOr<MoRef>> DatastoreFiles::FileManager() {
  CO_RETURN_IF_ERROR(co_await calls_.session().Connect());
  if (!calls_.session().content().fileManager) co_return absl::UnimplementedError("the server has no file manager");
  co_return *calls_.session().content().fileManager;
}

Task<Status> DatastoreFiles::Delete(FilePlace place) {
  CO_ASSIGN_OR_RETURN(MoRef manager, co_await FileManager());
  Status status = (co_await calls_.RunTask(vim::DeleteDatastoreFile_Task(manager, place.ToString(), datacenter_),
                                           Limiter::Priority::kHigh))
                      .status();
  co_return vim::IsFault(status, "FileNotFound") ? absl::OkStatus() : status;
}

Task<Status> DatastoreFiles::Move(FilePlace from, FilePlace to, bool force) {
  CO_ASSIGN_OR_RETURN(MoRef manager, co_await FileManager());
  co_return (co_await calls_.RunTask(
                 vim::MoveDatastoreFile_Task(manager, from.ToString(), datacenter_, to.ToString(), datacenter_, force)))
      .status();
}

Task<Status> DatastoreFiles::Copy(FilePlace from, FilePlace to, bool force) {
  CO_ASSIGN_OR_RETURN(MoRef manager, co_await FileManager());
  co_return (co_await calls_.RunTask(
                 vim::CopyDatastoreFile_Task(manager, from.ToString(), datacenter_, to.ToString(), datacenter_, force)))
      .status();
}

Task<Status> DatastoreFiles::MakeFolder(FilePlace place) {
  CO_ASSIGN_OR_RETURN(MoRef manager, co_await FileManager());
  Status status = co_await calls_.session().Invoke(vim::MakeDirectory(manager, place.ToString(), datacenter_, true));
  co_return vim::IsFault(status, "FileAlreadyExists") ? absl::OkStatus() : status;
}

}  // namespace vck::vsphere
