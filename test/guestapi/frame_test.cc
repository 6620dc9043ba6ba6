#include "guestapi/frame.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace vck::guestapi {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

template <class T>
const T& As(const StatusOr<Frame>& frame) {
  EXPECT_TRUE(frame.ok()) << frame.status();
  return std::get<T>(*frame);
}

StatusOr<Frame> RoundTrip(const Frame& frame) {
  std::string text = EncodeFrame(frame);
  EXPECT_EQ(text.back(), '\n');
  text.pop_back();
  EXPECT_EQ(text.find('\n'), std::string::npos);
  return DecodeFrame(text);
}

TEST(Frame, EveryKindSurvivesTheWire) {
  Hello hello{.boot_id = "b", .pod_uid = "u", .certify = true};
  EXPECT_TRUE(As<Hello>(RoundTrip(hello)).certify);
  EXPECT_FALSE(As<Hello>(RoundTrip(Hello{.boot_id = "b"})).certify);
  EXPECT_EQ(As<Certificate>(RoundTrip(Certificate{.pem = "p\n"})).pem, "p\n");
  GuestSpec spec;
  spec.pod_uid = "u";
  spec.revision = 5;
  EXPECT_EQ(As<GuestSpec>(RoundTrip(spec)).revision, 5);
  EXPECT_EQ(As<StopRequest>(RoundTrip(StopRequest{.grace_seconds = 3})).grace_seconds, 3);
  EXPECT_EQ(As<Ack>(RoundTrip(Ack{.sequence = 12})).sequence, 12);
  As<PowerOff>(RoundTrip(PowerOff{}));
  GuestState state;
  state.boot_id = "b";
  state.sequence = 2;
  state.guest_now = absl::UnixEpoch();
  EXPECT_EQ(As<GuestState>(RoundTrip(state)).sequence, 2);
}

TEST(Frame, OfALaterVersionIsSkippedAndABrokenOneIsNot) {
  As<UnknownFrame>(DecodeFrame(R"({"exec":{"x":1}})"));
  As<UnknownFrame>(DecodeFrame("{}"));
  As<UnknownFrame>(DecodeFrame(R"({"poweroff":false})"));
  EXPECT_EQ(As<Hello>(DecodeFrame(R"({"hello":{"version":2,"bootId":"b"}})")).version, 2) << "judged by the kubelet";
  EXPECT_THAT(std::string(DecodeFrame(R"({"spec":{}})").status().message()), HasSubstr("spec: podUid is missing"));
  EXPECT_FALSE(DecodeFrame("7").ok());
  EXPECT_FALSE(DecodeFrame(R"({"ack":"1"})").ok());
  EXPECT_FALSE(DecodeFrame("").ok());
}

std::vector<std::string> Split(const std::string& text, size_t piece) {
  FrameSplitter splitter(100);
  std::vector<std::string> lines;
  for (size_t at = 0; at < text.size(); at += piece) {
    Status status = splitter.Feed(std::string_view(text).substr(at, piece), [&](std::string_view line) {
      lines.emplace_back(line);
      return absl::OkStatus();
    });
    EXPECT_TRUE(status.ok()) << status;
  }
  EXPECT_EQ(splitter.held(), 0);
  return lines;
}

TEST(Splitter, FindsTheSameFramesWhereverTheStreamIsCut) {
  std::string text = "{\"a\":1}\n\n{}\n{\"long\":\"xxxxxxxxxxxxxxxxxxx\"}\n";
  for (size_t piece = 1; piece <= text.size(); ++piece) {
    EXPECT_THAT(Split(text, piece), ElementsAre("{\"a\":1}", "{}", "{\"long\":\"xxxxxxxxxxxxxxxxxxx\"}")) << piece;
  }
}

TEST(Splitter, RefusesAFrameThatIsTooLongBeforeItHasEnded) {
  auto ignore = [](std::string_view) { return absl::OkStatus(); };
  FrameSplitter whole(10);
  EXPECT_TRUE(whole.Feed("1234567890\n", ignore).ok());
  EXPECT_TRUE(absl::IsResourceExhausted(whole.Feed("12345678901\n", ignore)));
  FrameSplitter pieces(10);
  EXPECT_TRUE(pieces.Feed("12345678", ignore).ok());
  EXPECT_TRUE(absl::IsResourceExhausted(pieces.Feed("901", ignore)));
}

TEST(Splitter, EndsWithTheReceiversError) {
  FrameSplitter splitter;
  int lines = 0;
  Status status = splitter.Feed("a\nb\nc\n", [&](std::string_view line) -> Status {
    ++lines;
    return line == "b" ? absl::InvalidArgumentError("no") : absl::OkStatus();
  });
  EXPECT_EQ(status.message(), "no");
  EXPECT_EQ(lines, 2);
}

}  // namespace
}  // namespace vck::guestapi
