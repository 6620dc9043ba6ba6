#include "oci/reference.h"

#include "gtest/gtest.h"

namespace vck::oci {
namespace {

constexpr const char* kHex = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

TEST(ReferenceTest, Defaults) {
  struct Case {
    const char* text;
    const char* full;
  };
  const std::string digest = std::string("@sha256:") + kHex;
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"busybox", "docker.io/library/busybox:latest"},
      {"busybox:1.36", "docker.io/library/busybox:1.36"},
      {"bitnami/nginx", "docker.io/bitnami/nginx:latest"},
      {"docker.io/busybox", "docker.io/library/busybox:latest"},
      {"index.docker.io/busybox", "docker.io/library/busybox:latest"},
      {"docker.io/library/busybox:1", "docker.io/library/busybox:1"},
      {"localhost/x", "localhost/x:latest"},
      {"localhost:5000/x:y", "localhost:5000/x:y"},
      {"[fd00::1]:5000/a/b", "[fd00::1]:5000/a/b:latest"},
      {"registry.k8s.io/e2e-test-images/agnhost:2.63.0", "registry.k8s.io/e2e-test-images/agnhost:2.63.0"},
      {"quay.io/a__b/c---d.e:_x", "quay.io/a__b/c---d.e:_x"},
      {"UPPER/foo", "UPPER/foo:latest"},
      {"busybox" + digest, "docker.io/library/busybox" + digest},
      {"busybox:1" + digest, "docker.io/library/busybox:1" + digest},
  };
  for (const auto& [text, full] : cases) {
    auto parsed = ParseReference(text);
    ASSERT_TRUE(parsed.ok()) << text << ": " << parsed.status();
    EXPECT_EQ(parsed->ToString(), full);
    auto again = ParseReference(parsed->ToString());
    ASSERT_TRUE(again.ok()) << again.status();
    EXPECT_EQ(*again, *parsed);
  }
}

TEST(ReferenceTest, Mistakes) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"", "invalid reference format"},
      {"UPPER", "invalid reference format: repository name (library/UPPER) must be lowercase"},
      {"docker.io/Foo:x", "invalid reference format: repository name (library/Foo) must be lowercase"},
      {"a b", "invalid reference format"},
      {"a..b", "invalid reference format"},
      {"a___b", "invalid reference format"},
      {"-a", "invalid reference format"},
      {"a/", "invalid reference format"},
      {"a//b", "invalid reference format"},
      {"a:", "invalid reference format"},
      {"a:-x", "invalid reference format"},
      {"a:" + std::string(129, 'x'), "invalid reference format"},
      {"a@sha256:abc", "invalid reference format"},
      {"a@sha256:" + std::string(63, 'a'), "invalid checksum digest length"},
      {"a@sha256:" + std::string(64, 'A'), "invalid checksum digest format"},
      {"a@md5:" + std::string(32, 'a'), "unsupported digest algorithm"},
      {"foo_bar.com/x", "invalid reference format"},
      {"host:port/x", "invalid reference format"},
      {"a/../b", "invalid reference format"},
      {std::string(256, 'a'), "repository name must not be more than 255 characters"},
      {kHex, std::string("invalid repository name (") + kHex + "), cannot specify 64-byte hexadecimal strings"},
  };
  for (const auto& [text, message] : cases) {
    auto parsed = ParseReference(text);
    EXPECT_FALSE(parsed.ok()) << text;
    EXPECT_EQ(parsed.status().message(), message) << text;
  }
}

TEST(ReferenceTest, KubeletsMessage) {
  EXPECT_EQ(
      InvalidNameMessage("UPPER", ParseReference("UPPER").status()),
      "Failed to apply default image tag \"UPPER\": couldn't parse image name \"UPPER\": invalid reference format: "
      "repository name (library/UPPER) must be lowercase");
}

}  // namespace
}  // namespace vck::oci
