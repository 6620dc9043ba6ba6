#include "vch/privileges.h"

#include <fstream>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace vck::vch {
namespace {

// "VApp: Import, AssignResourcePool · Network.Assign": what the README's table says of one object.
std::string Privileges(Scope scope) {
  std::vector<std::pair<std::string, std::vector<std::string>>> groups;
  for (const Privilege& privilege : RequiredPrivileges()) {
    if (privilege.scope != scope) continue;
    const size_t dot = privilege.id.rfind('.');
    const std::string group(privilege.id.substr(0, dot));
    if (groups.empty() || groups.back().first != group) groups.push_back({group, {}});
    groups.back().second.emplace_back(privilege.id.substr(dot + 1));
  }
  return absl::StrJoin(groups, " · ", [](std::string* out, const auto& group) {
    absl::StrAppend(out, group.first, group.second.size() == 1 ? "." : ": ", absl::StrJoin(group.second, ", "));
  });
}

TEST(Privileges, AreThoseOfTheReadme) {
  std::string want = "| on | privileges |\n| --- | --- |\n";
  for (const auto& [scope, name] :
       {std::pair{Scope::kRoot, "root folder"}, std::pair{Scope::kFolder, "VM folder, propagated"},
        std::pair{Scope::kPool, "resource pool"}, std::pair{Scope::kDatastore, "datastore"},
        std::pair{Scope::kNetwork, "pod network"}, std::pair{Scope::kCluster, "cluster or host"}}) {
    absl::StrAppend(&want, "| ", name, " | ", Privileges(scope), " |\n");
  }
  std::stringstream readme;
  readme << std::ifstream(VCK_README).rdbuf();
  EXPECT_TRUE(absl::StrContains(readme.str(), want + "\n")) << "README.md should have this table:\n" << want;
}

}  // namespace
}  // namespace vck::vch
