#include "http/message.h"

#include "gtest/gtest.h"

namespace vck::http {
namespace {

TEST(Headers, CompareWithoutCaseAndKeepOrder) {
  Headers headers{{"Accept", "a"}, {"X-One", "1"}, {"accept", "b"}};
  EXPECT_EQ(headers.Get("ACCEPT"), "a");
  EXPECT_EQ(headers.Get("missing"), std::nullopt);
  headers.Set("accept", "c");
  ASSERT_EQ(headers.fields().size(), 2u);
  EXPECT_EQ(headers.fields()[0].first, "X-One");
  EXPECT_EQ(headers.Get("Accept"), "c");
  headers.Remove(headers.fields()[0].first);
  EXPECT_EQ(headers.Get("x-one"), std::nullopt);
}

TEST(ParseUrl, Parts) {
  auto url = ParseUrl("HTTPS://dom%5Cu:p%40ss@VC.Example:8443/sdk/?a=b").value();
  EXPECT_EQ(url.scheme, "https");
  EXPECT_EQ(url.host, "vc.example");
  EXPECT_EQ(url.port, 8443);
  EXPECT_EQ(url.path, "/sdk");
  EXPECT_EQ(url.query, "a=b");
  EXPECT_EQ(url.user, "dom\\u");
  EXPECT_EQ(url.password, "p@ss");
  EXPECT_EQ(ParseUrl("http://h").value().port, 80);
  EXPECT_EQ(ParseUrl("https://h/").value().port, 443);
  EXPECT_EQ(ParseUrl("https://h/").value().path, "");
  auto v6 = ParseUrl("https://[::1]:6443").value();
  EXPECT_EQ(v6.host, "::1");
  EXPECT_EQ(v6.HostPort(), "[::1]:6443");
}

TEST(ParseUrl, SaysWhatWasExpectedWithoutThePassword) {
  for (const char* text : {"", "host", "ftp://h", "https://", "https://h:0", "https://h:99999", "https://h/#f",
                           "https://a%2fb", "https://h /", "/path"}) {
    EXPECT_EQ(ParseUrl(text).status().code(), absl::StatusCode::kInvalidArgument) << text;
  }
  for (const char* text :
       {"https://administrator@vsphere.local:sesame@vc", "https://u:sesame/x@vc", "u:sesame@vc", "https://u:sesame@"}) {
    std::string message(ParseUrl(text).status().message());
    EXPECT_FALSE(message.empty()) << text;
    EXPECT_EQ(message.find("sesame"), std::string::npos) << message;
  }
}

TEST(PercentEncode, AllButUnreserved) { EXPECT_EQ(PercentEncode("aZ0-._~ /?=&\xff"), "aZ0-._~%20%2F%3F%3D%26%FF"); }

}  // namespace
}  // namespace vck::http
