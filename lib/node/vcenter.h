// VCenter: the kubelet's session with it, and what works over that once all that the options name has been found.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "async/clock.h"
#include "async/task.h"
#include "base/status.h"
#include "metrics/metrics.h"
#include "node/datastore_logs.h"
#include "node/options.h"
#include "node/placement.h"
#include "node/vm_index.h"
#include "node/vsphere_ops.h"
#include "vsphere/calls.h"
#include "vsphere/datastore.h"
#include "vsphere/inventory.h"
#include "vsphere/session.h"
#include "vsphere/tags.h"

namespace vck::node {

// What exists once vCenter has answered for the first time.
struct VSphereSide {
  VSphereSide(Executor executor, Clock& clock, vsphere::Session& session, Placement place, const VCenterOptions& o,
              const std::string& vch_id, std::shared_ptr<http::Client> http);

  Placement placement;
  vsphere::Inventory inventory;
  vsphere::Calls calls;
  VmIndex index;
  VSphereOps ops;
  vsphere::DatastoreFiles files;
  DatastoreLogs logs;
  vsphere::RestSession rest;
  vsphere::TagService tags;
  std::optional<vsphere::Tagger> tagger;  // with --vcenter-tags
};

class VCenter {
 public:
  // Sends nothing. Errors name the flag; `ca_pem`: "": the system's.
  static StatusOr<std::unique_ptr<VCenter>> Create(Executor executor, Clock& clock, const VCenterOptions& options,
                                                   std::string vch_id, std::string ca_pem);

  [[nodiscard]] vsphere::Session& session() { return *session_; }
  // Null until Find() has returned.
  [[nodiscard]] VSphereSide* side() { return side_ ? &*side_ : nullptr; }
  // Looks for what the options name until it is there: vCenter may be down, or its objects not there yet. Calls
  // `told` when error() has changed.
  Task<> Find(std::function<void()> told);
  // Why it has not been found, "" if there is nothing to tell.
  [[nodiscard]] const std::string& error() const { return error_; }
  // Its figures of the node; null while they cannot be had.
  [[nodiscard]] const vsphere::Capacity* KnownCapacity() const;
  // "VMware vCenter Server 8.0.3 build-1", "" before the first login.
  [[nodiscard]] std::string Version() const;

  void RegisterMetrics(metrics::Registry& registry);
  // Ends the sessions, since those that nobody ends count against vCenter's limit until they expire, and connections.
  Task<> Close();

 private:
  VCenter(Executor executor, Clock& clock, VCenterOptions options, std::string vch_id,
          std::shared_ptr<http::Client> http, vsphere::SessionOptions session);
  Task<> TellMissingPrivileges();

  Executor executor_;
  Clock& clock_;
  VCenterOptions options_;
  std::string vch_id_;
  std::shared_ptr<http::Client> http_;
  std::unique_ptr<vsphere::Session> session_;
  std::string error_;
  std::optional<VSphereSide> side_;
};

}  // namespace vck::node
