#include "guestos/volumes.h"

#include <filesystem>

#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "absl/strings/match.h"
#include "gtest/gtest.h"
#include "guestos/files.h"
#include "guestos/temp_dir.h"

namespace vck::guestos {
namespace {

namespace fs = std::filesystem;
using guestapi::GuestSpec;
using guestapi::VolumeSpec;
using Kind = VolumeSpec::Kind;

class VolumesTest : public ::testing::Test {
 protected:
  Status Apply(std::vector<VolumeSpec> volumes, std::optional<int64_t> fs_group = {}) {
    pod_.volumes = std::move(volumes);
    pod_.fs_group = fs_group;
    return volumes_.Apply(pod_, absl::FromUnixSeconds(1'767'225'600));
  }
  StatusOr<std::vector<BindMount>> Mounts(std::vector<guestapi::Mount> mounts) {
    return volumes_.MountsOf({.name = "main", .mounts = std::move(mounts)}, "run-1");
  }
  [[nodiscard]] std::string Host(const std::string& path) const { return dir_ / "host" + path; }
  static std::string Read(const std::string& path) {
    auto text = ReadFile(path, 1000);
    return text.ok() ? *text : text.status().ToString();
  }

  TempDir dir_;
  GuestSpec pod_;
  Volumes volumes_{{.disk_directory = dir_ / "disk",
                    .memory_directory = dir_ / "memory",
                    .mount_directory = dir_ / "subpaths",
                    .host_root = dir_ / "host"}};
};

TEST_F(VolumesTest, EmptyDirAndFiles) {
  ASSERT_TRUE(Apply({{.name = "cache"}, {.name = "conf", .kind = Kind::kFiles, .files = {{"key", "1"}}}}).ok());
  auto mounts = Mounts({{.volume = "cache", .path = "/cache/"}, {.volume = "conf", .path = "conf"}});
  ASSERT_TRUE(mounts.ok()) << mounts.status();
  EXPECT_EQ((*mounts)[0].source, dir_ / "disk/cache");
  EXPECT_EQ((*mounts)[0].path, "/cache");
  EXPECT_FALSE((*mounts)[0].read_only);
  EXPECT_EQ((*mounts)[1].path, "/conf");
  EXPECT_TRUE((*mounts)[1].read_only);
  EXPECT_EQ(Read((*mounts)[1].source + "/key"), "1");
  struct stat info{};
  ASSERT_EQ(::stat((dir_ / "disk/cache").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0777u);
}

TEST_F(VolumesTest, FilesAreUpdatedWhenTheyChange) {
  const VolumeSpec before{.name = "conf", .kind = Kind::kFiles, .files = {{"key", "1"}}};
  ASSERT_TRUE(Apply({before}).ok());
  const fs::path version = fs::read_symlink(dir_ / "memory/conf/..data");
  ASSERT_TRUE(Apply({before}).ok());
  EXPECT_EQ(fs::read_symlink(dir_ / "memory/conf/..data"), version);
  ASSERT_TRUE(Apply({{.name = "conf", .kind = Kind::kFiles, .files = {{"key", "2"}}}}).ok());
  EXPECT_NE(fs::read_symlink(dir_ / "memory/conf/..data"), version);
  EXPECT_EQ(Read(dir_ / "memory/conf/key"), "2");
}

TEST_F(VolumesTest, HostPathTypes) {
  ASSERT_TRUE(MakeDirs(Host("/dir")).ok());
  ASSERT_TRUE(WriteFile(Host("/file"), "x").ok());
  auto check = [&](std::string path, std::string type) {
    static int n = 0;
    return std::string(Apply({{.name = "v" + std::to_string(++n),
                               .kind = Kind::kHostPath,
                               .host_path = std::move(path),
                               .host_path_type = std::move(type)}})
                           .message());
  };
  EXPECT_EQ(check("/dir", ""), "");
  EXPECT_EQ(check("/dir", "Directory"), "");
  EXPECT_EQ(check("/file", "File"), "");
  EXPECT_EQ(check("/new/deep", "DirectoryOrCreate"), "");
  EXPECT_TRUE(fs::is_directory(Host("/new/deep")));
  EXPECT_EQ(check("/dir/new-file", "FileOrCreate"), "");
  EXPECT_TRUE(fs::is_regular_file(Host("/dir/new-file")));
  EXPECT_EQ(check("/made", ""), "");
  EXPECT_TRUE(fs::is_directory(Host("/made")));
  EXPECT_TRUE(absl::EndsWith(check("/file", "Directory"), "hostPath type check failed: /file is not a directory"));
  EXPECT_TRUE(absl::StartsWith(check("/none", "Directory"), "MountVolume.SetUp failed for volume \"v"));
  EXPECT_TRUE(absl::EndsWith(check("/dir", "Socket"), "/dir is not a socket file"));
  EXPECT_TRUE(absl::EndsWith(check("/dir", "CharDevice"), "/dir is not a character device"));
  EXPECT_TRUE(absl::EndsWith(check("/dir", "Soup"), "unknown type Soup"));
  EXPECT_TRUE(absl::EndsWith(check("dir", ""), "is not absolute"));
}

TEST_F(VolumesTest, KeysOfFiles) {
  ASSERT_TRUE(Apply({{.name = "v"}, {.name = "conf", .kind = Kind::kFiles, .files = {{"env", "K='no'\n"}}}}).ok());
  const std::string volume = dir_ / "disk/v";
  const auto read = [this](std::string path, std::string of = "v") {
    auto value = volumes_.ReadEnvKey({.volume = std::move(of), .path = std::move(path), .key = "K"});
    return value.ok() ? *value : std::string(value.status().message());
  };
  fs::create_directory(volume + "/sub");
  ASSERT_TRUE(WriteFile(volume + "/sub/env", "K='1'\n").ok());
  ASSERT_TRUE(WriteFile(volume + "/none", "").ok());
  ASSERT_TRUE(WriteFile(volume + "/bad", "# " + std::string(70'000 - 3, 'x') + "\nwhat\n").ok());
  ASSERT_TRUE(WriteFile(volume + "/long", std::string(100'000, '\n') + "K='" + std::string(65'000, 'x') + "\n'").ok());
  EXPECT_EQ(read("sub/env"), "1");
  EXPECT_EQ(read("/sub/env"), "1") << "in the volume";
  EXPECT_EQ(read("none"), "");
  EXPECT_EQ(read("long").size(), 65'001u);
  EXPECT_EQ(read("bad"), R"(couldn't parse env file "bad" of volume "v": line 1 is too long)");
  EXPECT_EQ(read("gone"), R"(couldn't parse env file "gone" of volume "v": open gone: No such file or directory)");
  EXPECT_EQ(read("sub"), R"(couldn't parse env file "sub" of volume "v": not a file: sub: Invalid argument)");
  EXPECT_EQ(read("env", "conf"), R"(cannot find the volume "conf" referenced by FileKeyRef)");
  EXPECT_EQ(read("env", "other"), R"(cannot find the volume "other" referenced by FileKeyRef)");
  // As often as it is asked for.
  ASSERT_TRUE(WriteFile(volume + "/sub/env", "K='2'\n").ok());
  EXPECT_EQ(read("sub/env"), "2");
}

TEST_F(VolumesTest, NothingLeadsOutOfAVolumeWithFilesOfVariables) {
  ASSERT_TRUE(Apply({{.name = "v"}, {.name = "w"}}).ok());
  const std::string volume = dir_ / "disk/v";
  const auto read = [this](std::string path) {
    return volumes_.ReadEnvKey({.volume = "v", .path = std::move(path), .key = "K"});
  };
  ASSERT_TRUE(WriteFile(volume + "/env", "K='mine'\n").ok());
  ASSERT_TRUE(WriteFile(dir_ / "disk/w/other", "K='not mine'\n").ok());
  ASSERT_TRUE(WriteFile(dir_ / "disk/other", "K='not mine'\n").ok());
  fs::create_symlink("/env", volume + "/absolute");
  fs::create_symlink("../../../env", volume + "/up");
  fs::create_symlink(dir_ / "disk/w", volume + "/neighbour");
  fs::create_symlink("../w/other", volume + "/relative");
  fs::create_symlink("/proc/self/root", volume + "/root");
  // As if the volume were all there is.
  EXPECT_EQ(*read("absolute"), "mine");
  EXPECT_EQ(*read("up"), "mine");
  EXPECT_EQ(*read("../env"), "mine");
  for (const char* path : {"neighbour/other", "relative", "../other", "../w/other", "root/env"}) {
    EXPECT_TRUE(absl::IsNotFound(read(path).status())) << path << " " << read(path).status();
  }
  // Nobody writes to it, and nobody waits for that.
  ASSERT_EQ(::mkfifo((volume + "/pipe").c_str(), 0666), 0);
  EXPECT_TRUE(absl::IsInvalidArgument(read("pipe").status()));
}

TEST_F(VolumesTest, UnknownVolume) {
  EXPECT_EQ(Mounts({{.volume = "ghost", .path = "/x"}}).status().message(),
            "volume \"ghost\" of container \"main\" is not there");
}

// These mount; they need root and leave nothing behind.
class SubPathTest : public VolumesTest {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "only root can mount";
    ASSERT_TRUE(Apply({{.name = "data"}, {.name = "conf", .kind = Kind::kFiles, .files = {{"d/key", "1"}}}}).ok());
    if (!Mounts({{.volume = "data", .path = "/x", .sub_path = "probe"}}).ok())
      GTEST_SKIP() << "mounting is not allowed";
    volumes_.Release("run-1");
  }
  void TearDown() override { volumes_.Release("run-1"); }
};

TEST_F(SubPathTest, DirectoriesAreMade) {
  auto mounts = Mounts({{.volume = "data", .path = "/x", .sub_path = "a/b"}});
  ASSERT_TRUE(mounts.ok()) << mounts.status();
  EXPECT_TRUE(fs::is_directory(dir_ / "disk/data/a/b"));
  ASSERT_TRUE(WriteFile(dir_ / "disk/data/a/b/file", "x").ok());
  EXPECT_EQ(Read((*mounts)[0].source + "/file"), "x");
  volumes_.Release("run-1");
  EXPECT_FALSE(fs::exists(dir_ / "subpaths/run-1"));
  EXPECT_EQ(Read(dir_ / "disk/data/a/b/file"), "x");
}

TEST_F(SubPathTest, AFileOfAConfigMap) {
  auto mounts = Mounts({{.volume = "conf", .path = "/x", .sub_path = "d/key"}});
  ASSERT_TRUE(mounts.ok()) << mounts.status();
  EXPECT_EQ(Read((*mounts)[0].source), "1");
  EXPECT_TRUE((*mounts)[0].read_only);
}

TEST_F(SubPathTest, LinksDoNotLeadOut) {
  ASSERT_TRUE(WriteFile(dir_ / "disk/secret", "x").ok());
  ASSERT_EQ(::symlink("..", (dir_ / "disk/data/up").c_str()), 0);
  ASSERT_EQ(::symlink("/etc", (dir_ / "disk/data/etc").c_str()), 0);
  ASSERT_EQ(::symlink("probe", (dir_ / "disk/data/inside").c_str()), 0);
  for (const char* path : {"up/secret", "up", "etc", "../secret", "probe/../../secret"}) {
    auto mounts = Mounts({{.volume = "data", .path = "/x", .sub_path = path}});
    EXPECT_TRUE(absl::IsInvalidArgument(mounts.status())) << path << ": " << mounts.status();
    EXPECT_TRUE(absl::StartsWith(mounts.status().message(),
                                 "failed to prepare subPath for volumeMount \"data\" of container \"main\""));
  }
  EXPECT_TRUE(Mounts({{.volume = "data", .path = "/x", .sub_path = "inside"}}).ok());
}

TEST_F(SubPathTest, MemoryHasASize) {
  ASSERT_TRUE(Apply({{.name = "ram", .kind = Kind::kMemory, .size_limit = 1 << 20}}, 2000).ok());
  std::string big(2 << 20, 'x');
  EXPECT_TRUE(absl::IsResourceExhausted(WriteFile(dir_ / "memory/ram/file", big)));
  struct stat info{};
  ASSERT_EQ(::stat((dir_ / "memory/ram").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 02777u);
  EXPECT_EQ(info.st_gid, 2000u);
}

}  // namespace
}  // namespace vck::guestos
