#include "node/image_store.h"

#include <algorithm>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/log.h"
#include "vch/keys.h"
#include "vch/names.h"
#include "vch/pod_key.h"
#include "vimtypes/vm_spec.h"
#include "vsphere/vm_disks.h"

namespace vck::node {
namespace {

using vimtypes::MoRef;

constexpr std::string_view kNamePrefix = "image-";
// The first line of an anchor's notes; the names that led to the image follow, one a line.
constexpr std::string_view kNotes =
    "Image of a VCH. Pod VMs have disks over this one's: do not power on, change or remove it.";

std::string NotesOf(const std::vector<std::string>& names) {
  return absl::StrCat(kNotes, "\n", absl::StrJoin(names, "\n"));
}

std::vector<std::string> NamesIn(std::string_view notes) {
  std::vector<std::string> names;
  for (std::string_view line : absl::StrSplit(notes, '\n', absl::SkipWhitespace())) {
    if (line.find("@sha256:") != std::string_view::npos) names.emplace_back(line);
  }
  return names;
}

std::string_view DigestOf(std::string_view name) { return name.substr(name.rfind('@') + 1); }

std::string TextOf(const vimtypes::Any& value) {
  const auto* text = std::get_if<std::string>(&value);
  return text != nullptr ? *text : std::string();
}

bool IsNamedLikeAnchor(const vimtypes::VmRecord& vm) { return vm.name.starts_with(kNamePrefix) && vm.pod_key.empty(); }

int64_t NumberOf(const vimtypes::Any& value) {
  if (const auto* number = std::get_if<int64_t>(&value)) return *number;
  if (const auto* number = std::get_if<int32_t>(&value)) return *number;
  return 0;
}

}  // namespace

VSphereImageStore::VSphereImageStore(Clock& clock, vsphere::Calls& calls, const Placement& placement,
                                     std::string vch_id, vsphere::ClientFactory clients)
    : clock_(clock), calls_(calls), placement_(placement), vch_id_(std::move(vch_id)), clients_(std::move(clients)) {
  auto& vms = calls_.inventory().vms();
  auto look = [&vms, anchors = anchors_](const std::string& moid) {
    auto vm = vms.Get(moid);
    const bool is = vm != nullptr && IsNamedLikeAnchor(*vm);
    const bool was = is ? !anchors->ids.insert(moid).second : anchors->ids.erase(moid) > 0;
    if (is || was) ++anchors->changes;
  };
  for (const auto& [moid, vm] : vms.items()) look(moid);
  vms.Subscribe(look);
}

Task<StatusOr<std::vector<VSphereImageStore::Anchor>>> VSphereImageStore::Read(std::vector<MoRef> vms) {
  std::vector<Anchor> anchors;
  if (vms.empty()) co_return anchors;
  CO_ASSIGN_OR_RETURN(auto objects,
                      co_await calls_.Retrieve(
                          std::move(vms), {"name", "config.template", "config.annotation", "config.extraConfig",
                                           "config.hardware.device", "config.modified", "summary.storage.committed"}));
  for (const vsphere::ObjectChange& object : objects) {
    Anchor anchor{.vm = object.object};
    anchor.image.id = object.object.value;
    for (const vsphere::PropertyValue& p : object.changes) {
      if (p.name == "name") anchor.name = TextOf(p.value);
      if (p.name == "config.annotation") anchor.image.names = NamesIn(TextOf(p.value));
      // Its notes are written when a tag comes to mean it: of two images with a tag, the younger has it.
      if (p.name == "config.modified")
        (void)absl::ParseTime(absl::RFC3339_full, TextOf(p.value), &anchor.image.created, nullptr);
      if (p.name == "summary.storage.committed") anchor.image.size_bytes = NumberOf(p.value);
      if (p.name == "config.template") {
        const bool* is = std::get_if<bool>(&p.value);
        anchor.complete = is != nullptr && *is;
      }
      if (p.name == "config.extraConfig") {
        std::string role, vch;
        for (const auto& [key, value] : p.options) {
          if (key == vch::kRoleKey) role = value;
          if (key == vch::kVchKey) vch = value;
          if (key == vch::kImageKey) anchor.image.digest = value;
        }
        anchor.ours = role == vch::kRoleImage && vch == vch_id_;
      }
      if (p.name == "config.hardware.device") {
        const auto* raw = std::get_if<vimtypes::RawXml>(&p.value);
        if (raw == nullptr) continue;
        CO_ASSIGN_OR_RETURN(auto disks, vsphere::ParseDisks(*raw));
        if (disks.empty()) continue;
        anchor.image.disk_path = disks[0].file;
        anchor.image.capacity_bytes = disks[0].capacity_bytes;
      }
    }
    anchor.complete = anchor.complete && !anchor.image.digest.empty() && !anchor.image.disk_path.empty();
    anchors.push_back(std::move(anchor));
  }
  co_return anchors;
}

Task<StatusOr<std::vector<image::StoredImage>>> VSphereImageStore::List() {
  auto& vms = calls_.inventory().vms();
  co_await vms.WaitSynced();
  std::vector<MoRef> candidates;
  for (const auto& [moid, vm] : vms.items()) {
    if (IsNamedLikeAnchor(*vm)) candidates.push_back(vm->vm);
  }
  CO_ASSIGN_OR_RETURN(auto anchors, co_await Read(std::move(candidates)));
  std::vector<image::StoredImage> images;
  for (Anchor& anchor : anchors) {
    if (!anchor.ours || importing_.contains(anchor.name)) continue;
    if (anchor.complete) {
      images.push_back(std::move(anchor.image));
      continue;
    }
    // An import that never ended.
    Status removed = co_await calls_.Destroy(anchor.vm);
    Log(removed.ok() ? Severity::kInfo : Severity::kWarning, "What an interrupted import has left is removed",
        {{"vm", anchor.name}, {"err", removed}});
  }
  co_return images;
}

Task<StatusOr<image::StoredImage>> VSphereImageStore::Finish(MoRef vm) {
  CO_RETURN_IF_ERROR(co_await calls_.MarkAsTemplate(vm));
  CO_ASSIGN_OR_RETURN(auto anchors, co_await Read({vm}));
  if (anchors.empty() || !anchors[0].complete) co_return absl::InternalError("vCenter does not show the imported disk");
  co_return std::move(anchors[0].image);
}

Task<StatusOr<image::StoredImage>> VSphereImageStore::Import(image::NewImage image) {
  const std::string name = vch::ImageVmName(vch_id_, image.digest);
  CO_ASSIGN_OR_RETURN(MoRef there, co_await calls_.FindChild(placement_.folder, name));
  if (!there.empty()) {
    CO_ASSIGN_OR_RETURN(auto anchors, co_await Read({there}));
    if (!anchors.empty() && !anchors[0].ours) {
      co_return absl::AlreadyExistsError(absl::StrCat("VM ", name, " is not an image of this VCH"));
    }
    if (!anchors.empty() && anchors[0].complete) co_return std::move(anchors[0].image);
    CO_RETURN_IF_ERROR(co_await calls_.Destroy(there));
  }
  vimtypes::VmSpec vm;
  vm.name = name;
  vm.datastore = placement_.datastore_name;
  if (!placement_.guest_id.empty()) vm.guest_id = placement_.guest_id;
  vm.hardware_version = placement_.hardware_version;
  vm.disks = {{.new_bytes = image.capacity_bytes, .datastore = placement_.datastore}};
  vm.annotation = NotesOf(image.names);
  vm.extra_config = {{std::string(vch::kVchKey), vch_id_},
                     {std::string(vch::kRoleKey), std::string(vch::kRoleImage)},
                     {std::string(vch::kImageKey), image.digest}};
  CO_ASSIGN_OR_RETURN(auto spec, vimtypes::BuildConfigSpec(vm));
  importing_.insert(name);
  absl::Cleanup done = [this, &name] { importing_.erase(name); };
  auto imported = co_await vsphere::ImportVm(clock_, calls_, clients_,
                                             {.pool = placement_.pool,
                                              .folder = placement_.folder,
                                              .spec = std::move(spec),
                                              .disks = {{.size = image.vmdk_bytes, .open = std::move(image.open)}}});
  if (!imported.ok()) co_return imported.status();
  auto stored = co_await Finish(*imported);
  if (stored.ok()) co_return stored;
  Status removed = co_await calls_.Destroy(*imported);
  if (!removed.ok()) LogV(1, "An import that failed stays until the next start", {{"vm", name}, {"err", removed}});
  co_return Annotate(stored.status(), "image anchor");
}

Task<Status> VSphereImageStore::SetNames(image::StoredImage image, std::vector<std::string> names) {
  vimtypes::VirtualMachineConfigSpec spec;
  spec.annotation = NotesOf(names);
  return calls_.Reconfigure({"VirtualMachine", std::move(image.id)}, std::move(spec));
}

bool VSphereImageStore::HasChildren(const image::StoredImage& image) const {
  const auto is_it = [&image](const vch::PodImage& child) {
    const std::string_view digest = DigestOf(child.id);
    return digest == image.digest || std::any_of(image.names.begin(), image.names.end(),
                                                 [digest](const auto& name) { return DigestOf(name) == digest; });
  };
  for (const auto& [moid, vm] : calls_.inventory().vms().items()) {
    if (vm->pod_key.empty()) continue;
    // What cannot be read may be anything.
    auto key = vch::ParsePodKey(vm->pod_key);
    if (!key.ok()) return true;
    auto images = vch::ParseImages(key->images);
    if (!images.ok() || std::any_of(images->begin(), images->end(), is_it)) return true;
  }
  return false;
}

Task<Status> VSphereImageStore::Remove(image::StoredImage image) {
  if (!calls_.inventory().fresh()) co_return absl::UnavailableError("vCenter does not show all VMs at present");
  if (HasChildren(image)) co_return absl::FailedPreconditionError("a pod VM uses the image");
  co_return co_await calls_.Destroy({"VirtualMachine", std::move(image.id)});
}

std::optional<image::ImageStore::Space> VSphereImageStore::space() const {
  const auto& datastores = calls_.inventory().capacity().datastores;
  auto it = datastores.find(placement_.datastore.value);
  if (it == datastores.end() || !it->second.accessible) return std::nullopt;
  return Space{.capacity_bytes = it->second.capacity_bytes, .free_bytes = it->second.free_bytes};
}

}  // namespace vck::node
