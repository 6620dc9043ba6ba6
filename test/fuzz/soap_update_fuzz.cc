#include <cstddef>
#include <cstdint>
#include <string>

#include "vimtypes/methods.gen.h"
#include "vimtypes/soap.h"
#include "vsphere/update_set.h"

using namespace vck;

// A whole response body: as an update set applied to everything, as objects, and as typed results.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  auto reply = vimtypes::Reply::Parse(std::string(reinterpret_cast<const char*>(data), size));
  if (!reply.ok()) {
    (void)vimtypes::RetryClassOf(reply.status());
    (void)vimtypes::ExistingPowerState(reply.status());
    return 0;
  }
  const vsphere::RecordKeys keys{.pod = "vch.pod", .guest = "guestinfo.vch.guest"};
  auto set = vsphere::ParseUpdateSet(*reply);
  if (set.ok() && set->has_value()) {
    vimtypes::VmRecord record;
    vsphere::TaskProgress task;
    vsphere::Capacity capacity;
    for (const vsphere::ObjectChange& change : (*set)->objects) {
      vsphere::ApplyChange(keys, change, record);
      vsphere::ApplyChange(change, task);
      vsphere::ApplyChange(change, capacity);
      (void)vsphere::RefusesKeyedPaths(change);
      (void)vsphere::SaysNotAuthenticated(change);
    }
  }
  std::string token;
  (void)vsphere::ParseObjects(*reply, &token);
  (void)vimtypes::Decode<std::optional<vimtypes::UpdateSet>>(*reply);
  (void)vimtypes::Decode<vimtypes::ServiceContent>(*reply);
  (void)vimtypes::Decode<vimtypes::PlacementResult>(*reply);
  (void)vimtypes::Decode<std::vector<std::shared_ptr<vimtypes::Event>>>(*reply);
  return 0;
}
