// Errors as values: absl::Status and StatusOr, with macros for functions and for coroutines.
#pragma once

#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"

namespace vck {

using absl::Status;
using absl::StatusOr;

// The same error with `context` and ": " before its message; code and payloads stay. OK stays OK.
Status Annotate(Status status, std::string_view context);

namespace internal {
inline Status AsStatus(Status status) { return status; }
template <class T>
Status AsStatus(StatusOr<T>&& result) {
  return std::move(result).status();
}
}  // namespace internal
}  // namespace vck

#define VCK_CONCAT_INNER(a, b) a##b
#define VCK_CONCAT(a, b) VCK_CONCAT_INNER(a, b)

// return / co_return the status of `expr` when it is an error. `expr` may contain co_await (in the CO_ forms).
#define RETURN_IF_ERROR(expr)                                    \
  do {                                                           \
    ::absl::Status vck_status = ::vck::internal::AsStatus(expr); \
    if (!vck_status.ok()) return vck_status;                     \
  } while (false)
#define CO_RETURN_IF_ERROR(expr)                                 \
  do {                                                           \
    ::absl::Status vck_status = ::vck::internal::AsStatus(expr); \
    if (!vck_status.ok()) co_return vck_status;                  \
  } while (false)
// ASSIGN_OR_RETURN(auto x, F()): x is F()'s value, or its error is returned.
#define ASSIGN_OR_RETURN(lhs, expr)                                                                          \
  auto VCK_CONCAT(vck_result_, __LINE__) = (expr);                                                           \
  if (!VCK_CONCAT(vck_result_, __LINE__).ok()) return std::move(VCK_CONCAT(vck_result_, __LINE__)).status(); \
  lhs = *std::move(VCK_CONCAT(vck_result_, __LINE__))
#define CO_ASSIGN_OR_RETURN(lhs, expr)                                                                          \
  auto VCK_CONCAT(vck_result_, __LINE__) = (expr);                                                              \
  if (!VCK_CONCAT(vck_result_, __LINE__).ok()) co_return std::move(VCK_CONCAT(vck_result_, __LINE__)).status(); \
  lhs = *std::move(VCK_CONCAT(vck_result_, __LINE__))
