#include "guestos/log_reader.h"

#include <fstream>
#include <future>
#include <memory>
#include <sstream>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "guestos/files.h"
#include "guestos/temp_dir.h"

namespace vck::guestos {
namespace {

class Collect : public LogSink {
 public:
  Task<Status> Write(std::string_view piece) override {
    text.append(piece);
    largest = std::max(largest, piece.size());
    if (limit > 0 && text.size() >= limit) co_return absl::CancelledError("enough");
    co_return absl::OkStatus();
  }
  std::string text;
  size_t largest = 0;
  size_t limit = 0;
};

std::string Entry(int n) {
  return absl::StrCat("2026-01-01T00:00:00.", absl::Dec(n, absl::kZeroPad9), "Z stdout F line ", n, "\n");
}

class LogTest : public ::testing::Test {
 protected:
  // Reads until the end, or until nothing happens any more.
  std::string Read(LogReadOptions options, std::shared_ptr<LiveLog> live = nullptr) {
    Collect sink;
    Start(std::move(live), options, &sink);
    Settle();
    return sink.text;
  }
  void Start(std::shared_ptr<LiveLog> live, LogReadOptions options, Collect* sink) {
    done_ = false;
    asio::co_spawn(context_, ReadLog(&pool_, log_, std::move(live), options, sink),
                   [this](std::exception_ptr, Status status) {
                     status_ = std::move(status);
                     done_ = true;
                   });
  }
  // Until neither the loop nor the pool has anything to do.
  void Settle() {
    context_.restart();
    for (int idle = 0; idle < 2;) {
      size_t ran = context_.poll();
      std::promise<void> pool_is_idle;
      asio::post(pool_, [&] { pool_is_idle.set_value(); });
      pool_is_idle.get_future().wait();
      ran += context_.poll();
      idle = ran == 0 ? idle + 1 : 0;
    }
  }
  void Append(LogWriter* writer, const std::string& text, LiveLog* live = nullptr) {
    ASSERT_TRUE(writer->Append(text).ok());
    if (live != nullptr) live->Changed(writer->newest());
  }

