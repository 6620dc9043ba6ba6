#include "node/inventory_path.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"

namespace vck::node {

StatusOr<InventoryItem> ChooseItem(std::span<const InventoryItem> items, std::string_view folder,
                                   std::string_view wanted, std::string_view flag, std::string_view what) {
  std::string_view path = absl::StripPrefix(wanted, "/");
  std::string below = absl::StrCat(folder, folder.empty() ? "" : "/", path);
  std::vector<InventoryItem> fitting;
  for (const InventoryItem& item : items) {
    if (wanted.empty() || item.name == wanted || item.path == path || item.path == below) fitting.push_back(item);
  }
  if (fitting.size() == 1) return fitting.front();
  auto list = [](std::span<const InventoryItem> of) {
    return absl::StrJoin(of, ", ", [](std::string* out, const InventoryItem& i) { absl::StrAppend(out, i.path); });
  };
  std::string there = items.empty() ? "there is none" : absl::StrCat("there are: ", list(items));
  if (wanted.empty()) return absl::InvalidArgumentError(absl::StrCat(flag, " must name the ", what, "; ", there));
  if (fitting.empty()) {
    return absl::NotFoundError(absl::StrCat(flag, ": no ", what, " is called \"", wanted, "\"; ", there));
  }
  return absl::InvalidArgumentError(
      absl::StrCat(flag, ": several fit \"", wanted, "\", a path tells which: ", list(fitting)));
}

std::string DescribeMissing(std::span<const HeldPrivileges> held) {
  std::vector<std::string> out;
  for (const HeldPrivileges& on : held) {
    std::vector<std::string_view> missing;
    for (const vch::Privilege& privilege : vch::RequiredPrivileges()) {
      if (privilege.scope == on.scope && std::ranges::find(on.privileges, privilege.id) == on.privileges.end()) {
        missing.push_back(privilege.id);
      }
    }
    if (!missing.empty()) out.push_back(absl::StrCat(absl::StrJoin(missing, ", "), " on ", on.object));
  }
  return absl::StrJoin(out, "; ");
}

}  // namespace vck::node
