#include "node/ipam.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace vck::node {
namespace {

using ::testing::HasSubstr;

TEST(Ranges, CidrAndSpan) {
  auto cidr = ParseRange("10.1.0.0/20");
  ASSERT_TRUE(cidr.ok());
  EXPECT_EQ(FormatIp(cidr->first), "10.1.0.2");
  EXPECT_EQ(FormatIp(cidr->last), "10.1.15.254");
  EXPECT_EQ(FormatIp(cidr->gateway), "10.1.0.1");
  EXPECT_EQ(cidr->size(), 4093);
  auto span = ParseRange("192.168.1.10-192.168.1.20/24");
  ASSERT_TRUE(span.ok());
  EXPECT_EQ(span->size(), 11);
  EXPECT_EQ(span->prefix, 24);
  EXPECT_EQ(FormatIp(span->gateway), "192.168.1.1");
}

TEST(Ranges, ErrorsSayWhatWasExpected) {
  for (const char* text : {"", "10.0.0.0", "10.0.0.0/33", "10.0.0.1/24", "10.0.0.0/30", "::1/64", "10.0.0.9-10.0.0.1",
                           "10.0.0.1-10.1.0.1/24", "a-b", "10.0.0.0/x"}) {
    auto range = ParseRange(text);
    EXPECT_EQ(range.status().code(), absl::StatusCode::kInvalidArgument) << text;
    EXPECT_THAT(std::string(range.status().message()), HasSubstr("expected 10.1.0.0/20")) << text;
  }
}

TEST(Ipam, ReusesAnAddressAsLateAsPossible) {
  Ipam ipam;
  ipam.SetRange(*ParseRange("10.0.0.0/29"));  // .2 to .6
  EXPECT_EQ(*ipam.Allocate("a"), "10.0.0.2");
  EXPECT_EQ(*ipam.Allocate("a"), "10.0.0.2");
  EXPECT_EQ(*ipam.Allocate("b"), "10.0.0.3");
  ipam.Release("a");
  EXPECT_EQ(*ipam.Allocate("c"), "10.0.0.4");
  EXPECT_EQ(*ipam.Allocate("d"), "10.0.0.5");
  EXPECT_EQ(*ipam.Allocate("e"), "10.0.0.6");
  EXPECT_EQ(*ipam.Allocate("f"), "10.0.0.2");
  EXPECT_EQ(ipam.Allocate("g").status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(ipam.free(), 0);
}

TEST(Ipam, AddressWithTwoOwnersIsFreeOnlyWhenBothAreGone) {
  Ipam ipam;
  ipam.SetRange(*ParseRange("10.0.0.0/29"));
  ipam.Hold("a", "10.0.0.2");
  ipam.Hold("a", "10.0.0.2");
  ipam.Hold("b", "10.0.0.2");
  ipam.Release("a");
  EXPECT_EQ(*ipam.Allocate("c"), "10.0.0.3");
  ipam.Release("b");
  EXPECT_EQ(ipam.free(), 4);
}

TEST(Ipam, HoldsForeignAddressesAndNeedsARange) {
  Ipam ipam;
  EXPECT_EQ(ipam.Allocate("a").status().code(), absl::StatusCode::kFailedPrecondition);
  ipam.Hold("x", "172.16.0.9");
  EXPECT_EQ(*ipam.Allocate("x"), "172.16.0.9");
  ipam.SetRange(*ParseRange("10.0.0.0/29"));
  EXPECT_EQ(ipam.free(), 5);
}

}  // namespace
}  // namespace vck::node
