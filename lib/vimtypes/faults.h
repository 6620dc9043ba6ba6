// vSphere faults as errors: an absl::Status with a code and typed payloads. Policy reads those, never a message.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/status.h"
#include "vimtypes/wire.h"

namespace vck::vimtypes {

// Payload type URLs of a fault's status.
inline constexpr std::string_view kFaultType = "vck/vim/fault";  // "DuplicateName"
inline constexpr std::string_view kFaultObject =
    "vck/vim/fault-object";  // "Folder:group-v3", where the fault names one
inline constexpr std::string_view kFaultDetail = "vck/vim/fault-detail";  // the fault's fields, normalized XML

inline constexpr std::string_view kFaultRetry = "vck/vim/retry";  // RetryClassName() of the table's row

// What the one who made the call should do.
enum class RetryClass {
  kNow,           // read anew and repeat: a version or collector was stale
  kBackoff,       // passes by itself soon: repeat with the usual backoff
  kRelogin,       // the session is gone; Session has tried, and will again
  kLongBackoff,   // needs people, or other workloads to go: repeat minutes apart, and tell
  kTerminal,      // the same request will never do: repeat only when it, or the configuration, has changed
  kAlreadyThere,  // perhaps the wanted state: read; success if it is as wanted, else as kBackoff
  kReadBack,      // the call may have taken effect: look for its result by identity before repeating it
};
std::string_view RetryClassName(RetryClass retry);

// The one place that turns faults into errors: code and retry class are the table's. The error for a fault; its message
// is "<type>: <server's message>".
Status FaultStatus(const Fault& fault);
// The payloads, empty if the status is no fault.
std::string FaultType(const Status& status);
MoRef FaultObject(const Status& status);
// Whether the status is this fault, or one derived from it ("InsufficientResourcesFault").
bool IsFault(const Status& status, std::string_view type);
// Of any error that a call returns: faults by their payload, transport errors by code and kMaybeSent (http/message.h).
RetryClass RetryClassOf(const Status& status);
// What was to be acted on is not there any more. A file or datastore that is missing is something else.
bool IsGone(const Status& status);
// A fault that time alone does not mend: kLongBackoff or kTerminal. Not the session's own: those are the session's
// business, and nobody else's to wait for.
bool NeedsPeople(const Status& status);
// InvalidPowerState: the state the VM is in ("poweredOn"); empty for other errors.
std::string ExistingPowerState(const Status& status);

// For tests and documentation: the row that applies to a fault type, its own or the nearest ancestor's.
struct FaultRow {
  std::string_view type;
  absl::StatusCode code;
  RetryClass retry;
};
const FaultRow& FaultRowOf(std::string_view type);

}  // namespace vck::vimtypes
