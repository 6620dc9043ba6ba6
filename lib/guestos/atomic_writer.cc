#include "guestos/atomic_writer.h"

#include <cerrno>
#include <filesystem>
#include <set>

#include <sys/stat.h>

#include "absl/strings/match.h"
#include "absl/strings/str_format.h"
#include "guestos/files.h"

namespace vck::guestos {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kData = "..data";
constexpr mode_t kDirectoryMode = 0755, kGroupRead = 0440, kGroupDirectory = 02550;

Status Own(const std::string& path, std::optional<int64_t> user, std::optional<int64_t> group, mode_t mode) {
  // chown clears the setgid bit, so it comes first; -1 leaves an owner as it is.
  if ((user || group) &&
      ::chown(path.c_str(), static_cast<uid_t>(user.value_or(-1)), static_cast<gid_t>(group.value_or(-1))) != 0) {
    return FileError(errno, "chown", path);
  }
  if (::chmod(path.c_str(), mode) != 0) return FileError(errno, "chmod", path);
  return absl::OkStatus();
}

Status MakeOwnedDirs(const std::string& base, const fs::path& relative, std::optional<int64_t> group) {
  std::string path = base;
  for (const fs::path& part : relative) {
    absl::StrAppend(&path, "/", part.string());
    if (::mkdir(path.c_str(), kDirectoryMode) != 0) {
      if (errno == EEXIST) continue;
      return FileError(errno, "mkdir", path);
    }
    RETURN_IF_ERROR(Own(path, std::nullopt, group, group ? kDirectoryMode | kGroupDirectory : kDirectoryMode));
  }
  return absl::OkStatus();
}

Status WriteVersion(const std::string& version, const std::vector<guestapi::FileSpec>& files,
                    std::optional<int64_t> group) {
  RETURN_IF_ERROR(Own(version, std::nullopt, group, group ? kDirectoryMode | kGroupDirectory : kDirectoryMode));
  for (const guestapi::FileSpec& file : files) {
    RETURN_IF_ERROR(MakeOwnedDirs(version, fs::path(file.path).parent_path(), group));
    const std::string path = absl::StrCat(version, "/", file.path);
    // Nobody may read it before it has its own mode.
    RETURN_IF_ERROR(WriteFile(path, file.content, 0600));
    const auto mode = static_cast<mode_t>(file.mode);
    RETURN_IF_ERROR(Own(path, file.user, group, group ? mode | kGroupRead : mode));
  }
  return absl::OkStatus();
}

// A link that replaces whatever is at directory/name in one step.
Status ReplaceLink(const std::string& directory, std::string_view name, const std::string& target) {
  const std::string path = absl::StrCat(directory, "/", name);
  const std::string next = directory + "/..new";  // no file of a volume is called so
  ::unlink(next.c_str());
  if (::symlink(target.c_str(), next.c_str()) != 0) return FileError(errno, "symlink", next);
  if (::rename(next.c_str(), path.c_str()) != 0) return FileError(errno, "rename", next);
  return absl::OkStatus();
}

}  // namespace

Status WriteAtomically(const std::string& directory, const std::vector<guestapi::FileSpec>& files,
                       std::optional<int64_t> group, absl::Time now) {
  std::error_code ec;
  const fs::path old = fs::read_symlink(absl::StrCat(directory, "/", kData), ec);
  std::string name = absl::FormatTime("..%Y_%m_%d_%H_%M_%S.", now, absl::UTCTimeZone());
  absl::StrAppendFormat(&name, "%010d", absl::ToUnixNanos(now) % 1'000'000'000);
  while (name == old.string()) name += "0";
  const std::string version = absl::StrCat(directory, "/", name);
  RETURN_IF_ERROR(RemoveTree(version));
  if (::mkdir(version.c_str(), kDirectoryMode) != 0) return FileError(errno, "mkdir", version);
  Status status = WriteVersion(version, files, group);
  if (status.ok()) status = ReplaceLink(directory, kData, name);
  if (!status.ok()) {
    (void)RemoveTree(version);
    return status;
  }

  std::set<std::string> shown;
  for (const guestapi::FileSpec& file : files) shown.insert(fs::path(file.path).begin()->string());
  for (const std::string& top : shown) {
    const std::string target = absl::StrCat(kData, "/", top);
    if (fs::read_symlink(absl::StrCat(directory, "/", top), ec).string() != target) {
      RETURN_IF_ERROR(ReplaceLink(directory, top, target));
    }
  }
  for (const fs::directory_entry& entry : fs::directory_iterator(directory, ec)) {
    const std::string top = entry.path().filename().string();
    if (top == name || top == kData || shown.contains(top)) continue;
    // What else is here was made for a subPath that no file has.
    if (!entry.is_symlink(ec) && !absl::StartsWith(top, "..")) continue;
    RETURN_IF_ERROR(RemoveTree(entry.path().string()));
  }
  return absl::OkStatus();
}

}  // namespace vck::guestos
