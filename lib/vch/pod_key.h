// The value of the `vch.pod` key: what a pod VM says about itself to a kubelet that has forgotten everything.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace vck::vch {

// One line, "v1 vch=… uid=… ns=… name=… ip=… node=… spec=… images=…": fields in this order, empty ones left out, values
// percent-encoded (space, '%', '=' and bytes outside printable ASCII). Readers skip fields that they don't know, so
// that a later version may add some; a change of meaning gets a new "v".
struct PodKey {
  std::string vch_id;
  std::string pod_uid;
  std::string pod_namespace;
  std::string pod_name;
  std::string pod_ip;     // given by the kubelet's own address management; empty with DHCP
  std::string node;       // that created it
  std::string spec_hash;  // of what the VM was created from
  // What its disks hold, in the order of their SCSI units; "" for a VM without image disks.
  std::string images;
  friend bool operator==(const PodKey&, const PodKey&) = default;
};

std::string Encode(const PodKey& key);

// An image disk: the reference as the pod writes it, and what it was resolved to ("repo@sha256:…"). Both are empty for
// a disk that holds no image (the scratch disk, when image disks were added after it).
struct PodImage {
  std::string reference, id;
  friend bool operator==(const PodImage&, const PodImage&) = default;
};
// The form of PodKey::images: "reference|id,reference|id,|". References and ids hold neither ',' nor '|'.
std::string EncodeImages(const std::vector<PodImage>& images);
// InvalidArgument if it is not of that form.
StatusOr<std::vector<PodImage>> ParseImages(std::string_view text);
// InvalidArgument for another version, a malformed field, a field that comes twice, or one of vch, uid, ns and name
// missing; NotFound for the empty string (no pod VM).
StatusOr<PodKey> ParsePodKey(std::string_view text);

}  // namespace vck::vch
