#include "tether/journal.h"

#include <algorithm>
#include <utility>

#include "json/json.h"

namespace vck::tether {
namespace {

constexpr int kVersion = 1;

using guestapi::ContainerSpec;
using guestapi::GuestSpec;
using guestapi::VolumeSpec;

}  // namespace

std::string Encode(const Journal& journal) {
  boost::json::monotonic_resource arena;
  json::Object out(&arena);
  out["version"] = kVersion;
  out["begun"] = absl::ToUnixNanos(journal.begun);
  out["ending"] = journal.ending;
  out["spec"] = guestapi::ToJson(journal.spec, &arena);
  out["state"] = guestapi::ToJson(journal.state, &arena);
  return json::Serialize(std::move(out)) + "\n";
}

StatusOr<Journal> DecodeJournal(std::string_view text) {
  ASSIGN_OR_RETURN(auto document, json::Document::Parse(text));
  const json::Value& root = document.root();
  if (json::Int(root, "version") != kVersion) return absl::InvalidArgumentError("a journal of another version");
  Journal out;
  const json::Value* begun = json::Get(root, "begun");
  if (begun == nullptr || !begun->is_int64()) return absl::InvalidArgumentError("begun is missing");
  out.begun = absl::FromUnixNanos(begun->get_int64());
  out.ending = json::Bool(root, "ending");
  const json::Value* spec = json::Get(root, "spec");
  const json::Value* state = json::Get(root, "state");
  if (spec == nullptr || state == nullptr) return absl::InvalidArgumentError("spec or state is missing");
  ASSIGN_OR_RETURN(out.spec, guestapi::SpecFromJson(*spec));
  ASSIGN_OR_RETURN(out.state, guestapi::StateFromJson(*state));
  return out;
}

GuestSpec WithoutSecrets(GuestSpec spec) {
  for (VolumeSpec& volume : spec.volumes) volume.files.clear();
  for (ContainerSpec& container : spec.containers) {
    if (!container.confidential) continue;
    container.env.clear();
    container.late_env.clear();
    container.command.clear();
    container.args.clear();
    for (guestapi::Mount& mount : container.mounts) mount.sub_path.clear();
  }
  return spec;
}

bool NeedsSecrets(const GuestSpec& spec, const ContainerSpec& container) {
  return container.confidential ||
         std::any_of(container.mounts.begin(), container.mounts.end(), [&](const guestapi::Mount& mount) {
           return std::any_of(spec.volumes.begin(), spec.volumes.end(), [&](const VolumeSpec& volume) {
             return volume.name == mount.volume && volume.kind == VolumeSpec::Kind::kFiles;
           });
         });
}

}  // namespace vck::tether
