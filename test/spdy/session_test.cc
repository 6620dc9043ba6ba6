#include "spdy/session.h"

#include <map>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace vck::spdy {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::string Hex(std::string_view text) {
  std::string out;
  EXPECT_TRUE(absl::HexStringToBytes(text, &out)) << text;
  return out;
}

// Frames as Go's spdystream 0.5.1 writes them, one after another on one connection.
constexpr std::string_view kGoError =  // SYN_STREAM 1, streamtype: error
    "80030001000000290000000100000000000078f9e3c6a7c26260606004a7b392a2d4c45c6851c29a0a0a6800000000ffff";
constexpr std::string_view kGoStdin =  // SYN_STREAM 3, streamtype: stdin
    "800300010000001700000003000000000000c22e555c92929907000000ffff";
constexpr std::string_view kGoTwoValues =  // SYN_STREAM 5 with FIN, a: 1 and 2
    "800300010100001900000005000000000000824a3182b203b3218311000000ffff";
constexpr std::string_view kGoHello = "000000030000000568656c6c6f";  // DATA 3
constexpr std::string_view kGoFin = "0000000301000000";              // DATA 3 with FIN
constexpr std::string_view kGoReset = "80030003000000080000000500000005";
constexpr std::string_view kGoPing = "800300060000000400000001";
constexpr std::string_view kGoGoAway = "80030007000000080000000000000000";

// Writes down what happens, and does what it was told.
class Log : public Events {
 public:
  explicit Log(Session* session = nullptr) : session_(session) {}
  void OnStream(uint32_t id, http::Headers headers) override {
    Add("stream ", id, Fields(headers));
    if (session_ != nullptr) session_->Reply(id);
  }
  void OnReply(uint32_t id, http::Headers headers) override { Add("reply ", id, Fields(headers)); }
  void OnHeaders(uint32_t id, http::Headers headers) override { Add("headers ", id, Fields(headers)); }
  void OnData(uint32_t id, std::string_view piece) override { data[id].append(piece); }
  void OnEnd(uint32_t id) override { Add("end ", id); }
  void OnReset(uint32_t id, ResetStatus status) override { Add("reset ", id, " ", static_cast<int>(status)); }
  void OnGoAway(GoAwayStatus status) override { Add("goaway ", static_cast<int>(status)); }
  void OnPong(uint32_t id) override { Add("pong ", id); }
  void OnWindow() override { ++windows; }

  std::vector<std::string> log;
  std::map<uint32_t, std::string> data;
  int windows = 0;

 private:
  template <class... T>
  void Add(T&&... parts) {
    log.push_back(absl::StrCat(parts...));
  }
  static std::string Fields(const http::Headers& headers) {
    std::string out;
    for (const auto& [name, value] : headers.fields()) absl::StrAppend(&out, " ", name, "=", value);
    return out;
  }
  Session* session_;
};

class SessionTest : public ::testing::Test {
 protected:
  Status Feed(std::string_view hex) { return server_.Feed(Hex(hex), log_); }
  std::string Output() { return absl::BytesToHexString(std::exchange(server_.output(), {})); }
  // What the client said goes to the server, and the other way round, until nobody says anything.
  void Exchange(Log* client_log) {
    while (!client_.output().empty() || !server_.output().empty()) {
      ASSERT_TRUE(server_.Feed(std::exchange(client_.output(), {}), log_).ok());
      ASSERT_TRUE(client_.Feed(std::exchange(server_.output(), {}), *client_log).ok());
    }
  }

  Session server_{{.role = Role::kServer, .max_streams = 3}};
  Session client_{{.role = Role::kClient}};
  Log log_;
};

TEST_F(SessionTest, ReadsWhatGoWrites) {
  for (auto frame : {kGoError, kGoStdin, kGoTwoValues, kGoHello, kGoFin, kGoReset, kGoGoAway}) {
    ASSERT_TRUE(Feed(frame).ok());
  }
  EXPECT_THAT(log_.log, ElementsAre("stream 1 streamtype=error", "stream 3 streamtype=stdin", "stream 5 a=1 a=2",
                                    "end 5", "end 3", "reset 5 5", "goaway 0"));
  EXPECT_EQ(log_.data[3], "hello");
  EXPECT_EQ(Output(), "");
  ASSERT_TRUE(Feed(kGoPing).ok());
  EXPECT_EQ(Output(), kGoPing);
}

