#include "podvm/unsupported.h"

#include "absl/strings/str_cat.h"
#include "kubeapi/resources.h"
#include "podvm/resolve_parts.h"

namespace vck::podvm {
namespace {

using kubeapi::ContainerView;
using kubeapi::PodView;

void AboutVolume(const json::Value& volume, std::vector<std::string>* problems) {
  const std::string name = absl::StrCat("volume ", json::String(volume, "name"), ": ");
  const std::string_view source = VolumeSource(volume);
  if (source == "emptyDir") {
    const std::string_view medium = json::String(json::Get(volume, source), "medium");
    if (!medium.empty() && medium != "Memory") {
      problems->push_back(absl::StrCat(name, "emptyDir of medium ", medium, " is not supported"));
    }
  } else if (source == "projected") {
    for (const json::Value& part : json::Items(json::Get(volume, source), "sources")) {
      for (std::string_view field : {"clusterTrustBundle", "podCertificate"}) {
        if (json::Get(part, field) != nullptr) problems->push_back(absl::StrCat(name, field, " is not supported"));
      }
    }
  } else if (source != "configMap" && source != "secret" && source != "downwardAPI" && source != "hostPath") {
    problems->push_back(absl::StrCat(name, source, " volumes are not supported"));
  }
}

bool IsLocalhost(const json::Value* security) {
  return json::String(json::Get(security, "seccompProfile"), "type") == "Localhost";
}

}  // namespace

std::string_view VolumeSource(const json::Value& volume) {
  if (!volume.is_object()) return "emptyDir";
  for (const auto& member : volume.get_object()) {
    if (member.key() != "name" && !member.value().is_null()) return {member.key().data(), member.key().size()};
  }
  return "emptyDir";
}

void FindUnsupported(const ContainerView& container, std::vector<std::string>* problems) {
  const json::Value& c = container.json();
  const auto add = [&](std::string_view what) {
    problems->push_back(absl::StrCat("container ", container.name(), ": ", what));
  };
  if (!json::Items(c, "volumeDevices").empty()) add("volumeDevices are not supported");
  for (const json::Value& mount : json::Items(c, "volumeMounts")) {
    if (json::String(mount, "recursiveReadOnly") == "Enabled") {
      add(absl::StrCat("recursiveReadOnly of the mount at ", json::String(mount, "mountPath"), " is not supported"));
    }
  }
  if (IsLocalhost(json::Get(c, "securityContext"))) add("seccompProfile of type Localhost is not supported");
  for (const json::Value& rule : json::Items(c, "restartPolicyRules")) {
    if (const std::string_view action = json::String(rule, "action"); action != "Restart") {
      add(absl::StrCat("the action ", action, " of restartPolicyRules is not supported"));
    }
  }
  if (!json::Items(json::Get(c, "resources"), "claims").empty()) add("resource claims are not supported");
}

void FindUnsupported(const PodView& pod, std::vector<std::string>* problems) {
  const json::Value* spec = pod.spec();
  for (const json::Value& volume : pod.volumes()) {
    if (internal::IsMounted(pod, json::String(volume, "name"))) AboutVolume(volume, problems);
  }
  pod.ForEachContainer([&](const ContainerView& c) {
    if (c.kind() != ContainerView::Kind::kEphemeral) FindUnsupported(c, problems);
  });
  if (IsLocalhost(json::Get(spec, "securityContext"))) {
    problems->emplace_back("seccompProfile of type Localhost is not supported");
  }
  if (const std::string_view name = json::String(spec, "runtimeClassName"); !name.empty()) {
    problems->push_back(absl::StrCat("runtimeClassName ", name, " is not supported: there is one runtime only"));
  }
  if (!json::Bool(spec, "hostUsers", true)) problems->emplace_back("hostUsers: false is not supported");
  if (!json::Items(spec, "resourceClaims").empty()) problems->emplace_back("resourceClaims are not supported");
  for (std::string_view resource : kubeapi::ResourceNames(pod)) {
    if (resource.starts_with("hugepages-")) problems->push_back(absl::StrCat(resource, " are not supported"));
  }
}

}  // namespace vck::podvm
