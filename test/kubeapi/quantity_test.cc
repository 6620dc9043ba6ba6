#include "kubeapi/quantity.h"

#include <limits>

#include <gtest/gtest.h>

namespace vck::kubeapi {
namespace {

constexpr int64_t kMax = std::numeric_limits<int64_t>::max();

Quantity Q(std::string_view text) {
  auto q = Quantity::Parse(text);
  EXPECT_TRUE(q.ok()) << text;
  return q.value_or(Quantity());
}

TEST(Quantity, ReadsWhatKubernetesReads) {
  struct {
    std::string_view text;
    int64_t value, milli;
  } const kCases[] = {
      {"0", 0, 0},
      {"0m", 0, 0},
      {"0Ki", 0, 0},
      {"1", 1, 1000},
      {"+1", 1, 1000},
      {"-1", -1, -1000},
      {"007", 7, 7000},
      {"100m", 1, 100},
      {"1500m", 2, 1500},
      {"-1500m", -2, -1500},
      {"0.5", 1, 500},
      {".5", 1, 500},
      {"5.", 5, 5000},
      {"1e3", 1000, 1000000},
      {"1E3", 1000, 1000000},
      {"1e+3", 1000, 1000000},
      {"1e-3", 1, 1},
      {"1E", 1000000000000000000, kMax},
      {"12k", 12000, 12000000},
      {"2M", 2000000, 2000000000},
      {"1Ki", 1024, 1024000},
      {"1Mi", 1048576, 1048576000},
      {"1Gi", 1073741824, 1073741824000},
      {"1.5Gi", 1610612736, 1610612736000},
      {"0.5Ki", 512, 512000},
      {"1Ti", 1099511627776, 1099511627776000},
      {"1Pi", 1125899906842624, 1125899906842624000},
      {"1Ei", 1152921504606846976, kMax},
      {"100n", 1, 1},
      {"1n", 1, 1},
      {"0.1n", 1, 1},
      {"1e-30", 1, 1},
      {"250u", 1, 1},
      {"1000u", 1, 1},
      {"1001u", 1, 2},
      {"9223372036854775807", kMax, kMax},
      {"9223372036854775808", kMax, kMax},
      {"100Ei", kMax, kMax},
      {"1e100", kMax, kMax},
      {"-1e100", -kMax, -kMax - 1},
      {"123456789012345678901234567890e-20", 1234567891, 1234567890124},
  };
  for (const auto& c : kCases) {
    EXPECT_EQ(Q(c.text).Value(), c.value) << c.text;
    EXPECT_EQ(Q(c.text).MilliValue(), c.milli) << c.text;
  }
}

TEST(Quantity, RefusesWhatKubernetesRefuses) {
  for (std::string_view text :
       {"",   "1.1.M", "1+1.0M", "0.1mi", "0.1am", "aoeu", ".5i", "1i",   "-3.01i", "-3.01e-", " 1",
        "1 ", "1 Gi",  "e3",     "1e",    "1e3.5", "1K",   "1ki", "1MiB", "--1",    "+-1",     "1e99999999999999999999",
        "Gi", "1,5",   "0x10",   "."}) {
    EXPECT_FALSE(Quantity::Parse(text).ok()) << text;
  }
}

TEST(Quantity, ReadsBareNumbers) {
  EXPECT_EQ(Quantity::Parse(json::Value(3))->Value(), 3);
  EXPECT_EQ(Quantity::Parse(json::Value(0.5))->MilliValue(), 500);
  EXPECT_FALSE(Quantity::Parse(json::Value(true)).ok());
}

TEST(Quantity, ComparesAndAddsExactly) {
  EXPECT_EQ(Q("1Gi"), Q("1024Mi"));
  EXPECT_EQ(Q("0.1") + Q("0.2"), Q("300m"));
  EXPECT_LT(Q("1M"), Q("1Mi"));
  EXPECT_EQ(Q("1") - Q("1500m"), Q("-500m"));
  EXPECT_EQ((Q("8Ei") + Q("8Ei")).Value(), kMax);
}

TEST(Quantity, WritesShortForms) {
  EXPECT_EQ(Q("1500m").ToString(), "1500m");
  EXPECT_EQ(Q("2000m").ToString(), "2");
  EXPECT_EQ(Q("1500000").ToString(), "1500k");
  EXPECT_EQ(Q("0").ToString(), "0");
  EXPECT_EQ(Q("-100m").ToString(), "-100m");
  EXPECT_EQ(Q("1073741824").ToBinaryString(), "1Gi");
  EXPECT_EQ(Q("1000").ToBinaryString(), "1000");
  EXPECT_EQ(Q("100m").ToBinaryString(), "100m");
  for (std::string_view text : {"1500m", "3n", "-7Gi", "1e12", "123456789"})
    EXPECT_EQ(Q(Q(text).ToString()), Q(text)) << text;
}

}  // namespace
}  // namespace vck::kubeapi
