#include "guestos/env_file.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace vck::guestos {
namespace {

// The value, or "error: …"; the same however the text is cut.
std::string Read(std::string_view text, std::string name = "KEY") {
  EnvFileReader whole(name);
  whole.Feed(text);
  auto value = whole.Finish();
  EnvFileReader cut(name);
  for (size_t i = 0; i < text.size() && cut.Feed(text.substr(i, 1)); ++i) {
  }
  EXPECT_EQ(cut.Finish(), value) << text;
  return value.ok() ? *value : absl::StrCat("error: ", value.status().message());
}

TEST(EnvFile, ValuesAreInSingleQuotes) {
  EXPECT_EQ(Read("KEY='value'\n"), "value");
  EXPECT_EQ(Read("KEY='value'"), "value");
  EXPECT_EQ(Read("KEY='value'\r\n"), "value");
  EXPECT_EQ(Read("KEY='value'\r"), "value");
  EXPECT_EQ(Read("\t KEY='value'"), "value");
  EXPECT_EQ(Read("KEY='value' # why"), "value");
  EXPECT_EQ(Read("KEY='value'# why"), "value");
  EXPECT_EQ(Read("KEY='value' \t"), "value");
  EXPECT_EQ(Read("KEY='  a=b \"c\" $D ${E} $(F) \\n #g '"), "  a=b \"c\" $D ${E} $(F) \\n #g ");
  EXPECT_EQ(Read("KEY='grün \xff'"), "grün \xff");
  EXPECT_EQ(Read("OTHER='x' 'y'", "KEY"), "error: line 1 has something behind the closing quote");
  EXPECT_EQ(Read("KEY='foo''bar'"), "error: line 1 has something behind the closing quote");
  EXPECT_EQ(Read("KEY=\"value\""), "error: line 1 has a value that is not in single quotes");
  EXPECT_EQ(Read("KEY=value"), "error: line 1 has a value that is not in single quotes");
  EXPECT_EQ(Read("KEY="), "error: line 1 has a value that is not in single quotes");
}

TEST(EnvFile, ValuesGoOverLines) {
  EXPECT_EQ(Read("A='1'\nKEY='one\n two\r\n\n# three'\nB='2'"), "one\n two\n\n# three");
  EXPECT_EQ(Read("A='\nKEY=\nX'\nKEY='real'"), "real");
  EXPECT_EQ(Read("A='\nKEY='no'\n"), "error: line 2 has something behind the closing quote");
  EXPECT_EQ(Read("\nKEY='one\ntwo"), "error: line 2 has a quote that is never closed");
  EXPECT_EQ(Read("\nA='one\ntwo\n"), "error: line 2 has a quote that is never closed");
  EXPECT_EQ(Read("KEY='"), "error: line 1 has a quote that is never closed");
}

TEST(EnvFile, NamesAreOnlyCompared) {
  EXPECT_EQ(Read("KEY1='1'\nKEY='2'\nKEY='3'"), "2") << "the first one counts";
  EXPECT_EQ(Read("export KEY='1'\n"), "");
  EXPECT_EQ(Read("export KEY='1'\n", "export KEY"), "1");
  EXPECT_EQ(Read("a.b-c d='1'\n", "a.b-c d"), "1");
  EXPECT_EQ(Read("key='1'"), "");
  EXPECT_EQ(Read("A='1'", ""), "");
  EXPECT_EQ(Read("='1'"), "error: line 1 has no name before its '='");
  EXPECT_EQ(Read(" \t='1'"), "error: line 1 has no name before its '='");
  EXPECT_EQ(Read("KEY ='1'"), "error: line 1 has a space before its '='");
  EXPECT_EQ(Read("KEY\t='1'"), "error: line 1 has a space before its '='");
  EXPECT_EQ(Read("A='1'\nwhat\nKEY='1'"), "error: line 2 has no '='");
}

TEST(EnvFile, NothingBehindTheEqualsSign) {
  EXPECT_EQ(Read("KEY= 'value'\nKEY='later'"), "") << "as a shell has it";
  EXPECT_EQ(Read("KEY=\t"), "");
  EXPECT_EQ(Read("A= what 'ever\nKEY='1'"), "1");
  EXPECT_EQ(Read("KEY=''\nKEY='later'"), "");
}

TEST(EnvFile, EmptyLinesAndComments) {
  EXPECT_EQ(Read(""), "");
  EXPECT_EQ(Read("\n \t\n\r\n# KEY='no'\n \t# it's\n#\nKEY='1'"), "1");
  EXPECT_EQ(Read("\v\nKEY='1'"), "error: line 1 has no '='") << "blank is a space or a tab";
  EXPECT_EQ(Read("\xef\xbb\xbfKEY='1'\n"), "") << "a byte order mark is a part of the name";
}

TEST(EnvFile, WhatComesAfterTheNameIsNotRead) {
  EXPECT_EQ(Read("KEY='1'\nwhat"), "1");
  EXPECT_EQ(Read("KEY='1' what"), "error: line 1 has something behind the closing quote");
  EnvFileReader reader("KEY");
  EXPECT_TRUE(reader.Feed("KEY='1'"));
  EXPECT_FALSE(reader.Feed("\nA"));
  EXPECT_FALSE(reader.Feed("whatever"));
  EXPECT_EQ(*reader.Finish(), "1");
}

TEST(EnvFile, LinesHaveALimit) {
  const auto line = [](size_t size) {  // of so many bytes
    return absl::StrCat("KEY='", std::string(size - 6, 'x'), "'");
  };
  EXPECT_EQ(Read(line(65535)).size(), 65529u);
  EXPECT_EQ(Read(line(65535) + "\n").size(), 65529u);
  EXPECT_EQ(Read("\n" + line(65536)), "error: line 2 is too long");
  EXPECT_EQ(Read("#" + std::string(65535, 'x') + "\nKEY='1'"), "error: line 1 is too long");
  EXPECT_EQ(Read("KEY='1'\n#" + std::string(65535, 'x')), "1");
  // A value may be longer than that, over lines, but not without end.
  const std::string more = std::string(65535, 'x') + "\n";
  EXPECT_EQ(Read("KEY='\n" + more + more + "'").size(), 1 + 2 * more.size());
  EnvFileReader endless("KEY"), other("A");
  EXPECT_TRUE(endless.Feed("KEY='\n"));
  EXPECT_TRUE(other.Feed("KEY='\n"));
  for (int i = 0; i < 15; ++i) EXPECT_TRUE(endless.Feed(more));
  EXPECT_TRUE(endless.Feed(more)) << "a mebibyte, with the first line's end";
  EXPECT_FALSE(endless.Feed(more));
  EXPECT_EQ(endless.Finish().status().message(), "line 1 has a value that no process can be given: it is too long");
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(other.Feed(more));
}

}  // namespace
}  // namespace vck::guestos
