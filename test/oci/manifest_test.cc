#include "oci/manifest.h"

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "oci/challenge.h"
#include "oci/registry_config.h"

namespace vck::oci {
namespace {

std::string D(char c) { return absl::StrCat("sha256:", std::string(64, c)); }

TEST(ManifestTest, DockerSchema2) {
  auto manifest = ParseManifest(
      kDockerManifest,
      absl::StrCat(
          R"({"schemaVersion":2,"config":{"mediaType":"application/vnd.docker.container.image.v1+json","size":7,
"digest":")",
          D('a'), R"("},"layers":[
{"mediaType":"application/vnd.docker.image.rootfs.diff.tar.gzip","size":9,"digest":")",
          D('b'), R"("},
{"mediaType":"application/vnd.oci.image.layer.v1.tar+zstd","size":1,"digest":")",
          D('c'), R"("},
{"mediaType":"application/vnd.oci.image.layer.v1.tar","size":0,"digest":")",
          D('d'), R"("}]})"));
  ASSERT_TRUE(manifest.ok()) << manifest.status();
  EXPECT_FALSE(manifest->is_index);
  EXPECT_EQ(manifest->config.digest, D('a'));
  ASSERT_EQ(manifest->layers.size(), 3U);
  EXPECT_EQ(manifest->layers[0].compression, Compression::kGzip);
  EXPECT_EQ(manifest->layers[1].compression, Compression::kZstd);
  EXPECT_EQ(manifest->layers[2].compression, Compression::kNone);
}

TEST(ManifestTest, Index) {
  auto entry = [](char c, std::string_view os, std::string_view arch, std::string_view variant = "",
                  std::string_view type = kOciManifest) {
    return absl::StrCat(R"({"mediaType":")", type, R"(","size":5,"digest":")", D(c), R"(","platform":{"os":")", os,
                        R"(","architecture":")", arch, R"(","variant":")", variant, "\"}}");
  };
  auto index = ParseManifest(
      "application/vnd.oci.image.index.v1+json; charset=utf-8",
      absl::StrCat(R"({"schemaVersion":2,"manifests":[)", entry('1', "linux", "arm64"), ",",
                   entry('2', "unknown", "unknown"), ",", entry('3', "", ""), ",", entry('4', "linux", "amd64", "v3"),
                   ",", entry('5', "linux", "amd64"), ",", entry('6', "windows", "amd64"), "]}"));
  ASSERT_TRUE(index.ok()) << index.status();
  std::vector<Descriptor> fit = ForPlatform(index->entries);
  ASSERT_EQ(fit.size(), 2U);
  EXPECT_EQ(fit[0].digest, D('5'));
  EXPECT_EQ(fit[1].digest, D('3'));
}

TEST(ManifestTest, Refused) {
  std::string config = absl::StrCat(
      R"("config":{"mediaType":"application/vnd.oci.image.config.v1+json","size":7,"digest":")", D('a'), "\"}");
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"x", "not JSON"},
      {"[]", "expected a JSON object"},
      {R"({"schemaVersion":1})", "manifest.v1+json\" is not supported"},
      {absl::StrCat(R"({"manifests":[],"layers":[],)", config, "}"), "both an index and a manifest"},
      {R"({"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[],"layers":[]})", "an index has none"},
      {R"({"layers":[]})", "config: missing"},
      {absl::StrCat("{", config, R"(,"layers":[{"mediaType":"x.tar","size":1,"digest":"sha256:12"}]})"),
       "layers[0]: invalid checksum digest length"},
      {absl::StrCat("{", config, R"(,"layers":[{"mediaType":"x.tar","size":-1,"digest":")", D('b'), "\"}]}"),
       "layers[0]: no valid size"},
      {absl::StrCat("{", config, R"(,"layers":[{"mediaType":"text/plain","size":1,"digest":")", D('b'), "\"}]}"),
       "a layer of type \"text/plain\""},
      {absl::StrCat(R"({"layers":[],"config":{"mediaType":"application/vnd.x","size":7,"digest":")", D('a'), "\"}}"),
       "this is no image"},
  };
  for (const auto& [text, problem] : cases) {
    auto manifest = ParseManifest("", text);
    EXPECT_FALSE(manifest.ok()) << text;
    EXPECT_NE(manifest.status().message().find(problem), std::string::npos) << manifest.status();
  }
}