  TempDir dir_;
  std::string log_ = LogPath(dir_ / "logs", 3);
  asio::io_context context_{1};
  asio::thread_pool pool_{1};
  bool done_ = false;
  Status status_;
};

TEST_F(LogTest, RotatesAndForgets) {
  auto writer = LogWriter::Open(log_, {.max_bytes = 100, .max_files = 3});
  ASSERT_TRUE(writer.ok()) << writer.status();
  for (int i = 0; i < 20; ++i) Append(writer->get(), Entry(i));
  EXPECT_EQ(ListPieces(log_).size(), 3u);
  const std::string all = Read({});
  EXPECT_TRUE(absl::EndsWith(all, "line 18\nline 19\n")) << all;
  EXPECT_FALSE(absl::StrContains(all, "line 3\n"));
  // Goes on where it was.
  auto again = LogWriter::Open(log_, {.max_bytes = 100, .max_files = 3});
  Append(again->get(), Entry(20));
  EXPECT_TRUE(absl::EndsWith(Read({}), "line 19\nline 20\n"));
}

TEST_F(LogTest, OneLargeAppendIsManyPieces) {
  auto writer = LogWriter::Open(log_, {.max_bytes = 100, .max_files = 3});
  ASSERT_TRUE(writer.ok());
  std::string entries;
  for (int i = 0; i < 1000; ++i) absl::StrAppend(&entries, "entry ", 1000 + i, "\n");  // 11 bytes each
  ASSERT_TRUE((*writer)->Append(entries).ok());
  std::string left;
  const std::vector<int64_t> pieces = ListPieces(log_);
  EXPECT_EQ(pieces.size(), 3u);
  for (int64_t piece : pieces) {
    std::stringstream text;
    text << std::ifstream(PiecePath(log_, piece)).rdbuf();
    EXPECT_LT(text.str().size(), 100u + 11u);
    EXPECT_TRUE(text.str().starts_with("entry ") && text.str().ends_with("\n"));
    left += text.str();
  }
  EXPECT_TRUE(entries.ends_with(left)) << "the newest, and nothing between them is lost";
}

TEST_F(LogTest, TailAcrossPieces) {
  auto writer = LogWriter::Open(log_, {.max_bytes = 100, .max_files = 100});
  for (int i = 0; i < 50; ++i) Append(writer->get(), Entry(i));
  for (int lines : {0, 1, 2, 3, 4, 5, 17, 49, 50, 51, 1000}) {
    std::string want;
    for (int i = std::max(0, 50 - lines); i < 50; ++i) absl::StrAppend(&want, "line ", i, "\n");
    EXPECT_EQ(Read({.tail_lines = lines}), want) << lines;
  }
  EXPECT_EQ(ReadTail(log_, 2, 100), "line 48\nline 49\n");
  EXPECT_EQ(ReadTail(log_, 2, 5), "e 49\n");
}

TEST_F(LogTest, TailOfALogWithAnEmptyLastPiece) {
  auto writer = LogWriter::Open(log_, {});
  Append(writer->get(), Entry(1) + Entry(2));
  ASSERT_TRUE(WriteFile(PiecePath(log_, 1), "").ok());
  EXPECT_EQ(Read({.tail_lines = 1}), "line 2\n");
}

TEST_F(LogTest, NoSuchLog) {
  Read({});
  EXPECT_TRUE(absl::IsNotFound(status_)) << status_;
  EXPECT_EQ(ReadTail(log_, 5, 100), "");
}

TEST_F(LogTest, RawIsAllThereIs) {
  auto writer = LogWriter::Open(log_, {.max_bytes = 100, .max_files = 100});
  std::string all;
  for (int i = 0; i < 9; ++i) {
    Append(writer->get(), Entry(i));
    all += Entry(i);
  }
  EXPECT_EQ(Read({.raw = true}), all);
}

TEST_F(LogTest, FollowsAcrossRotation) {
  auto writer = LogWriter::Open(log_, {.max_bytes = 100, .max_files = 3});
  auto live = std::make_shared<LiveLog>();
  Append(writer->get(), Entry(0), live.get());
  Collect sink;
  Start(live, {.follow = true}, &sink);
  Settle();
  EXPECT_EQ(sink.text, "line 0\n");
  std::string expected = "line 0\n";
  for (int i = 1; i < 20; ++i) {
    Append(writer->get(), Entry(i), live.get());
    absl::StrAppend(&expected, "line ", i, "\n");
    Settle();
    EXPECT_EQ(sink.text, expected);
  }
  EXPECT_FALSE(done_);
  live->Finish();
  Settle();
  EXPECT_TRUE(done_);
  EXPECT_TRUE(status_.ok()) << status_;
}

TEST_F(LogTest, AReaderThatIsTooSlowSkipsWhatIsGone) {
  auto writer = LogWriter::Open(log_, {.max_bytes = 100, .max_files = 2});
  auto live = std::make_shared<LiveLog>();
  Append(writer->get(), Entry(0), live.get());
  Collect sink;
  Start(live, {.follow = true}, &sink);
  Settle();
  for (int i = 1; i < 30; ++i) Append(writer->get(), Entry(i), live.get());
  live->Finish();
  Settle();
  EXPECT_TRUE(done_);
  EXPECT_TRUE(absl::EndsWith(sink.text, "line 28\nline 29\n")) << sink.text;
}

TEST_F(LogTest, WithoutFollowItEnds) {
  auto writer = LogWriter::Open(log_, {});
  auto live = std::make_shared<LiveLog>();
  Append(writer->get(), Entry(0), live.get());
  EXPECT_EQ(Read({}, live), "line 0\n");
  EXPECT_TRUE(done_);
}

TEST_F(LogTest, ALongLogInSmallPieces) {
  auto writer = LogWriter::Open(log_, {.max_bytes = int64_t{1} << 40});
  std::string block;
  for (int i = 0; i < 1000; ++i) block += Entry(i);
  for (int i = 0; i < 100; ++i) Append(writer->get(), block);
  Collect sink;
  Start(nullptr, {}, &sink);
  Settle();
  EXPECT_EQ(sink.text.size(), 100u * (1000 * 6 + 10 * 1 + 90 * 2 + 900 * 3));
  EXPECT_LE(sink.largest, 64u * 1024);
  EXPECT_EQ(Read({.tail_lines = 1}), "line 999\n");
}

TEST_F(LogTest, AFullDiskLosesWholeEntries) {
  if (::access("/dev/full", W_OK) != 0) GTEST_SKIP() << "no /dev/full";
  ASSERT_TRUE(MakeDirs(dir_ / "logs").ok());
  ASSERT_EQ(::symlink("/dev/full", log_.c_str()), 0);
  auto writer = LogWriter::Open(log_, {});
  ASSERT_TRUE(writer.ok());
  EXPECT_TRUE(absl::IsResourceExhausted((*writer)->Append("x\n")));
}

TEST_F(LogTest, OldAttemptsGo) {
  const std::string directory = dir_ / "logs";
  for (int attempt : {0, 1, 2, 10}) {
    auto writer = LogWriter::Open(LogPath(directory, attempt), {.max_bytes = 10});
    for (int i = 0; i < 3; ++i) Append(writer->get(), Entry(i));
  }
  ASSERT_TRUE(WriteFile(directory + "/other", "").ok());
  EXPECT_EQ(ListAttempts(directory), (std::vector<int>{0, 1, 2, 10}));
  RemoveAttemptsBefore(directory, 2);
  EXPECT_EQ(ListAttempts(directory), (std::vector<int>{2, 10}));
  EXPECT_EQ(ListPieces(LogPath(directory, 2)).size(), 3u);
}

}  // namespace
}  // namespace vck::guestos
