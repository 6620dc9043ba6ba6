#include "vimtypes/faults.h"

#include <algorithm>
#include <array>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "vimtypes/fault_parents.h"

namespace vck::vimtypes {
namespace {

using enum absl::StatusCode;
using enum RetryClass;

// Sorted by name. A fault that is not here takes the row of its nearest ancestor.
constexpr std::array kFaults = std::to_array<FaultRow>({
    {"AlreadyExists", kAlreadyExists, kAlreadyThere},
    {"AlreadyUpgraded", kAlreadyExists, kAlreadyThere},
    {"CannotAccessFile", kUnavailable, kBackoff},
    {"ConcurrentAccess", kAborted, kNow},
    {"DatabaseError", kUnavailable, kBackoff},
    {"DuplicateName", kAlreadyExists, kAlreadyThere},
    {"FileAlreadyExists", kAlreadyExists, kAlreadyThere},
    {"FileFault", kInternal, kBackoff},
    {"FileLocked", kUnavailable, kBackoff},
    {"FileNotFound", kNotFound, kLongBackoff},
    {"HostCommunication", kUnavailable, kBackoff},
    {"HostConnectFault", kUnavailable, kBackoff},
    {"InaccessibleDatastore", kUnavailable, kBackoff},
    {"InsufficientResourcesFault", kResourceExhausted, kLongBackoff},
    {"InvalidArgument", kInvalidArgument, kTerminal},
    {"InvalidCollectorVersion", kAborted, kNow},
    {"InvalidController", kInvalidArgument, kTerminal},
    {"InvalidDatastore", kNotFound, kLongBackoff},
    {"InvalidDatastorePath", kInvalidArgument, kTerminal},
    {"InvalidDeviceSpec", kInvalidArgument, kTerminal},
    {"InvalidFolder", kInvalidArgument, kTerminal},
    {"InvalidLogin", kUnauthenticated, kLongBackoff},
    {"InvalidName", kInvalidArgument, kTerminal},
    {"InvalidPowerState", kFailedPrecondition, kAlreadyThere},
    {"InvalidProperty", kInvalidArgument, kTerminal},
    {"InvalidRequest", kInvalidArgument, kTerminal},
    {"InvalidState", kFailedPrecondition, kBackoff},
    {"InvalidToken", kUnauthenticated, kRelogin},
    {"LicenseAssignmentFailed", kFailedPrecondition, kLongBackoff},
    {"LimitExceeded", kResourceExhausted, kLongBackoff},
    {"ManagedObjectNotFound", kNotFound, kAlreadyThere},
    {"MethodDisabled", kPermissionDenied, kLongBackoff},
    {"MethodFault", kUnknown, kBackoff},
    {"NoCompatibleHost", kResourceExhausted, kLongBackoff},
    {"NoDiskSpace", kResourceExhausted, kLongBackoff},
    {"NoPermission", kPermissionDenied, kLongBackoff},
    {"NotAuthenticated", kUnauthenticated, kRelogin},
    {"NotEnoughLicenses", kResourceExhausted, kLongBackoff},
    {"NotFound", kNotFound, kBackoff},
    {"NotImplemented", kUnimplemented, kTerminal},
    {"NotSupported", kUnimplemented, kTerminal},
    {"OutOfBounds", kInvalidArgument, kTerminal},
    {"PasswordExpired", kUnauthenticated, kLongBackoff},
    {"QuestionPending", kFailedPrecondition, kLongBackoff},
    {"RequestCanceled", kAborted, kReadBack},
    {"ResourceInUse", kUnavailable, kBackoff},
    {"ResourceNotAvailable", kResourceExhausted, kLongBackoff},
    {"RestrictedByAdministrator", kPermissionDenied, kLongBackoff},
    {"RuntimeFault", kInternal, kBackoff},
    {"SecurityError", kUnauthenticated, kRelogin},
    {"SessionNotFound", kUnauthenticated, kRelogin},
    {"SystemError", kInternal, kBackoff},
    {"TaskInProgress", kUnavailable, kBackoff},
    {"Timedout", kDeadlineExceeded, kReadBack},
    {"ToolsUnavailable", kFailedPrecondition, kTerminal},
    {"UnexpectedFault", kInternal, kBackoff},
    {"VAppOperationInProgress", kUnavailable, kBackoff},
    {"VimFault", kUnknown, kBackoff},
    {"VmConfigFault", kInvalidArgument, kLongBackoff},
});
static_assert(std::ranges::is_sorted(kFaults, {}, &FaultRow::type));

// By RetryClass.
constexpr std::array kRetryNames = std::to_array<std::string_view>(
    {"now", "backoff", "relogin", "long-backoff", "terminal", "already-there", "read-back"});
static_assert(kRetryNames.size() == static_cast<size_t>(kReadBack) + 1);

// As lib/http defines it; vimtypes knows no HTTP.
constexpr std::string_view kMaybeSentPayload = "vck/http/maybe-sent";

std::string_view ParentOf(std::string_view type) {
  auto it = std::ranges::lower_bound(kFaultParents, type, {}, &FaultParent::type);
  return it != kFaultParents.end() && it->type == type ? it->parent : std::string_view();
}

std::string Payload(const Status& status, std::string_view url) {
  auto payload = status.GetPayload(url);
  return payload.has_value() ? std::string(*payload) : std::string();
}

}  // namespace

std::string_view RetryClassName(RetryClass retry) { return kRetryNames[static_cast<size_t>(retry)]; }

const FaultRow& FaultRowOf(std::string_view type) {
  while (true) {
    auto it = std::ranges::lower_bound(kFaults, type, {}, &FaultRow::type);
    if (it != kFaults.end() && it->type == type) return *it;
    type = ParentOf(type);
    if (type.empty()) type = "MethodFault";
  }
}

Status FaultStatus(const Fault& fault) {
  const FaultRow& row = FaultRowOf(fault.type);
  Status status(row.code, fault.message.empty() ? fault.type : absl::StrCat(fault.type, ": ", fault.message));
  status.SetPayload(kFaultType, absl::Cord(fault.type));
  status.SetPayload(kFaultRetry, absl::Cord(RetryClassName(row.retry)));
  if (!fault.object.empty()) status.SetPayload(kFaultObject, absl::Cord(fault.object.ToString()));
  if (!fault.xml.empty()) status.SetPayload(kFaultDetail, absl::Cord(fault.xml));
  return status;
}

std::string FaultType(const Status& status) { return Payload(status, kFaultType); }

MoRef FaultObject(const Status& status) {
  std::string text = Payload(status, kFaultObject);
  size_t colon = text.find(':');
  if (colon == std::string::npos) return {};
  return {.type = text.substr(0, colon), .value = text.substr(colon + 1)};
}

bool IsFault(const Status& status, std::string_view type) {
  std::string own = FaultType(status);
  for (std::string_view name = own; !name.empty(); name = ParentOf(name)) {
    if (name == type) return true;
  }
  return false;
}

RetryClass RetryClassOf(const Status& status) {
  auto named = std::ranges::find(kRetryNames, Payload(status, kFaultRetry));
  if (named != kRetryNames.end()) return static_cast<RetryClass>(named - kRetryNames.begin());
  if (status.GetPayload(kMaybeSentPayload).has_value()) return RetryClass::kReadBack;
  switch (status.code()) {
    case kInvalidArgument:
    case kUnimplemented:
    case kOutOfRange:
      return RetryClass::kTerminal;
    case kFailedPrecondition:  // a certificate that is not trusted, say
    case kPermissionDenied:
      return RetryClass::kLongBackoff;
    case kUnauthenticated:
      return RetryClass::kRelogin;
    case kAlreadyExists:
    case kNotFound:
      return RetryClass::kAlreadyThere;
    default:
      return RetryClass::kBackoff;
  }
}

bool IsGone(const Status& status) { return absl::IsNotFound(status) && RetryClassOf(status) == kAlreadyThere; }

bool NeedsPeople(const Status& status) {
  if (FaultType(status).empty() || absl::IsUnauthenticated(status)) return false;
  const RetryClass retry = RetryClassOf(status);
  return retry == kLongBackoff || retry == kTerminal;
}

std::string ExistingPowerState(const Status& status) {
  constexpr std::string_view kOpen = "<existingState>";
  std::string detail = Payload(status, kFaultDetail);
  size_t start = detail.find(kOpen);
  if (start == std::string::npos || !IsFault(status, "InvalidPowerState")) return {};
  start += kOpen.size();
  return detail.substr(start, detail.find('<', start) - start);
}

}  // namespace vck::vimtypes
