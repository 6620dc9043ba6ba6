#include "guestos/stream_peer.h"

#include <memory>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "support/loop.h"
#include "support/memory_stream.h"

namespace vck::guestos {
namespace {

class StreamPeerTest : public ::testing::Test {
 protected:
  void Finish() {
    asio::co_spawn(loop_.context(), peer_.Finish(&loop_.clock(), {.exit_code = 42, .error = ""}),
                   [this](std::exception_ptr) { done_ = true; });
    loop_.RunReady();
  }
  testing::Loop loop_;
  std::shared_ptr<testing::Wire> wire_ = std::make_shared<testing::Wire>();
  StreamPeer peer_{std::make_unique<testing::MemoryStream>(wire_), ""};
  bool done_ = false;
};

TEST_F(StreamPeerTest, AKubeletWhoseClientIsSlowIsWaitedFor) {
  Finish();
  EXPECT_EQ(wire_->out, guestapi::EncodeStreamFrame(guestapi::StreamChannel::kStatus,
                                                    guestapi::Encode(guestapi::StreamStatus{.exit_code = 42})));
  EXPECT_TRUE(wire_->half_closed);
  for (int i = 0; i < 14; ++i) {
    loop_.Advance(absl::Minutes(1));
    wire_->Say("input that nobody wants");
    ASSERT_FALSE(done_) << "a reset would destroy what is on its way";
  }
  wire_->End();
  loop_.RunReady();
  EXPECT_TRUE(done_);
}

TEST_F(StreamPeerTest, AKubeletThatNeverClosesIsNotWaitedForForEver) {
  Finish();
  loop_.Advance(absl::Minutes(16));
  EXPECT_TRUE(done_);
}

}  // namespace
}  // namespace vck::guestos
