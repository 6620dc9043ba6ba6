// What an administrator's files and environment give, read once at start, so that all that is wrong with them is told
// with the flags' mistakes.
#pragma once

#include <optional>
#include <string>

#include "kube/kubeconfig.h"
#include "node/options.h"
#include "oci/registry_config.h"
#include "vsphere/session.h"

namespace vck::node {

struct Inputs {
  kube::RestConfig kube;
  std::optional<kube::RestConfig> election;  // with --leader-elect
  std::string vcenter_ca_pem;                // "": the system's
  oci::RegistryConfig registries;
};

// All mistakes at once, as Validate(). Files that are read again later (password, certificates) are tried. Blocks.
StatusOr<Inputs> ReadInputs(const Options& options);

// From --vcenter-password-file, else $VCENTER_PASSWORD. Asked at each login, so that a rotated password is taken up.
StatusOr<vsphere::Credentials> VCenterCredentials(const VCenterOptions& options);

}  // namespace vck::node
