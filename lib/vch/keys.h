// Names that everybody who touches a VCH's objects agrees on: extraConfig keys, folders, tag categories.
#pragma once

#include <string_view>

namespace vck::vch {

// Keys of a VM's config.extraConfig. `vch.*` can't be read or written from inside the guest, `guestinfo.*` can.
inline constexpr std::string_view kPodKey = "vch.pod";      // pod_key.h; on every pod VM
inline constexpr std::string_view kVchKey = "vch.id";       // on every VM of a VCH: its id
inline constexpr std::string_view kRoleKey = "vch.role";    // one of the kRole values
inline constexpr std::string_view kImageKey = "vch.image";  // on an image's anchor: the digest that its disk holds
inline constexpr std::string_view kRolePod = "pod";
inline constexpr std::string_view kRoleImage = "image";
inline constexpr std::string_view kRoleEndpoint = "endpoint";

// ManagedByInfo of the VMs, so that vCenter shows whose they are.
inline constexpr std::string_view kExtensionKey = "io.vch.kubelet";
inline constexpr std::string_view kManagedByPod = "pod";
inline constexpr std::string_view kManagedByImage = "image";

// Tag categories; the tags are a cluster's and a namespace's names.
inline constexpr std::string_view kClusterCategory = "kubernetes-cluster";
inline constexpr std::string_view kNamespaceCategory = "kubernetes-namespace";

// On the datastore: "<vch name>/images", "<vch name>/logs/<pod uid>".
inline constexpr std::string_view kImagesFolder = "images";
inline constexpr std::string_view kLogsFolder = "logs";

}  // namespace vck::vch
