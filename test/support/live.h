// For tests against a lab that the environment names; they skip where it names none.
#pragma once

#include <cstdlib>
#include <string>
#include <utility>

#include "base/status.h"
#include "gtest/gtest.h"

namespace vck::testing {

inline std::string Env(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

}  // namespace vck::testing

// In a Task<>: a failure ends it.
#define LIVE_OK(expr)                                   \
  do {                                                  \
    Status live_status = vck::internal::AsStatus(expr); \
    EXPECT_TRUE(live_status.ok()) << live_status;       \
    if (!live_status.ok()) co_return;                   \
  } while (false)
#define LIVE_ASSIGN(lhs, expr)                                                           \
  auto VCK_CONCAT(live_, __LINE__) = (expr);                                             \
  EXPECT_TRUE(VCK_CONCAT(live_, __LINE__).ok()) << VCK_CONCAT(live_, __LINE__).status(); \
  if (!VCK_CONCAT(live_, __LINE__).ok()) co_return;                                      \
  lhs = *std::move(VCK_CONCAT(live_, __LINE__))
