#include "image/merge.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "image/tar_builder.h"

namespace vck::image {
namespace {

using ::testing::HasSubstr;

bool HaveUnsquashfs() {
  static const bool have = std::system("unsquashfs -version >/dev/null 2>&1; [ $? -le 1 ]") == 0;
  return have;
}

std::string ReadFile(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::stringstream out;
  out << in.rdbuf();
  return out.str();
}

class MergeTest : public ::testing::Test {
 protected:
  MergeTest() : dir_((std::filesystem::temp_directory_path() / ("merge-" + RandomHex(6))).string()) {
    std::filesystem::create_directories(dir_);
  }
  ~MergeTest() override { std::filesystem::remove_all(dir_); }

  // Layers as plain tars; every second one is packed.
  StatusOr<MergeResult> Merge(const std::vector<std::string>& tars) {
    MergeRequest request;
    request.config = R"({"architecture":"amd64"})";
    request.output = dir_ + "/out.sqsh";
    request.threads = threads_;
    for (size_t i = 0; i < tars.size(); ++i) {
      std::string path = dir_ + "/layer" + std::to_string(i);
      std::ofstream(path, std::ios::binary) << (i % 3 == 0 ? Gzip(tars[i]) : i % 3 == 1 ? Zstd(tars[i]) : tars[i]);
      request.layers.push_back({path, Digest(tars[i])});
    }
    return MergeLayers(request);
  }
  // Unpacks the result into dir_/x.
  void Extract() {
    std::string command = "cd " + dir_ + " && rm -rf x && unsquashfs -q -n -d x out.sqsh > log 2>&1";
    ASSERT_EQ(std::system(command.c_str()), 0) << ReadFile(dir_ + "/log");
  }
  std::string At(const std::string& path) const { return dir_ + "/x/rootfs/" + path; }
  std::string Content(const std::string& path) const { return ReadFile(At(path)); }
  struct stat Stat(const std::string& path) const {
    struct stat info{};
    EXPECT_EQ(lstat(At(path).c_str(), &info), 0) << path;
    return info;
  }
  std::string dir_;
  int threads_ = 1;
};

TEST_F(MergeTest, EverythingIsKept) {
  if (!HaveUnsquashfs()) GTEST_SKIP() << "no unsquashfs";
  std::string big;
  for (int i = 0; i < 100000; ++i) absl::StrAppend(&big, i, ",");
  std::string random;
  uint32_t x = 1;
  for (int i = 0; i < 400000; ++i) random += static_cast<char>((x = x * 1664525 + 1013904223) >> 24);
  std::string holes = std::string(300000, '\0') + "middle" + std::string(500000, '\0');
  std::string capability("\1\0\0\2\0\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20);
  TarBuilder lower, upper;
  lower.Add({.path = "./", .type = '5', .mode = 0711, .mtime = 5})
      .Dir("bin/")
      .Add({.path = "bin/su", .content = "setuid", .mode = 04755, .uid = 0, .gid = 5, .mtime = 1700000000})
      .Add({.path = "big", .content = big, .mode = 0640, .uid = 100000, .gid = 100001})
      .File("random", random)
      .File("holes", holes)
      .File("empty", "")
      .File("gone", "x")
      .Dir("opaque/")
      .File("opaque/hidden", "x")
      .Link("bin/su2", "bin/su")
      .Symlink("link", "/bin/su")
      .Add({.path = "null", .type = '3', .mode = 0666, .major = 1, .minor = 3})
      .Add({.path = "disk", .type = '4', .mode = 0660, .major = 259, .minor = 70000})
      .Add({.path = "fifo", .type = '6', .mode = 0600})
      .Add({.path = "ping", .content = "p", .mode = 0755, .pax = {{"SCHILY.xattr.security.capability", capability}}})
      .Add({.path = "tmp/", .type = '5', .mode = 01777, .pax = {{"SCHILY.xattr.user.dir", "d"}}});
  upper.File(".wh.gone", "")
      .Dir("opaque/")
      .File("opaque/.wh..wh..opq", "")
      .File("opaque/shown", "new")
      .Link("from-below", "big")
      .File(std::string(200, 'n') + "/" + std::string(255, 'm'), "long");
  auto result = Merge({lower.End(), upper.End()});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->bytes % 4096, 0);
  EXPECT_EQ(static_cast<int64_t>(std::filesystem::file_size(dir_ + "/out.sqsh")), result->bytes);
  std::string bytes = ReadFile(dir_ + "/out.sqsh");
  EXPECT_EQ(bytes[510], 0);
  EXPECT_EQ(bytes[511], 0);
  Extract();
  EXPECT_EQ(ReadFile(dir_ + "/x/config.json"), R"({"architecture":"amd64"})");
  EXPECT_EQ(Content("bin/su"), "setuid");
  EXPECT_TRUE(Content("big") == big);
  EXPECT_TRUE(Content("random") == random);
  EXPECT_TRUE(Content("holes") == holes);
  EXPECT_EQ(Content("empty"), "");
  EXPECT_FALSE(std::filesystem::exists(At("gone")));
  EXPECT_FALSE(std::filesystem::exists(At("opaque/hidden")));
  EXPECT_EQ(Content("opaque/shown"), "new");
  EXPECT_EQ(Content(std::string(200, 'n') + "/" + std::string(255, 'm')), "long");
  EXPECT_EQ(std::filesystem::read_symlink(At("link")), "/bin/su");
  EXPECT_EQ(Stat("").st_mode & 07777, 0711U);
  EXPECT_EQ(Stat("bin/su").st_mode & 07777, 04755U);
  EXPECT_EQ(Stat("bin/su").st_mtime, 1700000000);
  EXPECT_EQ(Stat("bin/su").st_nlink, 2U);
  EXPECT_EQ(Stat("bin/su").st_ino, Stat("bin/su2").st_ino);
  EXPECT_EQ(Stat("big").st_ino, Stat("from-below").st_ino);
  EXPECT_EQ(Stat("tmp").st_mode & 07777, 01777U);
  EXPECT_TRUE(S_ISFIFO(Stat("fifo").st_mode));
  if (geteuid() != 0) GTEST_SKIP() << "owners, devices and attributes are for root";
  EXPECT_EQ(Stat("big").st_uid, 100000U);
  EXPECT_EQ(Stat("big").st_gid, 100001U);
  EXPECT_EQ(Stat("null").st_rdev, makedev(1, 3));
  EXPECT_EQ(Stat("disk").st_rdev, makedev(259, 70000));
  char value[64];
  ssize_t n = lgetxattr(At("ping").c_str(), "security.capability", value, sizeof(value));
  EXPECT_EQ(std::string(value, static_cast<size_t>(std::max<ssize_t>(n, 0))), capability);
}

TEST_F(MergeTest, ManyFilesAndLargeDirectories) {
  if (!HaveUnsquashfs()) GTEST_SKIP() << "no unsquashfs";
  TarBuilder tar;
  for (int i = 0; i < 6000; ++i)
    tar.File(absl::StrCat("large/a-rather-long-file-name-", i * 7919 % 6000), absl::StrCat("content ", i % 50));
  for (int i = 0; i < 500; ++i)
    tar.Dir(absl::StrCat("dirs/d", i, "/"))
        .File(absl::StrCat("dirs/d", i, "/f"), std::string(static_cast<size_t>(i) * 10, 'x'));
  auto result = Merge({tar.End()});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->files, 1 + 1 + 6000 + 1 + 1000);
  Extract();
  for (int i = 0; i < 6000; ++i) {
    ASSERT_EQ(Content(absl::StrCat("large/a-rather-long-file-name-", i * 7919 % 6000)),
              absl::StrCat("content ", i % 50));
  }
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(At("large")), {}), 6000);
  for (int i = 0; i < 500; ++i)
    ASSERT_EQ(Content(absl::StrCat("dirs/d", i, "/f")), std::string(static_cast<size_t>(i) * 10, 'x'));
  EXPECT_EQ(Stat("dirs").st_nlink, 502U);
}

