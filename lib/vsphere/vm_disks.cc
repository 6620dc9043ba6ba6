#include "vsphere/vm_disks.h"

#include <pugixml.hpp>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "vimtypes/wire_impl.h"

namespace vck::vsphere {
namespace {

int64_t Number(const pugi::xml_node& node) {
  int64_t number = 0;
  return absl::SimpleAtoi(vimtypes::Text(node), &number) ? number : 0;
}

std::string_view TypeOf(const pugi::xml_node& node) {
  for (const pugi::xml_attribute& attribute : node.attributes()) {
    std::string_view name = attribute.name();
    if (name != "type" && !name.ends_with(":type")) continue;
    std::string_view type = attribute.value();
    return type.substr(type.rfind(':') + 1);  // npos + 1 is 0
  }
  return {};
}

}  // namespace

StatusOr<std::vector<VmDisk>> ParseDisks(const vimtypes::RawXml& devices) {
  pugi::xml_document document;
  // The prefix of the types' attribute is bound further up in the message; pugixml does not look at bindings.
  std::string text = absl::StrCat("<value>", devices.xml, "</value>");
  if (!document.load_buffer_inplace(text.data(), text.size())) {
    return absl::InternalError("malformed list of devices");
  }
  std::vector<VmDisk> disks;
  for (const pugi::xml_node& device : document.document_element().children()) {
    if (TypeOf(device) != "VirtualDisk") continue;
    VmDisk& disk = disks.emplace_back();
    if (pugi::xml_node unit = vimtypes::Child(device, "unitNumber")) disk.unit = static_cast<int>(Number(unit));
    disk.controller_key = static_cast<int32_t>(Number(vimtypes::Child(device, "controllerKey")));
    const pugi::xml_node backing = vimtypes::Child(device, "backing");
    disk.file = vimtypes::Text(vimtypes::Child(backing, "fileName"));
    disk.parent = vimtypes::Text(vimtypes::Child(vimtypes::Child(backing, "parent"), "fileName"));
    disk.capacity_bytes = Number(vimtypes::Child(device, "capacityInBytes"));
    if (disk.capacity_bytes == 0) disk.capacity_bytes = Number(vimtypes::Child(device, "capacityInKB")) * 1024;
  }
  return disks;
}

}  // namespace vck::vsphere
