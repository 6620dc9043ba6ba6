#include "vimtypes/faults.h"

#include <vector>

#include "gtest/gtest.h"
#include "vimtypes/soap.h"

namespace vck::vimtypes {
namespace {

struct Case {
  const char* fault;
  absl::StatusCode code;
  RetryClass retry;
};

TEST(Faults, EachHasACodeAndARetryClass) {
  using enum absl::StatusCode;
  using enum RetryClass;
  const std::vector<Case> cases = {
      {"NotAuthenticated", kUnauthenticated, kRelogin},
      {"InvalidLogin", kUnauthenticated, kLongBackoff},
      {"InvalidLocale", kUnknown, kBackoff},
      {"NoPermission", kPermissionDenied, kLongBackoff},
      {"DuplicateName", kAlreadyExists, kAlreadyThere},
      {"AlreadyExists", kAlreadyExists, kAlreadyThere},
      {"InvalidPowerState", kFailedPrecondition, kAlreadyThere},
      {"InvalidHostState", kFailedPrecondition, kBackoff},  // an InvalidState
      {"ManagedObjectNotFound", kNotFound, kAlreadyThere},
      {"TaskInProgress", kUnavailable, kBackoff},
      {"ConcurrentAccess", kAborted, kNow},
      {"InvalidCollectorVersion", kAborted, kNow},
      {"InsufficientMemoryResourcesFault", kResourceExhausted, kLongBackoff},  // an InsufficientResourcesFault
      {"InsufficientCpuResourcesFault", kResourceExhausted, kLongBackoff},
      {"NoDiskSpace", kResourceExhausted, kLongBackoff},
      {"InvalidDeviceSpec", kInvalidArgument, kTerminal},
      {"InvalidArgument", kInvalidArgument, kTerminal},
      {"NotSupported", kUnimplemented, kTerminal},
      {"HostNotConnected", kUnavailable, kBackoff},  // a HostCommunication
      {"FileNotFound", kNotFound, kLongBackoff},
      {"InaccessibleDatastore", kUnavailable, kBackoff},
      {"GenericVmConfigFault", kInvalidArgument, kLongBackoff},
      {"ToolsUnavailable", kFailedPrecondition, kTerminal},
      {"RequestCanceled", kAborted, kReadBack},
      {"Timedout", kDeadlineExceeded, kReadBack},
      {"SystemError", kInternal, kBackoff},
      {"SomethingFromTheFuture", kUnknown, kBackoff},
  };
  for (const Case& c : cases) {
    Status status = FaultStatus({.type = c.fault, .message = "text"});
    EXPECT_EQ(status.code(), c.code) << c.fault;
    EXPECT_EQ(RetryClassOf(status), c.retry) << c.fault << " " << RetryClassName(RetryClassOf(status));
    EXPECT_EQ(FaultType(status), c.fault);
    EXPECT_EQ(FaultRowOf(c.fault).retry, c.retry);
    EXPECT_EQ(status.GetPayload(kFaultRetry), absl::Cord(RetryClassName(c.retry)));
    EXPECT_EQ(RetryClassOf(Annotate(status, "create pod VM")), c.retry) << "what is added for people changes nothing";
  }
}

TEST(Faults, WhatIsGoneAndWhatNeedsPeople) {
  auto fault = [](const char* type) { return FaultStatus({.type = type}); };
  EXPECT_TRUE(IsGone(fault("ManagedObjectNotFound")));
  EXPECT_FALSE(IsGone(fault("FileNotFound"))) << "the VM is there, and its disk is not";
  EXPECT_FALSE(IsGone(fault("InvalidDatastore")));
  EXPECT_FALSE(IsGone(fault("DuplicateName")));
  for (const char* type : {"NoPermission", "InvalidArgument", "NoDiskSpace", "NotSupported", "FileNotFound"}) {
    EXPECT_TRUE(NeedsPeople(fault(type))) << type;
  }
  for (const char* type : {"TaskInProgress", "ConcurrentAccess", "HostCommunication", "Timedout", "DuplicateName"}) {
    EXPECT_FALSE(NeedsPeople(fault(type))) << type;
  }
  EXPECT_FALSE(NeedsPeople(fault("InvalidLogin"))) << "once the session is there, all goes on";
  EXPECT_FALSE(NeedsPeople(absl::FailedPreconditionError("certificate"))) << "no fault";
}

TEST(Faults, AncestorsCount) {
  Status status = FaultStatus({.type = "InsufficientMemoryResourcesFault"});
  EXPECT_TRUE(IsFault(status, "InsufficientMemoryResourcesFault"));
  EXPECT_TRUE(IsFault(status, "InsufficientResourcesFault"));
  EXPECT_TRUE(IsFault(status, "MethodFault"));
  EXPECT_FALSE(IsFault(status, "InvalidState"));
  EXPECT_FALSE(IsFault(absl::InternalError("InvalidState"), "InvalidState"));
}

TEST(Faults, TransportErrors) {
  Status lost = absl::UnavailableError("connection reset");
  EXPECT_EQ(RetryClassOf(lost), RetryClass::kBackoff);
  lost.SetPayload("vck/http/maybe-sent", absl::Cord("1"));
  EXPECT_EQ(RetryClassOf(lost), RetryClass::kReadBack);
  EXPECT_EQ(RetryClassOf(absl::FailedPreconditionError("certificate")), RetryClass::kLongBackoff);
}

Status Parse(const std::string& content) {
  return Reply::Parse("<s:Envelope xmlns:s='x'><s:Body>" + content + "</s:Body></s:Envelope>").status();
}

TEST(Faults, SoapFaultsAreRead) {
  Status status = Parse(
      "<s:Fault><faultcode>ServerFaultCode</faultcode><faultstring>The name 'a' already exists.</faultstring><detail>"
      "<DuplicateNameFault xsi:type='DuplicateName'><name>a</name><object type='VirtualMachine'>vm-7</object>"
      "</DuplicateNameFault></detail></s:Fault>");
  EXPECT_EQ(FaultType(status), "DuplicateName");
  EXPECT_EQ(FaultObject(status).value, "vm-7");
  EXPECT_EQ(status.message(), "DuplicateName: The name 'a' already exists.");
}

TEST(Faults, OddPrefixesAndMissingTypes) {
  EXPECT_EQ(FaultType(Parse("<s:Fault><faultstring>x</faultstring><detail><f XMLSchema-instance:type='v:NotFound'/>"
                            "</detail></s:Fault>")),
            "NotFound");
  EXPECT_EQ(FaultType(Parse("<s:Fault><faultstring>x</faultstring><detail><InvalidLoginFault/></detail></s:Fault>")),
            "InvalidLogin");
  EXPECT_FALSE(Parse("<s:Fault><faultcode>s:Client</faultcode><faultstring>parse error</faultstring></s:Fault>").ok());
}

TEST(Faults, ExistingPowerState) {
  Status status = Parse(
      "<s:Fault><faultstring>x</faultstring><detail><f xsi:type='InvalidPowerState'><requestedState>poweredOn"
      "</requestedState><existingState>suspended</existingState></f></detail></s:Fault>");
  EXPECT_EQ(ExistingPowerState(status), "suspended");
  EXPECT_EQ(ExistingPowerState(absl::OkStatus()), "");
}

}  // namespace
}  // namespace vck::vimtypes