TEST_F(MergeTest, SameInputSameBytes) {
  TarBuilder tar;
  for (int i = 0; i < 100; ++i)
    tar.File(absl::StrCat("f", i), std::string(static_cast<size_t>(i) * 1000, static_cast<char>('a' + i % 26)));
  ASSERT_TRUE(Merge({tar.End()}).ok());
  std::string one = ReadFile(dir_ + "/out.sqsh");
  for (int threads : {0, 1, 3}) {
    threads_ = threads;
    ASSERT_TRUE(Merge({tar.End()}).ok());
    EXPECT_TRUE(ReadFile(dir_ + "/out.sqsh") == one) << threads;
  }
}

TEST_F(MergeTest, NoLayers) {
  auto result = Merge({});
  ASSERT_TRUE(result.ok()) << result.status();
  if (!HaveUnsquashfs()) GTEST_SKIP() << "no unsquashfs";
  Extract();
  EXPECT_TRUE(std::filesystem::is_directory(At("")));
}

TEST_F(MergeTest, ErrorsNameTheLayer) {
  Status status = Merge({TarBuilder().End(), TarBuilder().File("../x", "").End()}).status();
  EXPECT_EQ(status.message(), "layer 2 of 2: entry \"../x\": the path leads out of the root");
  std::string tar = TarBuilder().File("x", "y").End();
  MergeRequest request{.output = dir_ + "/out"};
  std::ofstream(dir_ + "/l", std::ios::binary) << tar;
  request.layers = {{dir_ + "/l", Digest("other")}};
  status = MergeLayers(request).status();
  EXPECT_TRUE(absl::IsDataLoss(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("wrong diff id calculated on extraction"));
  request.layers[0].diff_id = Digest(tar);
  std::atomic<bool> cancelled = true;
  request.cancelled = &cancelled;
  EXPECT_TRUE(absl::IsCancelled(MergeLayers(request).status()));
  cancelled = false;
  request.max_unpacked_bytes = 100;
  EXPECT_TRUE(absl::IsResourceExhausted(MergeLayers(request).status()));
}

// Nothing in the archive, and still four bytes for each block of it in the image and in memory.
TEST_F(MergeTest, HolesAreNotForNothing) {
  std::string tar = TarBuilder()
                        .Add({.path = "lastlog", .pax = {{"GNU.sparse.map", "0,0"}, {"GNU.sparse.size", "1000000"}}})
                        .Unended();
  std::ofstream(dir_ + "/l", std::ios::binary) << tar;
  MergeRequest request{
      .layers = {{dir_ + "/l", Digest(tar)}}, .output = dir_ + "/out", .max_unpacked_bytes = 1000000 + 1536};
  auto result = MergeLayers(request);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_LE(result->bytes, 8192);
  request.max_unpacked_bytes = 1000000;
  EXPECT_TRUE(absl::IsResourceExhausted(MergeLayers(request).status()));
}

}  // namespace
}  // namespace vck::image