TEST_F(SessionTest, WhereverTheBytesAreCut) {
  const std::string all = Hex(absl::StrCat(kGoError, kGoStdin, kGoTwoValues, kGoHello, kGoPing, kGoFin, kGoReset));
  for (size_t size : {size_t{1}, size_t{3}, size_t{7}, size_t{8}, size_t{9}, all.size()}) {
    Session server({});
    Log log(&server);
    for (size_t at = 0; at < all.size(); at += size) {
      ASSERT_TRUE(server.Feed(std::string_view(all).substr(at, size), log).ok());
    }
    EXPECT_EQ(log.log.size(), 6u) << size;
    EXPECT_EQ(log.data[3], "hello");
  }
}

// The same bytes as Go's for what does not depend on the compressor.
TEST_F(SessionTest, WritesWhatGoWrites) {
  ASSERT_TRUE(Feed(kGoError).ok());
  ASSERT_TRUE(Feed(kGoStdin).ok());
  Output();
  server_.Send(3, "hello");
  server_.Send(3, "", true);
  EXPECT_EQ(Output(), absl::StrCat(kGoHello, kGoFin));
  server_.Reset(1, ResetStatus::kCancel);
  EXPECT_EQ(Output(), "80030003000000080000000100000005");
  server_.Ping();
  EXPECT_EQ(Output(), "800300060000000400000002");
}

TEST_F(SessionTest, BothRolesUnderstandEachOther) {
  Log client_log;
  const uint32_t one = client_.Open({{"Streamtype", "stdout"}, {"Port", "80"}, {"port", "81"}});
  const uint32_t two = client_.Open({{"streamtype", "stdin"}}, true);
  EXPECT_EQ(one, 1u);
  EXPECT_EQ(two, 3u);
  Exchange(&client_log);
  EXPECT_THAT(log_.log,
              ElementsAre("stream 1 streamtype=stdout port=80 port=81", "stream 3 streamtype=stdin", "end 3"));
  server_.Reply(one, {{"x", "y"}});
  server_.Reply(two, {}, true);
  client_.Send(one, "ping", true);
  server_.Send(one, "pong", true);
  Exchange(&client_log);
  EXPECT_THAT(client_log.log, ElementsAre("reply 1 x=y", "reply 3", "end 3", "end 1"));
  EXPECT_EQ(client_log.data[one], "pong");
  EXPECT_EQ(log_.data[one], "ping");
  EXPECT_EQ(client_.streams(), 0u) << "both ends are done";
  EXPECT_EQ(server_.streams(), 0u);
  const uint32_t pushed = server_.Open({});
  EXPECT_EQ(pushed, 2u);
  Exchange(&client_log);
  EXPECT_EQ(client_log.log.back(), "stream 2");
}

TEST_F(SessionTest, HalfClose) {
  Log client_log;
  const uint32_t id = client_.Open({});
  client_.Send(id, "in", true);
  EXPECT_EQ(client_.Sendable(id), 0u);
  client_.Send(id, "more");  // no effect
  Exchange(&client_log);
  EXPECT_TRUE(server_.Writable(id));
  server_.Send(id, "out");
  server_.Send(id, "", true);
  Exchange(&client_log);
  EXPECT_EQ(client_log.data[id], "out");
  EXPECT_EQ(log_.data[id], "in");
}

TEST_F(SessionTest, StreamIdsMustGrowAndBeThePeers) {
  struct Case {
    uint32_t id;
    ResetStatus status;
  };
  Session peer({.role = Role::kClient});
  Session server({});
  Log log;
  for (int i = 0; i < 3; ++i) peer.Open({});
  ASSERT_TRUE(server.Feed(std::exchange(peer.output(), {}), log).ok());
  for (Case c : {Case{1, ResetStatus::kStreamInUse}, Case{2, ResetStatus::kProtocolError}}) {
    peer.Open({});
    std::string frame = std::exchange(peer.output(), {});
    frame[11] = static_cast<char>(c.id);
    ASSERT_TRUE(server.Feed(frame, log).ok());
    EXPECT_EQ(absl::BytesToHexString(std::exchange(server.output(), {})),
              absl::StrCat("8003000300000008", absl::Hex(c.id, absl::kZeroPad8),
                           absl::Hex(static_cast<uint32_t>(c.status), absl::kZeroPad8)));
  }
  EXPECT_EQ(log.log.back(), "reset 1 8") << "the stream that was there has suffered, too";
}

TEST_F(SessionTest, TooManyStreamsAreRefusedAndTheConnectionLives) {
  Log client_log;
  for (int i = 0; i < 5; ++i) client_.Open({{"n", absl::StrCat(i)}});
  Exchange(&client_log);
  EXPECT_THAT(client_log.log, ElementsAre("reset 7 3", "reset 9 3"));
  server_.Reset(1, ResetStatus::kCancel);
  Exchange(&client_log);
  client_.Open({{"n", "again"}});
  Exchange(&client_log);
  EXPECT_EQ(log_.log.back(), "stream 11 n=again");
}

