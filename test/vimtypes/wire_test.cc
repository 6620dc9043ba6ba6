#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "vimtypes/methods.gen.h"
#include "vimtypes/soap.h"
#include "vimtypes/vm_spec.h"
#include "vimtypes/wire_impl.h"

namespace vck::vimtypes {
namespace {

using ::testing::HasSubstr;

const MoRef kVm{.type = "VirtualMachine", .value = "vm-1"};

template <class Result>
Outcome<Result> DecodeText(std::string_view returnval) {
  auto reply =
      Reply::Parse(absl::StrCat("<s:Envelope><s:Body><XResponse>", returnval, "</XResponse></s:Body></s:Envelope>"));
  if (!reply.ok()) return reply.status();
  return Decode<Result>(*reply);
}

TEST(Wire, EscapesText) {
  std::string out;
  AppendEscaped(out, "a<b>&\"'\t\n\r\x01\xC3\xA9");
  EXPECT_EQ(out, "a&lt;b&gt;&amp;&quot;'\t\n&#13;\xEF\xBF\xBD\xC3\xA9");
}

TEST(Wire, TextSurvivesARoundTrip) {
  std::string text = "a <b> & \"c\" 'd'\r\n\ttab  ";
  std::string call = Rename_Task(kVm, text).body;
  pugi::xml_document document;
  ASSERT_TRUE(document.load_string(call.c_str()));
  EXPECT_EQ(Text(Child(document.document_element(), "newName")), text);
}

TEST(Wire, UnsetIsAbsentAndEmptyIsThere) {
  VirtualMachineConfigSpec spec;
  EXPECT_EQ(ReconfigVM_Task(kVm, spec).body,
            "<ReconfigVM_Task xmlns=\"urn:vim25\"><_this "
            "type=\"VirtualMachine\">vm-1</_this><spec></spec></ReconfigVM_Task>");
  spec.annotation = "";
  EXPECT_THAT(ReconfigVM_Task(kVm, spec).body, HasSubstr("<spec><annotation></annotation></spec>"));
}

TEST(Wire, AnUnlistedSubtypeSurvives) {
  auto result = DecodeText<PlacementResult>(
      "<returnval><recommendations><key>1</key><type>V1</type><time>t</time><rating>1</rating><reason>r</reason>"
      "<reasonText>t</reasonText><action xmlns:q='urn:x' q:type='v:FutureAction'><type>f</type><target "
      "type='HostSystem'>h"
      "</target><extra q:type='w:int' a='&quot;'>7</extra></action></recommendations></returnval>");
  ASSERT_TRUE(result.ok()) << result.status();
  ASSERT_EQ(result->recommendations.size(), 1U);
  const auto& action = result->recommendations[0].action.at(0);
  EXPECT_EQ(action->TypeName(), "FutureAction");
  EXPECT_EQ(action->type, "f");  // what the listed base has is read
  std::string out;
  Put(out, "action", action);
  EXPECT_EQ(out,
            "<action xsi:type=\"FutureAction\"><type>f</type><target type=\"HostSystem\">h</target>"
            "<extra xsi:type=\"xsd:int\" a=\"&quot;\">7</extra></action>");
}

TEST(Wire, AnyKeepsWhatItDoesNotKnow) {
  auto result = DecodeText<RetrieveResult>(
      "<returnval><objects><obj type='VirtualMachine'>vm-1</obj>"
      "<propSet><name>a</name><val xsi:type='xsd:long'>9007199254740993</val></propSet>"
      "<propSet><name>b</name><val xsi:type='Thing'><x>1</x></val></propSet>"
      "<propSet><name>c</name><val xsi:type='xsd:string'></val></propSet></objects></returnval>");
  ASSERT_TRUE(result.ok());
  const auto& properties = result->objects[0].propSet;
  EXPECT_EQ(std::get<int64_t>(properties[0].val), 9007199254740993);
  EXPECT_EQ(std::get<RawXml>(properties[1].val), (RawXml{.type = "Thing", .xml = "<x>1</x>"}));
  EXPECT_EQ(std::get<std::string>(properties[2].val), "");
}

TEST(Wire, MalformedAndMissingValuesAreErrors) {
  EXPECT_FALSE(DecodeText<bool>("<returnval>maybe</returnval>").ok());
  EXPECT_FALSE(DecodeText<bool>("").ok());
  EXPECT_TRUE(DecodeText<bool>("<returnval>true</returnval>").value());
  EXPECT_FALSE(
      DecodeText<PlacementResult>("<returnval><recommendations><rating>x</rating></recommendations></returnval>").ok());
  EXPECT_FALSE(DecodeText<std::optional<MoRef>>("").value().has_value());
  EXPECT_TRUE(DecodeText<std::vector<MoRef>>("").value().empty());
}

TEST(Wire, WhatIsNoEnvelopeIsAnError) {
  for (const char* text :
       {"", "<", "<html><body>503</body></html>", "<s:Envelope/>", "<s:Envelope><s:Body/></s:Envelope>"}) {
    EXPECT_FALSE(Reply::Parse(text).ok()) << text;
  }
}

TEST(VmSpec, MemoryAndUnits) {
  VmSpec vm;
  vm.memory_mb = 129;
  vm.disks.resize(9, {.new_bytes = 1});
  auto spec = BuildConfigSpec(vm);
  ASSERT_TRUE(spec.ok());
  EXPECT_EQ(spec->memoryMB, 132);
  EXPECT_EQ(spec->deviceChange[7].device->unitNumber, 6);
  EXPECT_EQ(spec->deviceChange[8].device->unitNumber, 8);  // 7 is the controller's
}

TEST(VmSpec, RefusesWhatVcenterWould) {
  VmSpec vm;
  vm.disks = {{.new_bytes = 1, .file = "[a] b"}};
  EXPECT_FALSE(BuildConfigSpec(vm).ok());
  vm.disks = {{}};
  EXPECT_FALSE(BuildConfigSpec(vm).ok());
  vm.disks.assign(16, {.new_bytes = 1});
  EXPECT_FALSE(BuildConfigSpec(vm).ok());
}

}  // namespace
}  // namespace vck::vimtypes
