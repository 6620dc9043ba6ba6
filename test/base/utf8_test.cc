#include "base/utf8.h"

#include "gtest/gtest.h"

namespace vck {
namespace {

TEST(Utf8, WhatIsWellFormed) {
  for (std::string_view text : {"", "a", "grün 世界 🙂", "\x7f\u0080\u07ff\u0800\uffff\U00010000\U0010ffff"}) {
    EXPECT_TRUE(IsUtf8(text)) << text;
  }
  for (std::string_view text : {"\x80", "\xff", "a\xc3", "\xc0\x80", "\xe0\x80\x80", "\xe2\x82", "\xed\xa0\x80",
                                "\xf0\x80\x80\x80", "\xf4\x90\x80\x80", "\xc3(", "\xf8\x88\x80\x80\x80"}) {
    EXPECT_FALSE(IsUtf8(text)) << text;
  }
  EXPECT_EQ(DecodeRune("ü!").code, 0xfcu);
  EXPECT_EQ(DecodeRune("ü!").size, 2u);
  EXPECT_EQ(DecodeRune("\xbc").size, 0u);
}

}  // namespace
}  // namespace vck
