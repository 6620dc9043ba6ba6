#include "http/write_queue.h"

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace vck::http {
namespace {

using ::testing::ElementsAre;

// Writes when the test lets it.
class GatedStream : public Stream {
 public:
  Task<StatusOr<size_t>> ReadSome(std::span<char>) override { co_return 0; }
  Task<Status> WaitReadable() override { co_return absl::OkStatus(); }
  Task<Status> Write(std::string_view data) override {
    EXPECT_FALSE(std::exchange(busy_, true)) << "one write at a time";
    struct Done {
      bool* busy;
      ~Done() { *busy = false; }
    } done{&busy_};
    const std::string text(data);
    co_await gate.Wait();
    written.push_back(text);
    co_return status;
  }
  Task<> ShutdownWrite() override { co_return; }
  void Close() override {}
  std::string PeerKeyHash() const override { return ""; }
  PeerName Peer() const override { return {}; }
  std::string alpn() const override { return ""; }
  std::string remote_address() const override { return ""; }

  Signal gate;
  std::vector<std::string> written;
  Status status;

 private:
  bool busy_ = false;
};

class WriteQueueTest : public ::testing::Test {
 protected:
  struct Flusher {
    asio::cancellation_signal stop;
    std::optional<Status> result;
  };
  Flusher& Flush(bool wait = true) {
    auto& flusher = flushers_.emplace_back();
    asio::co_spawn(context_, wait ? queue_.Flush() : queue_.FlushUnlessBusy(),
                   asio::bind_cancellation_slot(flusher.stop.slot(), [&flusher](std::exception_ptr e, Status status) {
                     flusher.result = e ? absl::CancelledError("") : status;
                   }));
    Poll();
    return flusher;
  }
  void Poll() {
    context_.restart();
    context_.poll();
  }
  void Open() {
    stream_.gate.NotifyAll();
    Poll();
  }

  asio::io_context context_;
  GatedStream stream_;
  std::string buffer_;
  WriteQueue queue_{stream_, buffer_};
  std::list<Flusher> flushers_;
};

TEST_F(WriteQueueTest, EachReturnsWhenItsOwnIsWritten) {
  buffer_ += "a";
  auto& first = Flush();
  buffer_ += "b";
  auto& second = Flush();
  buffer_ += "c";
  auto& third = Flush();
  EXPECT_FALSE(first.result);
  Open();
  EXPECT_TRUE(first.result.has_value()) << "it need not write what came later: others wait to do that";
  EXPECT_FALSE(second.result);
  Open();
  EXPECT_TRUE(second.result && third.result);
  EXPECT_THAT(stream_.written, ElementsAre("a", "bc"));
  EXPECT_EQ(queue_.written(), 3u);
}

TEST_F(WriteQueueTest, WhoeverWritesTakesAlongWhatOthersLeft) {
  buffer_ += "a";
  auto& writer = Flush();
  buffer_ += "b";
  auto& other = Flush(false);
  EXPECT_TRUE(other.result.has_value() && other.result->ok()) << "is not held up";
  Open();
  EXPECT_FALSE(writer.result);
  Open();
  EXPECT_TRUE(writer.result.has_value());
  EXPECT_THAT(stream_.written, ElementsAre("a", "b"));
}

TEST_F(WriteQueueTest, OneThatIsNotBusyIsWrittenTo) {
  buffer_ += "a";
  auto& flusher = Flush(false);
  Open();
  EXPECT_TRUE(flusher.result.has_value());
  EXPECT_THAT(stream_.written, ElementsAre("a"));
  EXPECT_TRUE(Flush().result.has_value()) << "nothing to do";
}

TEST_F(WriteQueueTest, AnErrorIsForAllAndForEver) {
  stream_.status = absl::UnavailableError("reset");
  buffer_ += "a";
  auto& first = Flush();
  buffer_ += "b";
  auto& second = Flush();
  Open();
  EXPECT_TRUE(absl::IsUnavailable(*first.result));
  EXPECT_TRUE(absl::IsUnavailable(*second.result));
  EXPECT_TRUE(absl::IsUnavailable(*Flush().result));
  EXPECT_THAT(stream_.written, ElementsAre("a"));
}

TEST_F(WriteQueueTest, ACancelledWriteEndsItAndACancelledWaitDoesNot) {
  buffer_ += "a";
  auto& writer = Flush();
  buffer_ += "b";
  auto& waiter = Flush();
  waiter.stop.emit(asio::cancellation_type::terminal);
  Poll();
  EXPECT_TRUE(waiter.result.has_value());
  EXPECT_FALSE(writer.result);
  buffer_ += "c";
  auto& other = Flush();
  writer.stop.emit(asio::cancellation_type::terminal);
  Poll();
  EXPECT_TRUE(writer.result.has_value());
  EXPECT_TRUE(absl::IsCancelled(*other.result)) << "nobody knows how much was written";
}

}  // namespace
}  // namespace vck::http