TEST_F(SessionTest, MistakesOfStreams) {
  ASSERT_TRUE(Feed(kGoError).ok());
  // Data for a stream that never was.
  ASSERT_TRUE(Feed("000000630000000161").ok());
  EXPECT_EQ(Output(), "80030003000000080000006300000002");
  // Data after the end.
  ASSERT_TRUE(Feed("000000010100000161").ok());
  ASSERT_TRUE(Feed("000000010000000162").ok());
  EXPECT_EQ(Output(), "80030003000000080000000100000009");
  EXPECT_EQ(log_.data[1], "a");
  EXPECT_THAT(log_.log, ElementsAre("stream 1 streamtype=error", "end 1", "reset 1 9"));
  // Data for a stream that is gone says nothing.
  ASSERT_TRUE(Feed("000000010000000162").ok());
  EXPECT_EQ(Output(), "");
}

TEST_F(SessionTest, MistakesThatEndTheSession) {
  struct Case {
    std::string_view frame, why;
  } cases[] = {
      {"8002000600000004"
       "00000001",
       "version 2"},
      {"0000000000000001"
       "61",
       "data for stream 0"},
      {"80030001000000040000000000", "short SYN_STREAM"},
      {"8003000100000010000000000000000000000000000000000000", "SYN_STREAM for stream 0"},
      {"80030001000000100000000100000000000061616161616161", "not zlib"},
      {"800300020000000200000000", "short frame of headers"},
      {"8003000300000004"
       "00000001",
       "type 3 with 4 bytes"},
      {"8003000300000008"
       "0000000100000000",
       "RST_STREAM without"},
      {"8003000400000002"
       "0000",
       "short SETTINGS"},
      {"800300040000000c"
       "000000020000000700000001",
       "another length"},
      {"800300040000000c"
       "0000000100000007ffffffff",
       "window that is too large"},
      {"8003000600000005"
       "0000000100",
       "type 6 with 5 bytes"},
      {"8003000700000004"
       "00000000",
       "type 7 with 4 bytes"},
      {"8003000900000004"
       "00000000",
       "another length"},
      {"8003000900000008"
       "0000000000000000",
       "out of range"},
      {"8003000900000008"
       "000000007fffffff",
       "out of range"},
      {"8003000400ffffff", "type 4 with 16777215 bytes"},
      {"8003000100ffffff", "type 1 with 16777215 bytes"},
  };
  for (const Case& c : cases) {
    Session server({});
    Status status = server.Feed(Hex(c.frame), log_);
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << c.frame << status;
    EXPECT_THAT(status.message(), HasSubstr(c.why));
    EXPECT_EQ(absl::BytesToHexString(server.output()), "80030007000000080000000000000001") << c.frame;
    EXPECT_FALSE(server.Feed(Hex(kGoPing), log_).ok()) << "it stays so";
  }
}

TEST_F(SessionTest, UnknownFramesAreSkipped) {
  ASSERT_TRUE(Feed(absl::StrCat("8003000a0000000461616161", "800300ff00000000", kGoPing)).ok());
  EXPECT_EQ(Output(), kGoPing);
}