TEST(ChallengeTest, Fields) {
  auto all = ParseChallenges(
      R"(Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push", error=invalid_token, Basic realm="x \"y\"")");
  ASSERT_EQ(all.size(), 2U);
  EXPECT_EQ(all[0].scheme, "bearer");
  EXPECT_EQ(all[0].params.at("realm"), "https://auth.docker.io/token");
  EXPECT_EQ(all[0].params.at("scope"), "repository:a/b:pull,push");
  EXPECT_EQ(all[0].params.at("error"), "invalid_token");
  EXPECT_EQ(all[1].scheme, "basic");
  EXPECT_EQ(all[1].params.at("realm"), "x \"y\"");

  all = ParseChallenges("Negotiate abc==, BASIC");
  ASSERT_EQ(all.size(), 2U);
  EXPECT_EQ(all[1].scheme, "basic");
  EXPECT_TRUE(ParseChallenges("").empty());
  EXPECT_TRUE(ParseChallenges("=x").empty());
  EXPECT_EQ(ParseChallenges("Bearer realm=\"never closed").size(), 1U);
}

TEST(ChallengeTest, Tokens) {
  EXPECT_EQ(ParseToken(R"({"token":"t","expires_in":300})")->lifetime, absl::Seconds(300));
  EXPECT_EQ(ParseToken(R"({"access_token":"t"})")->token, "t");
  EXPECT_EQ(ParseToken(R"({"access_token":"t","expires_in":-5})")->lifetime, absl::Seconds(60));
  EXPECT_FALSE(ParseToken("{}").ok());
  EXPECT_FALSE(ParseToken("no").ok());
  EXPECT_FALSE(ParseToken("{\"token\":\"a\\r\\nX: y\"}").ok());
}

TEST(RegistryConfigTest, Parses) {
  auto config = ParseRegistryConfig(R"({"registries":[
    {"prefix":"docker.io","mirrors":["https://127.0.0.1:5000",{"url":"m.example/cache","plainHttp":true}],"caFile":"/ca",
     "auth":{"username":"u","passwordFile":"/p"}},
    {"prefix":"docker.io/library","insecure":true},{"prefix":"*","mirrors":["http://any"],"mirrorsOnly":true}]})");
  ASSERT_TRUE(config.ok()) << config.status();
  const RegistryEntry* docker = config->Find("docker.io/bitnami/x");
  ASSERT_NE(docker, nullptr);
  ASSERT_EQ(docker->mirrors.size(), 2U);
  EXPECT_EQ(docker->mirrors[0].url.port, 5000);
  EXPECT_EQ(docker->mirrors[0].settings.ca_file, "/ca");
  EXPECT_EQ(docker->mirrors[0].settings.username, "u");
  EXPECT_TRUE(docker->mirrors[0].inherits);
  EXPECT_EQ(docker->mirrors[1].url.scheme, "http");
  EXPECT_EQ(docker->mirrors[1].url.path, "/cache");
  EXPECT_EQ(docker->mirrors[1].settings.ca_file, "");
  EXPECT_TRUE(config->Find("docker.io/library/busybox")->settings.insecure);
  EXPECT_EQ(config->Find("docker.io/library/busybox")->prefix, "docker.io/library");
  EXPECT_EQ(config->Find("docker.iox/y")->prefix, "*");
}

TEST(RegistryConfigTest, SaysWhere) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"[]", "file: expected an object"},
      {R"({"registry":[]})", "registry: unknown field"},
      {R"({"registries":{}})", "registries: expected a list"},
      {R"({"registries":[{"prefix":""}]})", "registries[0].prefix: expected a registry"},
      {R"({"registries":[{"prefix":"https://x"}]})", "registries[0].prefix: expected a registry"},
      {R"({"registries":[{"prefix":"x","mirrors":["ftp://x"]}]})", "registries[0].mirrors[0]: "},
      {R"({"registries":[{"prefix":"x","mirrors":[{"url":5}]}]})", "registries[0].mirrors[0].url: expected a string"},
      {R"({"registries":[{"prefix":"x","insecure":"yes"}]})", "registries[0].insecure: expected true or false"},
      {R"({"registries":[{"prefix":"x","insecure":true,"caFile":"f"}]})", "registries[0]: only one of"},
      {R"({"registries":[{"prefix":"x","auth":{"username":"u"}}]})", "registries[0].auth: expected username and"},
      {R"({"registries":[{"prefix":"x","mirrorsOnly":true}]})", "registries[0].mirrorsOnly: there are no mirrors"},
      {R"({"registries":[{"prefix":"x"},{"prefix":"x"}]})", "registries[1].prefix: comes twice"},
  };
  for (const auto& [text, problem] : cases) {
    auto config = ParseRegistryConfig(text);
    EXPECT_FALSE(config.ok()) << text;
    EXPECT_EQ(config.status().message().find(problem), 0U) << config.status() << " for " << text;
  }
}

}  // namespace
}  // namespace vck::oci
