#include "node/vcenter.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "async/backoff.h"
#include "async/timeout.h"
#include "base/log.h"
#include "http/tls.h"
#include "node/inputs.h"
#include "node/settings.h"

namespace vck::node {

VSphereSide::VSphereSide(Executor executor, Clock& clock, vsphere::Session& session, Placement place,
                         const VCenterOptions& o, const std::string& vch_id, std::shared_ptr<http::Client> http)
    : placement(std::move(place)),
      inventory(clock, session, InventoryOf(o, placement)),
      calls(executor, clock, session, inventory, CallsOf(o)),
      index(inventory.vms(), vch_id),
      ops(calls, placement),
      files(calls, placement.datacenter, placement.datacenter_path),
      logs(files, placement.datastore, placement.datastore_name, vch_id),
      rest(std::move(http), session),
      tags(rest) {
  if (o.tags) tagger.emplace(clock, tags);
}

StatusOr<std::unique_ptr<VCenter>> VCenter::Create(Executor executor, Clock& clock, const VCenterOptions& options,
                                                   std::string vch_id, std::string ca_pem) {
  ASSIGN_OR_RETURN(http::Url url, http::ParseUrl(options.url));
  http::ClientOptions http{.origin = url};
  if (url.scheme == "https") {
    auto context = http::TlsContext::Client(
        {.insecure = options.insecure, .thumbprint = options.thumbprint, .ca_pem = std::move(ca_pem)});
    if (!context.ok()) return Annotate(context.status(), "--vcenter-ca");
    http.tls = *context;
  }
  http.http2 = false;
  http.max_connections = options.concurrency + 2;
  vsphere::SessionOptions session;
  session.origin = url;
  if (!url.path.empty()) session.path = url.path;
  session.call_timeout = options.call_timeout;
  session.keep_alive = options.keepalive;
  session.credentials = [options] { return VCenterCredentials(options); };
  return std::unique_ptr<VCenter>(new VCenter(executor, clock, options, std::move(vch_id),
                                              http::Client::Create(executor, clock, http), std::move(session)));
}

VCenter::VCenter(Executor executor, Clock& clock, VCenterOptions options, std::string vch_id,
                 std::shared_ptr<http::Client> http, vsphere::SessionOptions session)
    : executor_(executor),
      clock_(clock),
      options_(std::move(options)),
      vch_id_(std::move(vch_id)),
      http_(std::move(http)),
      session_(std::make_unique<vsphere::Session>(clock, http_, std::move(session))) {}

Task<> VCenter::Find(std::function<void()> told) {
  Backoff backoff({.initial = absl::Seconds(1), .max = absl::Minutes(1)});
  while (true) {
    auto placement = co_await FindPlacement(*session_, options_, vch_id_);
    if (placement.ok()) {
      error_.clear();
      side_.emplace(executor_, clock_, *session_, *std::move(placement), options_, vch_id_, http_);
      break;
    }
    if (error_ != placement.status().message()) {
      error_ = std::string(placement.status().message());
      Log(Severity::kError, "vCenter cannot be used yet, will retry", {{"err", placement.status()}});
      told();
    }
    co_await clock_.Sleep(backoff.Next());
  }
  co_await TellMissingPrivileges();
}

Task<> VCenter::TellMissingPrivileges() {
  auto missing = co_await MissingPrivileges(*session_, side_->placement);
  if (!missing.ok()) {
    Log(Severity::kInfo, "vCenter does not tell what its account may do here; what is missing shows when it is needed",
        {{"err", missing.status()}});
  } else if (!missing->empty()) {
    Log(Severity::kWarning, "The vCenter account lacks privileges that a VCH uses", {{"missing", *missing}});
  }
}

const vsphere::Capacity* VCenter::KnownCapacity() const {
  if (session_->health().state != vsphere::Health::State::kOk || !side_ || !side_->inventory.fresh()) return nullptr;
  return &side_->inventory.capacity();
}

std::string VCenter::Version() const {
  if (session_->epoch() == 0) return "";
  const auto& about = session_->content().about;
  return absl::StrCat(about.name, " ", about.version, " build-", about.build);
}

void VCenter::RegisterMetrics(metrics::Registry& registry) {
  auto value = [&registry](const char* name, const char* help, bool counter, std::function<double()> fn) {
    registry.callback(name, help, {}, counter, std::move(fn));
  };
  value("vch_kubelet_pod_vms", "VMs in the pod folder.", false,
        [this] { return side_ ? static_cast<double>(side_->inventory.vms().size()) : 0; });
  value("vch_kubelet_vcenter_calls_total", "Requests sent to vCenter.", true,
        [this] { return static_cast<double>(session_->stats().calls); });
  value("vch_kubelet_vcenter_logins_total", "Logins at vCenter.", true,
        [this] { return static_cast<double>(session_->stats().logins); });
  value("vch_kubelet_vcenter_up", "1 while vCenter answers.", false,
        [this] { return session_->health().state == vsphere::Health::State::kOk ? 1.0 : 0.0; });
  value("vch_kubelet_inventory_rounds_total", "WaitForUpdatesEx rounds.", true,
        [this] { return side_ ? static_cast<double>(side_->inventory.stats().rounds) : 0; });
  value("vch_kubelet_inventory_relists_total", "Full reads of the inventory.", true,
        [this] { return side_ ? static_cast<double>(side_->inventory.stats().relists) : 0; });
}

Task<> VCenter::Close() {
  constexpr absl::Duration kTimeout = absl::Seconds(3);
  auto logout = [](auto& s) -> Task<Status> {
    co_await s.Logout();
    co_return absl::OkStatus();
  };
  if (side_) (void)co_await WithTimeout(clock_, kTimeout, "REST logout", logout(side_->rest));
  (void)co_await WithTimeout(clock_, kTimeout, "logout", logout(*session_));
  co_await http_->Close();
}

}  // namespace vck::node
