#include "guestos/container_user.h"

#include <algorithm>
#include <limits>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace vck::guestos {
namespace {

constexpr int64_t kMaxId = std::numeric_limits<int32_t>::max();  // as runc's

struct PasswdEntry {
  std::string_view name;
  uint32_t uid = 0, gid = 0;
  std::string_view home;
};

bool ParseId(std::string_view text, uint32_t* id) {
  int64_t number = 0;
  if (!absl::SimpleAtoi(text, &number) || number < 0 || number > kMaxId) return false;
  *id = static_cast<uint32_t>(number);
  return true;
}

bool IsNumber(std::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
}

std::optional<PasswdEntry> ParsePasswd(std::string_view line) {
  std::vector<std::string_view> fields = absl::StrSplit(line, ':');
  PasswdEntry out;
  if (fields.size() < 4 || fields[0].empty()) return std::nullopt;
  if (!ParseId(fields[2], &out.uid) || !ParseId(fields[3], &out.gid)) return std::nullopt;
  out.name = fields[0];
  if (fields.size() > 5) out.home = fields[5];
  return out;
}

// The first entry of that name, or of that number.
std::optional<PasswdEntry> FindUser(std::string_view passwd, std::string_view wanted, bool by_name) {
  uint32_t id = 0;
  const bool number = ParseId(wanted, &id);
  for (std::string_view line : absl::StrSplit(passwd, '\n')) {
    auto entry = ParsePasswd(line);
    if (entry && ((by_name && entry->name == wanted) || (number && entry->uid == id))) return entry;
  }
  return std::nullopt;
}

StatusOr<uint32_t> Number(std::string_view what, std::string_view text) {
  uint32_t id = 0;
  if (!ParseId(text, &id)) {
    return absl::InvalidArgumentError(absl::StrCat(what, " ", text, ": uids and gids must be in range 0-", kMaxId));
  }
  return id;
}

StatusOr<uint32_t> FindGroup(std::string_view group, std::string_view wanted) {
  for (std::string_view line : absl::StrSplit(group, '\n')) {
    std::vector<std::string_view> fields = absl::StrSplit(line, ':');
    uint32_t gid = 0;
    if (fields.size() >= 3 && fields[0] == wanted && ParseId(fields[2], &gid)) return gid;
  }
  if (IsNumber(wanted)) return Number("group", wanted);
  return absl::NotFoundError(absl::StrCat("unable to find group ", wanted, ": no matching entries in group file"));
}

void Add(std::vector<uint32_t>* groups, uint32_t gid) {
  if (std::find(groups->begin(), groups->end(), gid) == groups->end()) groups->push_back(gid);
}

}  // namespace

StatusOr<ContainerUser> ResolveUser(const UserRequest& request, std::string_view passwd, std::string_view group) {
  const size_t colon = request.image_user.find(':');
  std::string user = request.image_user.substr(0, colon);
  std::string group_name;
  if (request.user) {
    user = absl::StrCat(*request.user);
  } else if (colon != std::string::npos) {
    group_name = request.image_user.substr(colon + 1);
  }
  if (user.empty()) user = "0";

  ContainerUser out;
  // runAsUser is a number, even if somebody is called so.
  std::optional<PasswdEntry> entry = FindUser(passwd, user, !request.user.has_value());
  if (entry) {
    out.uid = entry->uid;
    out.gid = entry->gid;
    if (!entry->home.empty()) out.home = entry->home;
  } else if (IsNumber(user) || request.user) {
    ASSIGN_OR_RETURN(out.uid, Number("user", user));
  } else {
    return absl::NotFoundError(absl::StrCat("unable to find user ", user, ": no matching entries in passwd file"));
  }
  if (request.group) {
    ASSIGN_OR_RETURN(out.gid, Number("group", absl::StrCat(*request.group)));
  } else if (!group_name.empty()) {
    ASSIGN_OR_RETURN(out.gid, FindGroup(group, group_name));
  }

  Add(&out.groups, out.gid);
  if (entry) {
    for (std::string_view line : absl::StrSplit(group, '\n')) {
      std::vector<std::string_view> fields = absl::StrSplit(line, ':');
      uint32_t gid = 0;
      if (fields.size() < 4 || !ParseId(fields[2], &gid)) continue;
      std::vector<std::string_view> members = absl::StrSplit(fields[3], ',');
      if (std::find(members.begin(), members.end(), entry->name) != members.end()) Add(&out.groups, gid);
    }
  }
  for (int64_t gid : request.groups) {
    ASSIGN_OR_RETURN(uint32_t id, Number("group", absl::StrCat(gid)));
    Add(&out.groups, id);
  }
  return out;
}

Status CheckNonRoot(const std::optional<int64_t>& run_as_user, std::string_view image_user, std::string_view pod,
                    std::string_view container) {
  const std::string where = absl::StrCat(" (pod: \"", pod, "\", container: ", container, ")");
  if (run_as_user) {
    if (*run_as_user != 0) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrCat("container's runAsUser breaks non-root policy", where));
  }
  const std::string_view user = image_user.substr(0, image_user.find(':'));
  uint32_t uid = 0;
  if (!user.empty() && !ParseId(user, &uid)) {
    return absl::InvalidArgumentError(absl::StrCat("container has runAsNonRoot and image has non-numeric user (", user,
                                                   "), cannot verify user is non-root", where));
  }
  if (uid != 0) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("container has runAsNonRoot and image will run as root", where));
}

}  // namespace vck::guestos
