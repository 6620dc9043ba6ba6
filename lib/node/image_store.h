// ImageStore over vSphere: an image is a template VM, its anchor, with one disk. The template says that the image is
// complete, and keeps the disk alive while no pod VM has a child of it.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "async/clock.h"
#include "image/image_store.h"
#include "node/placement.h"
#include "vsphere/calls.h"
#include "vsphere/import.h"

namespace vck::node {

class VSphereImageStore : public image::ImageStore {
 public:
  // `clients`: for leases whose URLs are a host's own.
  VSphereImageStore(Clock& clock, vsphere::Calls& calls, const Placement& placement, std::string vch_id,
                    vsphere::ClientFactory clients);

  Task<StatusOr<std::vector<image::StoredImage>>> List() override;
  Task<StatusOr<image::StoredImage>> Import(image::NewImage image) override;
  Task<Status> SetNames(image::StoredImage image, std::vector<std::string> names) override;
  Task<Status> Remove(image::StoredImage image) override;
  [[nodiscard]] uint64_t changes() const override { return anchors_->changes; }
  [[nodiscard]] std::optional<Space> space() const override;

 private:
  // Kept by the inventory's subscription, which outlives this object.
  struct Anchors {
    absl::flat_hash_set<std::string> ids;  // of the VMs that are named like one
    uint64_t changes = 0;
  };
  // What vCenter knows of the anchors among `vms`; those of others, and half made ones, say so.
  struct Anchor {
    vimtypes::MoRef vm;
    std::string name;
    bool ours = false;
    bool complete = false;
    image::StoredImage image;
  };
  Task<StatusOr<std::vector<Anchor>>> Read(std::vector<vimtypes::MoRef> vms);
  Task<StatusOr<image::StoredImage>> Finish(vimtypes::MoRef vm);
  [[nodiscard]] bool HasChildren(const image::StoredImage& image) const;

  Clock& clock_;
  vsphere::Calls& calls_;
  const Placement& placement_;
  std::string vch_id_;
  vsphere::ClientFactory clients_;
  absl::flat_hash_set<std::string> importing_;  // names of the anchors
  std::shared_ptr<Anchors> anchors_ = std::make_shared<Anchors>();
};

}  // namespace vck::node
