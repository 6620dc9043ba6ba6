// The control socket itself.
#include <cstdlib>
#include <fstream>
#include <string>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "gtest/gtest.h"
#include "support/loop.h"
#include "tether/client.h"
#include "tether/sim.h"

namespace vck::tether {
namespace {

using vck::testing::Loop;

class ControlTest : public ::testing::Test {
 protected:
  ControlTest() {
    char folder[] = "/tmp/vck-control-XXXXXX";
    folder_ = mkdtemp(folder);
    path_ = folder_ + "/guests.sock";
  }
  ~ControlTest() override {
    if (running_) {
      stop_.emit(asio::cancellation_type::terminal);
      loop_.RunReady();
      EXPECT_FALSE(running_);
      EXPECT_NE(::access(path_.c_str(), F_OK), 0) << "the socket is removed in the end";
    }
    loop_.Run(sim_.Close());
    ::unlink(path_.c_str());
    ::rmdir(folder_.c_str());
  }
  void Start() {
    running_ = true;
    asio::co_spawn(loop_.context(), ServeControl(&sim_, path_),
                   asio::bind_cancellation_slot(stop_.slot(), [this](std::exception_ptr e, Status status) {
                     running_ = false;
                     if (!e) result_ = status;
                   }));
    loop_.RunReady();
  }
  // A vCenter's end, blocking.
  [[nodiscard]] int Dial() const {
    int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path_.copy(address.sun_path, sizeof(address.sun_path) - 1);
    EXPECT_EQ(::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    timeval limit{.tv_sec = 10};
    ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    return fd;
  }
  static void Write(int fd, const std::string& text) {
    EXPECT_EQ(::write(fd, text.data(), text.size()), static_cast<ssize_t>(text.size()));
  }
  static std::string ReadLine(int fd) {
    std::string out;
    char c = 0;
    while (::read(fd, &c, 1) == 1 && c != '\n') out.push_back(c);
    return out;
  }
  [[nodiscard]] std::string PowerOnLine(int n) const {
    json::Object guestinfo;
    guestinfo[guestapi::kConfigKey] = guestapi::Encode(vch_.Config(n));
    return json::Serialize({{"op", "power_on"}, {"vm", absl::StrCat("vm-", n)}, {"guestinfo", guestinfo}}) + "\n";
  }

  Vch vch_;
  Loop loop_;
  std::string folder_, path_;
  Sim sim_{loop_.executor(), loop_.clock(), {}};
  asio::cancellation_signal stop_;
  bool running_ = false;
  Status result_;
};

TEST_F(ControlTest, SpeaksLinesBothWaysAndOutlivesItsVcenter) {
  Start();
  int fd = Dial();
  std::string line = PowerOnLine(1);
  Write(fd, "{\"op\":\"sync\"}\nnonsense\n" + line.substr(0, 20));
  loop_.RunReady();
  Write(fd, line.substr(20));
  loop_.RunReady();
  EXPECT_NE(ReadLine(fd).find("\"set\""), std::string::npos);
  EXPECT_NE(ReadLine(fd).find("\"net\""), std::string::npos);
  ::close(fd);
  loop_.RunReady();
  EXPECT_EQ(sim_.guests(), 1);
  fd = Dial();
  Write(fd, "{\"op\":\"sync\"}\n");
  loop_.RunReady();
  EXPECT_NE(ReadLine(fd).find("\"set\""), std::string::npos) << "said again to a vCenter that has come back";
  ::close(fd);
}

TEST_F(ControlTest, TakesOverTheSocketOfADeadOneOnly) {
  {
    int fd = ::socket(AF_UNIX, SOCK_STREAM, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path_.copy(address.sun_path, sizeof(address.sun_path) - 1);
    ASSERT_EQ(::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    ::close(fd);
  }
  Start();
  EXPECT_TRUE(running_) << result_;
  auto second = loop_.Run(ServeControl(&sim_, path_));
  EXPECT_TRUE(absl::IsAlreadyExists(second)) << second;
}

TEST_F(ControlTest, DoesNotRemoveWhatIsNoSocket) {
  std::ofstream(path_) << "precious";
  Start();
  EXPECT_FALSE(running_);
  EXPECT_TRUE(absl::IsUnavailable(result_)) << result_;
  EXPECT_EQ(::access(path_.c_str(), F_OK), 0);
}

}  // namespace
}  // namespace vck::tether
