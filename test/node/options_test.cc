#include "node/options.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace vck::node {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(Options, StreamsMayBeIdleForEver) {
  Options options;
  for (auto [idle, fine] :
       {std::pair{absl::Hours(4), true}, {absl::ZeroDuration(), true}, {-absl::Seconds(1), false}}) {
    options.api.streaming_idle = idle;
    const std::string problems(Validate(options).message());
    if (fine) {
      EXPECT_THAT(problems, Not(HasSubstr("--streaming-connection-idle-timeout"))) << idle;
    } else {
      EXPECT_THAT(problems,
                  HasSubstr("--streaming-connection-idle-timeout: expected a time such as 4h, or 0s for none"));
    }
  }
}

}  // namespace
}  // namespace vck::node
