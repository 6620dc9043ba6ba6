#include "guestapi/expand.h"

#include "gtest/gtest.h"

namespace vck::guestapi {
namespace {

TEST(Expand, AsKubernetesDoes) {
  const std::string a = "A", empty;
  const auto env = [&](std::string_view name) -> const std::string* {
    return name == "V" ? &a : name == "E" ? &empty : nullptr;
  };
  struct {
    std::string_view text, out;
  } const kCases[] = {
      {"", ""},         {"plain", "plain"},   {"$(V)", "A"},    {"x$(V)y$(V)", "xAyA"}, {"$$(V)", "$(V)"},
      {"$$$(V)", "$A"}, {"$$$$(V)", "$$(V)"}, {"$(X)", "$(X)"}, {"$(E)", ""},           {"$V", "$V"},
      {"$", "$"},       {"a$", "a$"},         {"$$", "$"},      {"$(V", "$(V"},         {"$(V$(V)", "$(V$(V)"},
      {"$()", "$()"},   {"$(V)$", "A$"},      {"${V}", "${V}"}};
  for (const auto& c : kCases) EXPECT_EQ(Expand(c.text, env), c.out) << c.text;
}

TEST(Expand, InTwoSteps) {
  const std::string known = "$(L) $$ $", late = "$(K)$$";
  const auto is_late = [](std::string_view name) { return name == "L" || name == "U" || name == "a$b"; };
  const auto now = [&](std::string_view name) -> const std::string* {
    return name == "K" || name == "L" ? &known : nullptr;  // what L was before does not count
  };
  const auto then = [&](std::string_view name) -> const std::string* {
    return name == "L" || name == "a$b" ? &late : nullptr;
  };
  const auto all = [&](std::string_view name) { return is_late(name) ? then(name) : now(name); };
  for (std::string_view text :
       {"",      "plain",  "$(K)",   "$(L)",  "$(K)$(L)$(K)", "$$(L)",    "$$$(L)", "$$$$(L)", "$(X)$(L)",
        "$(U)",  "$(X$y)", "$L",     "$",     "a$",           "$$",       "$(L",    "$(L$(L)", "$()",
        "$(L)$", "${L}",   "$(a$b)", "$(K)$", "$(K)(L)",      "$$(K)$(L)"}) {
    EXPECT_EQ(Expand(ExpandExcept(text, is_late, now), then), Expand(text, all)) << text;
    EXPECT_EQ(Expand(EscapeDollars(text), then), text);
  }
  EXPECT_TRUE(RefersTo("x$(L)", is_late));
  EXPECT_FALSE(RefersTo("$$(L) $(K) $(L", is_late));
}

}  // namespace
}  // namespace vck::guestapi
