#include "gtest/gtest.h"
#include "guestos/crun.h"
#include "guestos/query.h"
#include "guestos/stats.h"

namespace vck::guestos {
namespace {

std::string Message(std::string_view text, std::string_view program) {
  const std::string log = absl::StrCat(R"({"msg":"a warning","level":"warning","time":"x"})", "\n", R"({"msg":")", text,
                                       R"(","level":"error","time":"x"})", "\nrubbish\n");
  return CrunMessage(log, program).ToString(absl::StatusToStringMode::kWithNoExtraData);
}

TEST(CrunMessage, TheWordsOfKubernetes) {
  EXPECT_EQ(Message("executable file `x` not found in $PATH: No such file or directory", "x"),
            "INVALID_ARGUMENT: exec: \"x\": executable file not found in $PATH");
  EXPECT_EQ(Message("executable file `/x` not found in $PATH: No such file or directory", "/x"),
            "INVALID_ARGUMENT: exec: \"/x\": stat /x: no such file or directory");
  EXPECT_EQ(Message("open executable: Operation not permitted", "/etc"),
            "INVALID_ARGUMENT: exec: \"/etc\": permission denied");
  EXPECT_EQ(Message("chdir to `/x`: Permission denied", "sh"), "INTERNAL: chdir to `/x`: Permission denied");
  EXPECT_EQ(CrunMessage("", "sh").message(), "crun failed without a word");
}

TEST(Query, TakenApart) {
  auto query = Query::Parse("/v1/exec?command=a%20b&command=%26%3d&tty=1&empty&container=c=d&stdin=true&err=0");
  ASSERT_TRUE(query.ok()) << query.status();
  EXPECT_EQ(query->path(), "/v1/exec");
  EXPECT_EQ(query->All("command"), (std::vector<std::string>{"a b", "&="}));
  EXPECT_TRUE(query->Flag("tty"));
  EXPECT_TRUE(query->Flag("stdin"));
  EXPECT_FALSE(query->Flag("err"));
  EXPECT_FALSE(query->Flag("none"));
  EXPECT_EQ(query->Get("container"), "c=d");
  EXPECT_EQ(query->Get("empty"), "");
  for (std::string_view bad : {"/%", "/%g0", "/?a=%1"}) EXPECT_FALSE(Query::Parse(bad).ok()) << bad;
}

TEST(Query, Numbers) {
  auto query = Query::Parse("/?a=5&b=-1&c=x&d=");
  EXPECT_EQ(**query->Number("a", 0), 5);
  EXPECT_FALSE(query->Number("a", 6).ok());
  EXPECT_FALSE(query->Number("b", 0).ok());
  EXPECT_FALSE(query->Number("c", 0).ok());
  EXPECT_FALSE(query->Number("d", 0)->has_value());
}

TEST(Stats, FlatValues) {
  constexpr std::string_view kText = "anon 5\nanon_thp 7\nfile 9\nbroken\n";
  EXPECT_EQ(FlatValue(kText, "anon"), 5);
  EXPECT_EQ(FlatValue(kText, "file"), 9);
  EXPECT_EQ(FlatValue(kText, "broken"), 0);
  EXPECT_EQ(FlatValue("", "x"), 0);
}

TEST(Stats, Interfaces) {
  auto interfaces = ParseInterfaces(
      "Inter-|   Receive                                                |  Transmit\n"
      " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier "
      "compressed\n"
      "    lo:  5000      50    0    0    0     0          0         0     5000      50    0    0    0     0       0   "
      " 0\n"
      "  eth0:1234567    11   12   13    0     0          0         0     2345678   21   22   23    0     0       0    "
      "0\n"
      "  bad: 1 2\n");
  ASSERT_EQ(interfaces.size(), 1u);
  EXPECT_EQ(json::Serialize(ToJson(interfaces[0])),
            R"({"name":"eth0","rxBytes":1234567,"rxPackets":11,"rxErrors":12,"rxDropped":13,)"
            R"("txBytes":2345678,"txPackets":21,"txErrors":22,"txDropped":23})");
}

TEST(Stats, BlockDevices) {
  const auto name = [](std::string_view number) { return std::string(number == "8:0" ? "/dev/sda" : ""); };
  auto devices = ParseIoStat(
      "8:16 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0\n"
      "8:0 rbytes=4096 wbytes=8192 rios=1 wios=2 dbytes=5 dios=6\n8:0\n8:0 rbytes=x\n\n",
      name);
  ASSERT_EQ(devices.size(), 2u);
  EXPECT_EQ(json::Serialize(ToJson(devices[0])),
            R"({"name":"/dev/sda","readBytes":4096,"reads":1,"writtenBytes":8192,"writes":2})");
  EXPECT_EQ(devices[1].read_bytes, 0);
  EXPECT_TRUE(ParseIoStat("", name).empty());
}

TEST(Stats, TheWholeGuest) {
  Machine machine = ParseMachine("cpu  100 20 30 4000 500 6 7 8 9 10\ncpu0 1 2 3 4\n",
                                 "MemTotal:         131072 kB\nMemFree:  1 kB\nMemAvailable:      65536 kB\n", 100);
  EXPECT_EQ(machine.cpu_nanos, 1'630'000'000) << "user, nice, system, irq and softirq";
  EXPECT_EQ(machine.memory_bytes, 128 << 20);
  EXPECT_EQ(machine.available_bytes, 64 << 20);
  machine = ParseMachine("", "", 100);
  EXPECT_EQ(machine.cpu_nanos + machine.memory_bytes + machine.available_bytes, 0);
}

}  // namespace
}  // namespace vck::guestos