TEST_F(SessionTest, HeadersThatUnpackToTooMuchEndTheSession) {
  Session peer({.role = Role::kClient});
  Session server({.max_header_bytes = 1000});
  peer.Open({{"big", std::string(100'000, 'x')}});  // packs well
  EXPECT_LT(peer.output().size(), 1000u);
  EXPECT_THAT(server.Feed(peer.output(), log_).message(), HasSubstr("too long"));
}

TEST_F(SessionTest, MalformedHeadersConcernTheirStreamOnly) {
  const auto block = [](std::initializer_list<std::string_view> texts) {
    std::string out;
    const auto u32 = [&out](size_t n) {
      for (int shift : {24, 16, 8, 0}) out.push_back(static_cast<char>((n >> shift) & 0xff));
    };
    u32(texts.size() / 2);
    for (std::string_view text : texts) {
      u32(text.size());
      out.append(text);
    }
    return out;
  };
  // Stored blocks need no compressor: CMF FLG DICTID at first, then 00 LEN NLEN data, and an empty one as flush.
  const auto stored = [](bool first, std::string_view text) {
    std::string out = first ? Hex("78f9e3c6a7c2") : "";
    const auto n = static_cast<uint16_t>(text.size());
    for (uint16_t word : {n, static_cast<uint16_t>(~n)}) {
      if (word == n) out.push_back('\0');
      out.push_back(static_cast<char>(word & 0xff));
      out.push_back(static_cast<char>(word >> 8));
    }
    out.append(text);
    return out + Hex("000000ffff");
  };
  uint8_t id = 1;
  bool first = true;
  for (const std::string& text : {block({"Upper", "x"}), block({"", "x"}), block({"a", "1", "a", "2"}),
                                  block({"a", "1"}) + "x", block({"a", "1"}).substr(0, 9), std::string("\1")}) {
    const std::string packed = stored(std::exchange(first, false), text);
    std::string frame = Hex("80030001000000");
    frame.push_back(static_cast<char>(10 + packed.size()));
    frame += Hex("000000");
    frame.push_back(static_cast<char>(id));
    frame += Hex("000000000000") + packed;
    ASSERT_TRUE(server_.Feed(frame, log_).ok()) << absl::CHexEscape(text);
    EXPECT_EQ(Output(), absl::StrCat("8003000300000008", absl::Hex(id, absl::kZeroPad8), "00000001"));
    id += 2;
  }
  EXPECT_THAT(log_.log, IsEmpty());
}

// ---- windows ----

TEST_F(SessionTest, APeerThatNeverSpeaksOfWindowsHasNone) {
  Log client_log;
  const uint32_t id = client_.Open({});
  Exchange(&client_log);
  for (int i = 0; i < 100; ++i) {
    EXPECT_GT(server_.Sendable(id), size_t{1} << 32);
    server_.Send(id, std::string(10'000, 'x'));
    client_.output().clear();  // what a Go client says to that: nothing
    ASSERT_TRUE(client_.Feed(std::exchange(server_.output(), {}), client_log).ok());
    client_.output().clear();
  }
  EXPECT_EQ(client_log.data[id].size(), 1'000'000u);
}

TEST_F(SessionTest, WindowsBindOnceThePeerHasMentionedThem) {
  Log client_log;
  const uint32_t id = client_.Open({});
  Exchange(&client_log);
  server_.Send(id, std::string(1000, 'x'));
  EXPECT_EQ(log_.windows, 0);
  ASSERT_TRUE(Feed("800300040000000c000000010000000700002710").ok());  // initial window 10,000
  EXPECT_EQ(log_.windows, 1);
  EXPECT_EQ(server_.Sendable(id), 9000u) << "what was sent before counts";
  server_.Send(id, std::string(9000, 'x'));
  EXPECT_EQ(server_.Sendable(id), 0u);
  ASSERT_TRUE(Feed("80030009000000080000000100000064").ok());  // 100 more
  EXPECT_EQ(server_.Sendable(id), 100u);
  ASSERT_TRUE(Feed("80030009000000080000000000000064").ok());  // for the session: now that counts, too
  EXPECT_EQ(server_.Sendable(id), 100u);
  ASSERT_TRUE(Feed("800300040000000c000000010000000700000000").ok());  // initial window 0
  EXPECT_EQ(server_.Sendable(id), 0u) << "it may be below zero";
  ASSERT_TRUE(Feed("80030009000000080000000100002710").ok());
  EXPECT_EQ(server_.Sendable(id), 100u);
  // Mistakes of the stream's window.
  ASSERT_TRUE(Feed("80030009000000080000000100000000").ok());
  EXPECT_EQ(log_.log.back(), "reset 1 1");
  ASSERT_TRUE(Feed("80030009000000080000000100000001").ok()) << "of a stream that is gone";
}

TEST_F(SessionTest, APeerThatCountsMaySendAsMuchAsItLikes) {
  Log client_log;
  const uint32_t id = client_.Open({});
  ASSERT_TRUE(client_.Feed(Hex("800300040000000c000000010000000700010000"), client_log).ok());
  Exchange(&client_log);
  size_t sent = 0;
  for (int i = 0; i < 1000 && sent < 1'000'000; ++i) {
    const size_t n = std::min<size_t>(client_.Sendable(id), 5000);
    client_.Send(id, std::string(n, 'x'));
    sent += n;
    Exchange(&client_log);
  }
  EXPECT_EQ(sent, 1'000'000u);
  EXPECT_EQ(log_.data[id].size(), sent);
  EXPECT_LE(client_log.windows, 5) << "and is told so once";
}

TEST_F(SessionTest, AfterGoAway) {
  Log client_log;
  const uint32_t old = client_.Open({});
  Exchange(&client_log);
  server_.GoAway(GoAwayStatus::kOk);
  server_.GoAway(GoAwayStatus::kOk);
  const uint32_t late = client_.Open({});
  client_.Send(late, "x");
  Exchange(&client_log);
  EXPECT_THAT(client_log.log, ElementsAre("goaway 0"));
  EXPECT_EQ(log_.log.size(), 1u) << "what comes late is ignored";
  EXPECT_EQ(client_.Open({}), 0u);
  server_.Send(old, "rest", true);
  Exchange(&client_log);
  EXPECT_EQ(client_log.data[old], "rest");
}

}  // namespace
}  // namespace vck::spdy
