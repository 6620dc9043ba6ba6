#include "oci/keyring.h"

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace vck::oci {
namespace {

std::vector<std::string> Users(const Keyring& keyring, std::string_view name) {
  std::vector<std::string> out;
  for (const Credential& c : keyring.Lookup(name)) out.push_back(c.username);
  return out;
}
using Names = std::vector<std::string>;

TEST(KeyringTest, DockerConfigJson) {
  Keyring keyring;
  std::string auth = absl::Base64Escape("u:p:w");
  ASSERT_TRUE(keyring
                  .AddSecret(kDockerConfigJsonType,
                             absl::StrCat(R"({"auths":{"https://index.docker.io/v1/":{"auth":")", auth,
                                          R"("},"quay.io":{"username":"q","password":"x","email":"e"}}})"))
                  .ok());
  auto docker = keyring.Lookup("docker.io/library/busybox");
  ASSERT_EQ(docker.size(), 1U);
  EXPECT_EQ(docker[0].username, "u");
  EXPECT_EQ(docker[0].password, "p:w");
  EXPECT_EQ(Users(keyring, "quay.io/a/b"), Names{"q"});
  EXPECT_EQ(Users(keyring, "ghcr.io/a/b"), Names{});
  // Unpadded base64 is fine, too.
  Keyring other;
  ASSERT_TRUE(other.AddSecret(kDockercfgType, R"({"r.io":{"auth":"dTpw"}})").ok());
  EXPECT_EQ(Users(other, "r.io/x"), Names{"u"});
}

// The kubelet's own cases (keyring_test.go: TestURLsMatch and TestDockerKeyringLookup).
TEST(KeyringTest, Matching) {
  struct Case {
    const char* location;
    const char* name;
    bool matches;
  };
  for (const Case& c : std::vector<Case>{{"*.kubernetes.io", "prefix.kubernetes.io/x", true},
                                         {"prefix.*.io", "prefix.kubernetes.io/x", true},
                                         {"prefix.kubernetes.*", "prefix.kubernetes.io/x", true},
                                         {"*-good.kubernetes.io", "prefix-good.kubernetes.io/x", true},
                                         {"*.kubernetes.io/blah", "prefix.kubernetes.io/blah", true},
                                         {"prefix.*.io/foo", "prefix.kubernetes.io/foo/bar", true},
                                         {"*.kubernetes.io/foo", "prefix.kubernetes.io/bar", false},
                                         {"*.kubernetes.io:1111", "prefix.kubernetes.io:1111/x", true},
                                         {"*.kubernetes.io:1111", "prefix.kubernetes.io:22/x", false},
                                         {"*.kubernetes.io", "prefix.kubernetes.io:22/x", false},
                                         {"kubernetes.io", "kubernetes.com/x", false},
                                         {"k.io", "quay.io/x", false},
                                         {"*.kubernetes.io", "kubernetes.io/x", false},
                                         {"*.*.kubernetes.io", "a.kubernetes.io/x", false},
                                         {"http://r.io/v2/", "r.io/x", true},
                                         {"https://r.io/v1/", "r.io/x", true},
                                         {"r.io/v2/team", "r.io/team/x", true}}) {
    Keyring keyring;
    keyring.Add(c.location, {.username = "u"});
    EXPECT_EQ(!keyring.Lookup(c.name).empty(), c.matches) << c.location << " and " << c.name;
  }
}

TEST(KeyringTest, LongerPathFirst) {
  Keyring keyring;
  keyring.Add("quay.io", {.username = "all"});
  keyring.Add("quay.io/coreos", {.username = "coreos"});
  keyring.Add("quay.io", {.username = "second"});
  EXPECT_EQ(Users(keyring, "quay.io/coreos/etcd"), (Names{"coreos", "all", "second"}));
  EXPECT_EQ(Users(keyring, "quay.io/other"), (Names{"all", "second"}));
}

TEST(KeyringTest, BadSecretsTellNothing) {
  for (const char* text :
       {"secret-password", "[]", R"({"auths":[]})", R"({"auths":{"r.io":"secret-password"}})",
        R"({"auths":{"r.io":{"auth":"secret-password!"}}})", R"({"auths":{"r.io":{"auth":"c2VjcmV0LXBhc3N3b3Jk"}}})",
        R"({"auths":{"r.io":{"username":5}}})"}) {
    Keyring keyring;
    Status status = keyring.AddSecret(kDockerConfigJsonType, text);
    EXPECT_FALSE(status.ok()) << text;
    EXPECT_EQ(status.message().find("secret-password"), std::string::npos) << status;
    EXPECT_TRUE(keyring.empty());
  }
  Keyring keyring;
  EXPECT_TRUE(keyring.AddSecret("Opaque", "x").ok());
  EXPECT_TRUE(keyring.AddSecret(kDockerConfigJsonType, "").ok());
  EXPECT_TRUE(keyring.AddSecret(kDockerConfigJsonType, "{}").ok());
  EXPECT_TRUE(keyring.empty());
}

}  // namespace
}  // namespace vck::oci
