#include "guestos/atomic_writer.h"

#include <filesystem>
#include <set>

#include <sys/stat.h>

#include "gtest/gtest.h"
#include "guestos/files.h"
#include "guestos/temp_dir.h"

namespace vck::guestos {
namespace {

namespace fs = std::filesystem;
using guestapi::FileSpec;

const absl::Time kNow = absl::FromUnixSeconds(1'767'225'600);  // 2026-01-01

std::string Read(const std::string& path) {
  auto text = ReadFile(path, 1000);
  return text.ok() ? *text : text.status().ToString();
}
int ModeOf(const std::string& path) {
  struct stat info{};
  return ::stat(path.c_str(), &info) == 0 ? static_cast<int>(info.st_mode & 07777) : -1;
}
std::set<std::string> List(const std::string& path) {
  std::set<std::string> out;
  for (const auto& entry : fs::directory_iterator(path)) out.insert(entry.path().filename().string());
  return out;
}

TEST(AtomicWriter, TheLayout) {
  TempDir dir;
  ASSERT_TRUE(WriteAtomically(dir.path(), {{"a", "1", 0640}, {"d/e/f", "2", 0400}, {"d/g", "", 0755}}, {}, kNow).ok());
  EXPECT_EQ(List(dir.path()), (std::set<std::string>{"..2026_01_01_00_00_00.0000000000", "..data", "a", "d"}));
  EXPECT_EQ(fs::read_symlink(dir / "a"), "..data/a");
  EXPECT_EQ(fs::read_symlink(dir / "d"), "..data/d");
  EXPECT_EQ(fs::read_symlink(dir / "..data"), "..2026_01_01_00_00_00.0000000000");
  EXPECT_EQ(Read(dir / "a"), "1");
  EXPECT_EQ(Read(dir / "d/e/f"), "2");
  EXPECT_EQ(ModeOf(dir / "a"), 0640);
  EXPECT_EQ(ModeOf(dir / "d/e/f"), 0400);
  EXPECT_EQ(ModeOf(dir / "d/g"), 0755);
  EXPECT_EQ(ModeOf(dir / "d/e"), 0755);
}

TEST(AtomicWriter, UpdatesAsOneStep) {
  TempDir dir;
  ASSERT_TRUE(WriteAtomically(dir.path(), {{"a", "1"}, {"b", "1"}}, {}, kNow).ok());
  // An open directory still shows the old files; who comes by name sees the new ones.
  const fs::path old = fs::canonical(dir / "..data");
  ASSERT_TRUE(WriteAtomically(dir.path(), {{"a", "2"}, {"a_tmp", "x"}, {"c/d", "3"}}, {}, kNow).ok());
  EXPECT_FALSE(fs::exists(old));
  EXPECT_EQ(Read(dir / "a"), "2");
  EXPECT_EQ(Read(dir / "a_tmp"), "x");
  EXPECT_EQ(Read(dir / "c/d"), "3");
  EXPECT_FALSE(fs::exists(dir / "b"));
  EXPECT_EQ(List(dir.path()).size(), 5u);
}

TEST(AtomicWriter, AFileBecomesADirectory) {
  TempDir dir;
  ASSERT_TRUE(WriteAtomically(dir.path(), {{"a", "1"}}, {}, kNow).ok());
  ASSERT_TRUE(WriteAtomically(dir.path(), {{"a/b", "2"}}, {}, kNow).ok());
  EXPECT_EQ(Read(dir / "a/b"), "2");
}

TEST(AtomicWriter, NothingIsAVolumeToo) {
  TempDir dir;
  ASSERT_TRUE(WriteAtomically(dir.path(), {{"a", "1"}}, {}, kNow).ok());
  ASSERT_TRUE(WriteAtomically(dir.path(), {}, {}, kNow).ok());
  EXPECT_FALSE(fs::exists(fs::symlink_status(dir / "a")));
  EXPECT_TRUE(fs::is_directory(dir / "..data"));
}

TEST(AtomicWriter, WhenItFailsTheOldContentStays) {
  TempDir dir;
  ASSERT_TRUE(WriteAtomically(dir.path(), {{"a", "1"}}, {}, kNow).ok());
  // A file and a directory of the same name cannot be.
  EXPECT_FALSE(WriteAtomically(dir.path(), {{"a", "2"}, {"a/b", "2"}}, {}, kNow + absl::Seconds(1)).ok());
  EXPECT_EQ(Read(dir / "a"), "1");
  EXPECT_EQ(List(dir.path()).size(), 3u);
}

TEST(AtomicWriter, Owners) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root may give files away";
  TempDir dir;
  ASSERT_TRUE(WriteAtomically(dir.path(), {{"d/a", "1", 0600, 1000}, {"b", "1", 0644}}, 2000, kNow).ok());
  struct stat info{};
  ASSERT_EQ(::stat((dir / "d/a").c_str(), &info), 0);
  EXPECT_EQ(info.st_uid, 1000u);
  EXPECT_EQ(info.st_gid, 2000u);
  EXPECT_EQ(info.st_mode & 07777, 0640u);
  ASSERT_EQ(::stat((dir / "d").c_str(), &info), 0);
  EXPECT_EQ(info.st_gid, 2000u);
  EXPECT_EQ(info.st_mode & 07777, 02755u);
}

}  // namespace
}  // namespace vck::guestos
