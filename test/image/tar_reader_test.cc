#include "image/tar_reader.h"

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "image/decompressor.h"
#include "image/tar_builder.h"

namespace vck::image {
namespace {

using ::testing::HasSubstr;

struct Read {
  std::vector<TarEntry> entries;
  std::vector<std::string> contents;
  Status status;
};

Read ReadAll(std::string_view tar, size_t piece = 1 << 20) {
  Read out;
  TarReader reader;
  while (true) {
    std::string_view input = tar.substr(0, piece);
    tar.remove_prefix(input.size());
    bool ended = input.empty();
    while (true) {
      auto event = reader.Next(&input);
      if (!event.ok()) {
        out.status = event.status();
        return out;
      }
      if (*event == TarReader::Event::kNeedMore) break;
      if (*event == TarReader::Event::kEnd) return out;
      if (*event == TarReader::Event::kEntry) {
        out.entries.push_back(reader.entry());
        out.contents.emplace_back();
      } else if (*event == TarReader::Event::kData) {
        out.contents.back() += reader.data();
      } else {
        out.contents.back().append(static_cast<size_t>(reader.zeros()), '\0');
      }
    }
    if (ended) {
      out.status = reader.Finish();
      return out;
    }
  }
}

TEST(TarReaderTest, AllKinds) {
  std::string tar =
      TarBuilder()
          .Dir("d/", 01777)
          .Add({.path = "d/f", .content = std::string(1000, 'x'), .mode = 04755, .uid = 5, .gid = 6, .mtime = 7})
          .Link("d/h", "d/f")
          .Symlink("d/s", "/etc/passwd")
          .Add({.path = "c", .type = '3', .major = 1, .minor = 3})
          .Add({.path = "b", .type = '4', .major = 8, .minor = 1})
          .Add({.path = "p", .type = '6'})
          .File("old/", "")
          .End();
  for (size_t piece : {1UL, 7UL, 511UL, 512UL, 100000UL}) {
    Read read = ReadAll(tar, piece);
    ASSERT_TRUE(read.status.ok()) << read.status;
    ASSERT_EQ(read.entries.size(), 8U);
    EXPECT_EQ(read.entries[0].type, EntryType::kDirectory);
    EXPECT_EQ(read.entries[0].mode, 01777U);
    EXPECT_EQ(read.entries[1].mode, 04755U);
    EXPECT_EQ(read.entries[1].uid, 5U);
    EXPECT_EQ(read.entries[1].gid, 6U);
    EXPECT_EQ(read.entries[1].mtime, 7);
    EXPECT_EQ(read.contents[1], std::string(1000, 'x'));
    EXPECT_EQ(read.entries[2].type, EntryType::kHardLink);
    EXPECT_EQ(read.entries[2].link, "d/f");
    EXPECT_EQ(read.entries[3].link, "/etc/passwd");
    EXPECT_EQ(read.entries[4].type, EntryType::kCharDevice);
    EXPECT_EQ(read.entries[4].minor, 3U);
    EXPECT_EQ(read.entries[5].major, 8U);
    EXPECT_EQ(read.entries[6].type, EntryType::kFifo);
    EXPECT_EQ(read.entries[7].type, EntryType::kDirectory);
  }
}

TEST(TarReaderTest, LongNames) {
  std::string name = std::string(150, 'a') + "/" + std::string(200, 'b');
  Read pax = ReadAll(TarBuilder().Add({.path = name, .type = '2', .link = name + "x"}).End());
  ASSERT_EQ(pax.entries.size(), 1U) << pax.status;
  EXPECT_EQ(pax.entries[0].path, name);
  EXPECT_EQ(pax.entries[0].link, name + "x");
  Read gnu =
      ReadAll(TarBuilder().Gnu('L', name).Gnu('K', name + "y").Symlink("short", "short").File("next", "1").End());
  ASSERT_EQ(gnu.entries.size(), 2U) << gnu.status;
  EXPECT_EQ(gnu.entries[0].path, name);
  EXPECT_EQ(gnu.entries[0].link, name + "y");
  EXPECT_EQ(gnu.entries[1].path, "next");
  // The prefix of ustar.
  std::string header = TarBuilder::Header("file", '0', 0, {});
  header.replace(345, 7, "pre/fix");
  TarBuilder::Sum(&header);
  Read ustar = ReadAll(TarBuilder().Raw(header).End());
  ASSERT_EQ(ustar.entries.size(), 1U) << ustar.status;
  EXPECT_EQ(ustar.entries[0].path, "pre/fix/file");
}

TEST(TarReaderTest, PaxValues) {
  std::string value("\1\0\0\2", 4);
  Read read = ReadAll(TarBuilder()
                          .Add({.path = "f",
                                .content = "12345",
                                .pax = {{"uid", "4000000000"},
                                        {"gid", "70000"},
                                        {"mtime", "-12.5"},
                                        {"comment", "x"},
                                        {"SCHILY.xattr.security.capability", value},
                                        {"path", "other"}}})
                          .Add({.path = "plain", .content = "1"})
                          .End());
  ASSERT_EQ(read.entries.size(), 2U) << read.status;
  EXPECT_EQ(read.entries[0].uid, 4000000000U);
  EXPECT_EQ(read.entries[0].gid, 70000U);
  EXPECT_EQ(read.entries[0].mtime, -12);
  EXPECT_EQ(read.entries[0].path, "other");
  ASSERT_EQ(read.entries[0].xattrs.size(), 1U);
  EXPECT_EQ(read.entries[0].xattrs[0].first, "security.capability");
  EXPECT_EQ(read.entries[0].xattrs[0].second, value);
  EXPECT_EQ(read.entries[1].path, "plain");
  EXPECT_TRUE(read.entries[1].xattrs.empty());
}

TEST(TarReaderTest, Base256Numbers) {
  std::string header = TarBuilder::Header("f", '0', 3, {});
  header.replace(108, 8, std::string("\x80\0\0\0\0\x20\0\1", 8));
  header.replace(124, 12, std::string("\x80\0\0\0\0\0\0\0\0\0\0\3", 12));
  TarBuilder::Sum(&header);
  Read read = ReadAll(header + "abc" + std::string(509, '\0') + std::string(1024, '\0'));
  ASSERT_EQ(read.entries.size(), 1U) << read.status;
  EXPECT_EQ(read.entries[0].uid, 0x200001U);
  EXPECT_EQ(read.contents[0], "abc");
}

TEST(TarReaderTest, SparseFiles) {
  std::string wanted = std::string(1000, '\0') + "abc" + std::string(2000, '\0') + "de" + std::string(10, '\0');
  std::string size = absl::StrCat(wanted.size());
  Read v00 = ReadAll(TarBuilder()
                         .Add({.path = "x",
                               .content = "abcde",
                               .pax = {{"GNU.sparse.size", size},
                                       {"GNU.sparse.numblocks", "2"},
                                       {"GNU.sparse.offset", "1000"},
                                       {"GNU.sparse.numbytes", "3"},
                                       {"GNU.sparse.offset", "3003"},
                                       {"GNU.sparse.numbytes", "2"}}})
                         .File("next", "n")
                         .End(),
                     100);
  ASSERT_EQ(v00.entries.size(), 2U) << v00.status;
  EXPECT_EQ(v00.contents[0], wanted);
  EXPECT_EQ(v00.entries[0].size, static_cast<int64_t>(wanted.size()));
  EXPECT_EQ(v00.contents[1], "n");

  Read v01 = ReadAll(TarBuilder()
                         .Add({.path = "GNUSparseFile.0/x",
                               .content = "abcde",
                               .pax = {{"GNU.sparse.size", size},
                                       {"GNU.sparse.numblocks", "2"},
                                       {"GNU.sparse.name", "x"},
                                       {"GNU.sparse.map", "1000,3,3003,2"}}})
                         .End());
  ASSERT_EQ(v01.entries.size(), 1U) << v01.status;
  EXPECT_EQ(v01.contents[0], wanted);
  EXPECT_EQ(v01.entries[0].path, "x");

  std::string map = "2\n1000\n3\n3003\n2\n";
  map.resize(512, '\0');
  Read v10 = ReadAll(TarBuilder()
                         .Add({.path = "GNUSparseFile.0/x",
                               .content = map + "abcde",
                               .pax = {{"GNU.sparse.major", "1"},
                                       {"GNU.sparse.minor", "0"},
                                       {"GNU.sparse.name", "x"},
                                       {"GNU.sparse.realsize", size}}})
                         .File("next", "n")
                         .End(),
                     100);
  ASSERT_EQ(v10.entries.size(), 2U) << v10.status;
  EXPECT_EQ(v10.contents[0], wanted);
  EXPECT_EQ(v10.contents[1], "n");

  // The old format, with one more block of its table.
  std::string header = TarBuilder::Header("x", 'S', 5, {});
  header.replace(257, 8, std::string("ustar  \0", 8));
  header.replace(386, 24, absl::StrFormat("%011o ", 1000) + absl::StrFormat("%011o ", 3));
  header[482] = 1;
  header.replace(483, 12, absl::StrFormat("%011o ", wanted.size()));
  TarBuilder::Sum(&header);
  std::string table(512, '\0');
  table.replace(0, 24, absl::StrFormat("%011o ", 3003) + absl::StrFormat("%011o ", 2));
  Read old = ReadAll(TarBuilder().Raw(header + table + "abcde" + std::string(507, '\0')).File("next", "n").End(), 100);
  ASSERT_EQ(old.entries.size(), 2U) << old.status;
  EXPECT_EQ(old.contents[0], wanted);
  EXPECT_EQ(old.contents[1], "n");
}

TEST(TarReaderTest, Ends) {
  EXPECT_TRUE(ReadAll("").status.ok());
  EXPECT_TRUE(ReadAll(std::string(512, '\0')).status.ok());
  EXPECT_TRUE(ReadAll(TarBuilder().File("a", "b").Unended()).status.ok());
  std::string tar = TarBuilder().File("a", std::string(1000, 'b')).Unended();
  EXPECT_FALSE(ReadAll(tar.substr(0, 700)).status.ok());
  EXPECT_FALSE(ReadAll(tar.substr(0, 100)).status.ok());
  EXPECT_TRUE(ReadAll(tar.substr(0, 1512)).status.ok());
  // What follows the end is of no interest.
  Read read = ReadAll(TarBuilder().File("a", "b").End() + "garbage");
  EXPECT_TRUE(read.status.ok());
  EXPECT_EQ(read.entries.size(), 1U);
}

TEST(TarReaderTest, Refused) {
  auto broken = [](auto change) {
    std::string header = TarBuilder::Header("f", '0', 0, {});
    change(&header);
    TarBuilder::Sum(&header);
    return TarBuilder().Raw(header).End();
  };
  std::string bad_sum = TarBuilder::Header("f", '0', 0, {});
  bad_sum[0] = 'g';
  const std::vector<std::pair<std::string, std::string>> cases = {
      {bad_sum, "wrong checksum"},
      {std::string(512, '\0') + TarBuilder().File("a", "").End(), "after a block of zeros"},
      {broken([](std::string* h) { h->replace(124, 3, "9xx"); }), "bad size"},
      {broken([](std::string* h) { h->replace(108, 3, "abc"); }), "bad number"},
      {broken([](std::string* h) { (*h)[156] = 'V'; }), "unknown type 86"},
      {broken([](std::string* h) {
         (*h)[156] = 'x';
         h->replace(124, 12, "00077777777 ");
       }),
       "too long"},
      {TarBuilder().Add({.path = "f", .pax = {{"size", "-1"}}}).End(), "a bad size"},
      {TarBuilder().Add({.path = "f", .pax = {{"path", std::string("a\0b", 3)}}}).End(), "a name with a NUL"},
      {TarBuilder()
           .Add({.path = "f", .content = "12", .pax = {{"GNU.sparse.map", "0,1"}, {"GNU.sparse.size", "9"}}})
           .End(),
       "does not fit"},
      {TarBuilder()
           .Add({.path = "f", .content = "12", .pax = {{"GNU.sparse.map", "5,1,2,1"}, {"GNU.sparse.size", "9"}}})
           .End(),
       "malformed sparse map"},
  };
  for (const auto& [tar, problem] : cases) {
    Status status = ReadAll(tar).status;
    EXPECT_TRUE(absl::IsInvalidArgument(status));
    EXPECT_THAT(std::string(status.message()), HasSubstr(problem));
  }
}

// ---- unpacking ----

StatusOr<std::string> Unpack(std::string_view packed, size_t piece, size_t room) {
  std::string out, buffer(room, '\0');
  auto decompressor = Decompressor::For(packed);
  while (true) {
    std::string_view input = packed.substr(0, piece);
    bool ended = input.empty();
    packed.remove_prefix(input.size());
    while (true) {
      ASSIGN_OR_RETURN(size_t n, decompressor->Step(&input, buffer));
      if (n == 0) break;
      out += buffer.substr(0, n);
    }
    if (!input.empty()) return absl::InternalError("input is left");
    if (ended) break;
  }
  RETURN_IF_ERROR(decompressor->Finish());
  return out;
}

TEST(DecompressorTest, AllKindsInAllPieces) {
  std::string data;
  for (int i = 0; i < 20000; ++i) absl::StrAppend(&data, i * i, ",");
  std::string skippable("\x50\x2a\x4d\x18\x03\0\0\0abc", 11);
  const std::vector<std::pair<std::string, std::string>> cases = {
      {data, data},
      {Gzip(data), data},
      {Gzip(data) + Gzip("more"), data + "more"},
      {Gzip(data) + std::string(100, '\0'), data},
      {Zstd(data), data},
      {Zstd(data) + Zstd("more"), data + "more"},
      {skippable + Zstd(data) + skippable, data},
      {"", ""},
      {Gzip(""), ""},
      {Zstd(""), ""},
  };
  for (const auto& [packed, wanted] : cases) {
    for (auto [piece, room] : {std::pair{1UL, 100000UL}, {1000UL, 1UL}, {1000000UL, 1000000UL}, {77UL, 333UL}}) {
      auto out = Unpack(packed, piece, room);
      ASSERT_TRUE(out.ok()) << out.status();
      EXPECT_TRUE(*out == wanted) << out->size() << " and " << wanted.size();
    }
  }
}

TEST(DecompressorTest, DamageIsSeen) {
  std::string data;
  for (int i = 0; i < 20000; ++i) absl::StrAppend(&data, i * i, ",");
  for (const std::string& packed : {Gzip(data), Zstd(data)}) {
    EXPECT_THAT(std::string(Unpack(packed.substr(0, packed.size() - 1), 1000, 1000).status().message()),
                HasSubstr("cut off"));
  }
  std::string packed = Gzip(data);
  packed[packed.size() / 2] = static_cast<char>(packed[packed.size() / 2] ^ 0x55);
  EXPECT_FALSE(Unpack(packed, 1000, 1000).ok());
  EXPECT_FALSE(Unpack(Gzip("x") + "garbage", 1000, 1000).ok());
}

}  // namespace
}  // namespace vck::image
