#include "vsphere/update_set.h"

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace vck::vsphere {
namespace {

StatusOr<std::optional<UpdateSet>> Parse(std::string_view returnval) {
  auto reply = vim::Reply::Parse(absl::StrCat("<e:Envelope xmlns:e='x'><e:Body><WaitForUpdatesExResponse>", returnval,
                                              "</WaitForUpdatesExResponse></e:Body></e:Envelope>"));
  if (!reply.ok()) return reply.status();
  return ParseUpdateSet(*reply);
}

std::string OneVm(std::string_view inner) {
  return absl::StrCat(
      "<returnval><version>1</version><filterSet><objectSet><kind>enter</kind><obj "
      "type='VirtualMachine'>vm-1</obj>",
      inner, "</objectSet></filterSet></returnval>");
}

vim::VmRecord Record(std::string_view inner) {
  auto set = Parse(OneVm(inner));
  EXPECT_TRUE(set.ok()) << set.status();
  vim::VmRecord record;
  ApplyChange({.pod = "vch.pod", .guest = "guestinfo.vch.guest"}, (*set)->objects[0], record);
  return record;
}

TEST(UpdateSet, NoneWhenTheWaitEnded) {
  auto set = Parse("");
  ASSERT_TRUE(set.ok());
  EXPECT_FALSE(set->has_value());
}

TEST(UpdateSet, NeedsAVersion) { EXPECT_FALSE(Parse("<returnval><filterSet/></returnval>").ok()); }

struct Case {
  const char* xml;
  vim::VmRecord want;
};

TEST(UpdateSet, BecomesARecord) {
  const MoRef vm{.type = "VirtualMachine", .value = "vm-1"};
  const std::vector<Case> cases = {
      {"", {.vm = vm}},
      {"<changeSet><name>name</name><op>assign</op><val x:type='y:string'>a%2fb</val></changeSet>",
       {.vm = vm, .name = "a%2fb"}},
      // a prefix that nobody else uses, and an enum without one
      {"<changeSet><name>runtime.powerState</name><op>assign</op><val "
       "XMLSchema-instance:type='VirtualMachinePowerState'>poweredOn</val></changeSet>",
       {.vm = vm, .power = vim::PowerState::kOn}},
      {"<changeSet><name>runtime.powerState</name><op>assign</op><val "
       "xsi:type='VirtualMachinePowerState'></val></changeSet>",
       {.vm = vm}},
      {"<changeSet><name>runtime.connectionState</name><op>assign</op><val "
       "xsi:type='xsd:string'>quantum</val></changeSet>",
       {.vm = vm}},
      {"<changeSet><name>runtime.connectionState</name><op>assign</op><val xsi:type='e'>orphaned</val></changeSet>",
       {.vm = vm, .connection = vim::ConnectionState::kOrphaned}},
      // the value of a keyed path as an option, as text, and as its .value
      {"<changeSet><name>config.extraConfig[\"vch.pod\"]</name><op>add</op><val "
       "xsi:type='OptionValue'><key>vch.pod</key><value xsi:type='xsd:string'>p</value></val></changeSet>",
       {.vm = vm, .pod_key = "p"}},
      {"<changeSet><name>config.extraConfig[\"vch.pod\"].value</name><op>assign</op><val "
       "xsi:type='xsd:string'>p</val></changeSet>",
       {.vm = vm, .pod_key = "p"}},
      {"<changeSet><name>config.extraConfig[\"vch.pod\"]</name><op>assign</op></changeSet>", {.vm = vm}},
      {"<changeSet><name>config.extraConfig[\"guestinfo.vch.guest\"]</name><op>assign</op><val "
       "xsi:type='OptionValue'><key>guestinfo.vch.guest</key><value xsi:type='xsd:string'> </value></val></changeSet>",
       {.vm = vm, .guest_key = " "}},
      {"<changeSet><name>config.extraConfig[\"other\"]</name><op>assign</op><val xsi:type='OptionValue'><key>o</key>"
       "<value>p</value></val></changeSet><changeSet><name>config.somethingNew</name><op>assign</op><val "
       "xsi:type='FutureThing'><a><b>1</b></a></val></changeSet>",
       {.vm = vm}},
      {"<missingSet><path>config.template</path><fault><fault xsi:type='NoPermission'/></fault></missingSet>",
       {.vm = vm, .incomplete = true}},
  };
  for (const Case& c : cases) EXPECT_EQ(Record(c.xml), c.want) << c.xml;
}

TEST(UpdateSet, ReadsATwiceNestedFault) {
  auto set = Parse(
      "<returnval><version>1</version><filterSet><objectSet><kind>modify</kind><obj type='Task'>task-1</obj><changeSet>"
      "<name>info.error</name><op>assign</op><val xsi:type='LocalizedMethodFault'><fault xsi:type='NoDiskSpace'>"
      "<faultCause><fault xsi:type='FileFault'/></faultCause><file>[ds] a</file></fault>"
      "<localizedMessage>full</localizedMessage></val></changeSet></objectSet></filterSet></returnval>");
  ASSERT_TRUE(set.ok());
  TaskProgress task;
  ApplyChange((*set)->objects[0], task);
  ASSERT_TRUE(task.error.has_value());
  EXPECT_EQ(task.error->type, "NoDiskSpace");
  EXPECT_EQ(task.error->message, "full");
}

TEST(UpdateSet, ReportsMissingObjects) {
  auto set = Parse(
      "<returnval><version>1</version><filterSet><missingSet><obj type='Datastore'>datastore-1</obj><fault><fault "
      "xsi:type='ManagedObjectNotFound'/></fault></missingSet></filterSet></returnval>");
  ASSERT_TRUE(set.ok());
  EXPECT_EQ((*set)->objects[0].missing[0].second, "ManagedObjectNotFound");
}

}  // namespace
}  // namespace vck::vsphere
