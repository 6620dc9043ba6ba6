// What the guest learns of its machine: disks, memory, scratch disk.
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "guestos/cgroups.h"
#include "guestos/disks.h"
#include "guestos/scratch.h"

namespace vck::guestos {
namespace {

namespace fs = std::filesystem;

class DisksTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "vck-sys-XXXXXX").string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    sys_ = name;
  }
  void TearDown() override { fs::remove_all(sys_); }

  void Host(int number, const char* driver) {
    const fs::path dir = sys_ / "class/scsi_host" / absl::StrCat("host", number);
    fs::create_directories(dir);
    std::ofstream(dir / "proc_name") << driver << "\n";
  }
  void Disk(const char* address, const char* block) {
    fs::create_directories(sys_ / "class/scsi_device" / address / "device/block" / block);
  }

  fs::path sys_;
};

TEST_F(DisksTest, ByUnitOnTheRightController) {
  Host(0, "ata_piix");
  Host(2, "vmw_pvscsi");
  Disk("0:0:1:0", "sr0");
  Disk("2:0:0:0", "sda");
  Disk("2:0:1:0", "sdb");
  Disk("2:0:8:0", "sdc");
  EXPECT_EQ(FindDisk(0, sys_).value_or(""), "/dev/sda");
  EXPECT_EQ(FindDisk(1, sys_).value_or(""), "/dev/sdb");
  EXPECT_EQ(FindDisk(8, sys_).value_or(""), "/dev/sdc");
  EXPECT_EQ(FindDisk(2, sys_).status().code(), absl::StatusCode::kNotFound);
}

TEST_F(DisksTest, NothingThereYet) {
  EXPECT_EQ(FindDisk(0, sys_).status().code(), absl::StatusCode::kNotFound);
  Host(2, "vmw_pvscsi");
  fs::create_directories(sys_ / "class/scsi_device" / "2:0:0:0" / "device");
  EXPECT_EQ(FindDisk(0, sys_).status().code(), absl::StatusCode::kNotFound);
}

TEST_F(DisksTest, OnlyTheRightControllerIsAskedForAUnit) {
  const auto asked = [this](int number) {
    std::ifstream in(sys_ / "class/scsi_host" / absl::StrCat("host", number) / "scan");
    return std::string(std::istreambuf_iterator<char>(in), {});
  };
  for (auto [number, driver] : {std::pair{0, "ata_piix"}, {2, "vmw_pvscsi"}}) {
    Host(number, driver);
    std::ofstream(sys_ / "class/scsi_host" / absl::StrCat("host", number) / "scan");
  }
  ScanDisk(8, sys_);
  EXPECT_EQ(asked(0), "");
  EXPECT_EQ(asked(2), "0 8 0");
}

TEST(Memory, OfThePod) {
  EXPECT_EQ(TotalMemory("MemFree: 1 kB\nMemTotal:         221184 kB\n"), int64_t{221184} << 10);
  EXPECT_EQ(TotalMemory("MemTotal: x kB\n"), 0);
  EXPECT_EQ(TotalMemory(""), 0);
  constexpr int64_t kMiB = 1 << 20;
  EXPECT_GT(PodMemory(256 * kMiB), 216 * kMiB);
  EXPECT_LT(PodMemory(256 * kMiB), 232 * kMiB);
  EXPECT_GE(PodMemory(32 * kMiB), 16 * kMiB);
  EXPECT_LT(PodMemory(65536 * kMiB), 65536 * kMiB);
}

TEST(Memory, Processes) {
  EXPECT_EQ(PodProcesses(1700, 32768), 1500);
  EXPECT_EQ(PodProcesses(100000, 32768), 32568);
  EXPECT_EQ(PodProcesses(100, 32768), 50);
}

TEST(Scratch, KnowsItsFileSystem) {
  std::string head(4096, '\0');
  EXPECT_FALSE(HasExt4(head));
  head[1080] = '\x53';
  head[1081] = '\xEF';
  EXPECT_TRUE(HasExt4(head));
  EXPECT_FALSE(HasExt4(head.substr(0, 1081)));
  EXPECT_FALSE(HasExt4(""));
}

}  // namespace
}  // namespace vck::guestos
