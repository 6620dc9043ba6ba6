#include "guestos/virtio_port.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace vck::guestos {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::vector<PowerRequest> Feed(const std::vector<std::string>& pieces) {
  std::vector<PowerRequest> out;
  PortReader reader;
  for (const std::string& piece : pieces) {
    reader.Feed(piece, [&](PowerRequest request) { out.push_back(request); });
  }
  return out;
}

TEST(VirtioPort, Lines) {
  EXPECT_EQ(SetLine("guestinfo.vch.guest", "v1 \"x\""),
            "{\"op\":\"set\",\"guestinfo\":{\"guestinfo.vch.guest\":\"v1 \\\"x\\\"\"}}\n");
  EXPECT_EQ(NetLine({.host_name = "web-0", .mac = "00:50:56:00:00:01", .addresses = {"10.1.2.3/20"}}),
            "{\"op\":\"net\",\"ip\":[\"10.1.2.3\"],\"hostname\":\"web-0\",\"mac\":\"00:50:56:00:00:01\"}\n");
}

TEST(VirtioPort, RequestsInPieces) {
  EXPECT_THAT(Feed({"{\"op\":\"shut", "down\"}\n{\"op\":\"reboot\"}\n{\"op\""}),
              ElementsAre(PowerRequest::kShutdown, PowerRequest::kReboot));
}

TEST(VirtioPort, NonsenseIsSkipped) {
  EXPECT_THAT(Feed({"\n\nnonsense\n{}\n[]\n{\"op\":7}\n{\"op\":\"dance\"}\n"}), IsEmpty());
  EXPECT_THAT(Feed({std::string(100000, 'x'), "\n{\"op\":\"shutdown\"}\n"}), ElementsAre(PowerRequest::kShutdown));
}

}  // namespace
}  // namespace vck::guestos
