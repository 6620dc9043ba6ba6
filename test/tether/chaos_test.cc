#include "tether/chaos.h"

#include <random>

#include "gtest/gtest.h"

namespace vck::tether {
namespace {

// The fuzz target's property with the same random strings every time.
TEST(Chaos, NothingThatMustHoldBreaks) {
  std::mt19937 random(20260101);
  for (int i = 0; i < 100; ++i) {
    std::vector<uint8_t> bytes(16 + random() % 300);
    for (uint8_t& b : bytes) b = static_cast<uint8_t>(random());
    Chaos(bytes.data(), bytes.size()).Run();
  }
}

}  // namespace
}  // namespace vck::tether
