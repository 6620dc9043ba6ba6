#include "image/vmdk.h"

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include <zlib.h>

#include "base/digest.h"
#include "gtest/gtest.h"

namespace vck::image {
namespace {

class VmdkTest : public ::testing::Test {
 protected:
  VmdkTest() : dir_((std::filesystem::temp_directory_path() / ("vmdk-" + RandomHex(6))).string()) {
    std::filesystem::create_directories(dir_);
  }
  ~VmdkTest() override { std::filesystem::remove_all(dir_); }

  static std::string Data(size_t size) {
    std::string out(size, '\0');
    uint32_t x = 7;
    for (char& c : out) c = static_cast<char>((x = x * 1664525 + 1013904223) >> 24);
    return out;
  }
  std::string Make(const std::string& raw) {
    std::ofstream(dir_ + "/raw", std::ios::binary) << raw;
    auto stream = VmdkStream::Open(dir_ + "/raw", static_cast<int64_t>(raw.size()), "sha256:x");
    EXPECT_TRUE(stream.ok()) << stream.status();
    std::string out;
    while (true) {
      auto piece = stream->Next();
      EXPECT_TRUE(piece.ok()) << piece.status();
      if (!piece.ok() || piece->empty()) return out;
      EXPECT_EQ(piece->size() % 512, 0U);
      out += *piece;
    }
  }
  template <class T>
  static T At(const std::string& bytes, size_t at) {
    T value{};
    std::memcpy(&value, bytes.data() + at, sizeof(T));
    return value;
  }
  // Reads as a receiver does that has only a stream: by markers, from front to back.
  static std::string ReadStream(const std::string& vmdk, size_t capacity) {
    std::string disk(capacity, '\0');
    size_t at = At<uint64_t>(vmdk, 64) * 512;
    while (true) {
      auto value = At<uint64_t>(vmdk, at);
      auto size = At<uint32_t>(vmdk, at + 8);
      if (size == 0) {
        auto type = At<uint32_t>(vmdk, at + 12);
        if (type == 0) {
          EXPECT_EQ(at + 512, vmdk.size());
          return disk;
        }
        at += 512 + value * 512;
        continue;
      }
      uLongf length = 65536;
      EXPECT_EQ(uncompress(reinterpret_cast<Bytef*>(disk.data()) + value * 512, &length,
                           reinterpret_cast<const Bytef*>(vmdk.data()) + at + 12, size),
                Z_OK);
      EXPECT_EQ(length, 65536U);
      at += (12 + size + 511) / 512 * 512;
    }
  }
  // Reads at random: footer, directory, tables.
  static std::string ReadTables(const std::string& vmdk) {
    size_t footer = vmdk.size() - 1024;
    EXPECT_EQ(vmdk.substr(footer, 4), "KDMV");
    EXPECT_EQ(At<uint64_t>(vmdk, 56), UINT64_MAX);
    auto capacity = At<uint64_t>(vmdk, footer + 12);
    size_t directory = At<uint64_t>(vmdk, footer + 56) * 512;
    std::string disk(capacity * 512, '\0');
    for (size_t grain = 0; grain < capacity / 128; ++grain) {
      size_t table = size_t{At<uint32_t>(vmdk, directory + grain / 512 * 4)} * 512;
      if (table == 0) continue;
      size_t at = size_t{At<uint32_t>(vmdk, table + grain % 512 * 4)} * 512;
      if (at == 0) continue;
      EXPECT_EQ(At<uint64_t>(vmdk, at), grain * 128);
      uLongf length = 65536;
      EXPECT_EQ(uncompress(reinterpret_cast<Bytef*>(disk.data()) + grain * 65536, &length,
                           reinterpret_cast<const Bytef*>(vmdk.data()) + at + 12, At<uint32_t>(vmdk, at + 8)),
                Z_OK);
    }
    return disk;
  }
  std::string dir_;
};

TEST_F(VmdkTest, WhatGoesInComesOut) {
  for (size_t size :
       {size_t{0}, size_t{4096}, size_t{65536}, size_t{1} << 20, (size_t{1} << 20) + 1, (size_t{33} << 20) + 4096}) {
    std::string raw = Data(size);
    std::string vmdk = Make(raw);
    EXPECT_EQ(static_cast<int64_t>(vmdk.size()), VmdkStream::Size(static_cast<int64_t>(size))) << size;
    auto capacity = static_cast<size_t>(VmdkStream::Capacity(static_cast<int64_t>(size)));
    EXPECT_EQ(capacity % (1 << 20), 0U);
    std::string wanted = raw + std::string(capacity - size, '\0');
    EXPECT_TRUE(ReadStream(vmdk, capacity) == wanted) << size;
    EXPECT_TRUE(ReadTables(vmdk) == wanted) << size;
  }
}

TEST_F(VmdkTest, SameImageSameBytes) {
  std::string raw = Data(100000);
  EXPECT_TRUE(Make(raw) == Make(raw));
}

TEST_F(VmdkTest, AFileThatShrinks) {
  std::ofstream(dir_ + "/raw", std::ios::binary) << "short";
  auto stream = VmdkStream::Open(dir_ + "/raw", 100, "x");
  EXPECT_FALSE(stream->Next().ok());
  EXPECT_FALSE(VmdkStream::Open(dir_ + "/none", 100, "x").ok());
}

TEST_F(VmdkTest, QemuReadsIt) {
  if (std::system("qemu-img --version >/dev/null 2>&1") != 0) GTEST_SKIP() << "no qemu-img";
  for (size_t size : {size_t{4096}, (size_t{33} << 20) + 4096}) {
    std::string raw = Data(size);
    std::ofstream(dir_ + "/disk.vmdk", std::ios::binary) << Make(raw);
    std::ofstream(dir_ + "/raw", std::ios::binary)
        << raw + std::string(static_cast<size_t>(VmdkStream::Capacity(static_cast<int64_t>(size))) - size, '\0');
    std::string run = "cd " + dir_ + " && ";
    EXPECT_EQ(std::system((run + "qemu-img check -q -f vmdk disk.vmdk >&2").c_str()), 0);
    EXPECT_EQ(std::system((run + "qemu-img compare -q -f vmdk -F raw disk.vmdk raw >&2").c_str()), 0);
    EXPECT_EQ(std::system((run + "qemu-img convert -f vmdk -O raw disk.vmdk back && cmp back raw >&2").c_str()), 0);
  }
}

}  // namespace
}  // namespace vck::image
