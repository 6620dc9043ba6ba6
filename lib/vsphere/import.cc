#include "vsphere/import.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "async/task_group.h"
#include "async/timeout.h"
#include "base/log.h"

namespace vck::vsphere {
namespace {

struct Lease {
  MoRef ref;
  vim::HttpNfcLeaseInfo info;
};

// Waits until the lease is ready. There are few imports and they take long: asking now and then is cheap.
Task<StatusOr<vim::HttpNfcLeaseInfo>> Ready(Clock& clock, Calls& calls, MoRef lease) {
  Backoff backoff({.initial = absl::Milliseconds(50), .max = absl::Seconds(2), .jitter = 0});
  while (true) {
    CO_ASSIGN_OR_RETURN(std::vector<ObjectChange> found, co_await calls.Retrieve({lease}, {"state", "info", "error"}));
    std::string state;
    const vim::RawXml* info = nullptr;
    std::shared_ptr<const vim::Fault> error;
    for (const ObjectChange& object : found) {
      for (const PropertyValue& p : object.changes) {
        if (const auto* text = std::get_if<std::string>(&p.value); p.name == "state" && text != nullptr) state = *text;
        if (p.name == "info") info = std::get_if<vim::RawXml>(&p.value);
        if (p.name == "error") error = p.fault;
      }
    }
    if (state == "ready") {
      if (info == nullptr) co_return absl::InternalError("a lease that is ready has no info");
      co_return vim::FromRaw<vim::HttpNfcLeaseInfo>(*info);
    }
    if (state == "error" || state == "done") {
      co_return vim::FaultStatus(error ? *error : vim::Fault{.type = "MethodFault", .message = "the lease ended"});
    }
    co_await clock.Sleep(backoff.Next());
  }
}

Task<StatusOr<http::Response>> Put(Calls& calls, ClientFactory clients, std::string url_text, std::string thumbprint,
                                   const ImportDisk& disk, absl::Duration timeout) {
  const http::Url& home = calls.session().options().origin;
  // "https://*/nfc/…": whoever was asked for the lease takes the bytes.
  if (size_t star = url_text.find("://*"); star != std::string::npos) {
    url_text.replace(star + 3, 1, home.host.empty() ? "localhost" : home.HostPort());
  }
  CO_ASSIGN_OR_RETURN(http::Url url, http::ParseUrl(url_text));
  bool here = url.host == home.host && url.port == home.port;
  std::shared_ptr<http::Client> other;
  if (!here) {
    CO_ASSIGN_OR_RETURN(other, clients(url, std::move(thumbprint)));
  }
  http::Request request{.method = "POST",
                        .target = url.query.empty() ? url.path : absl::StrCat(url.path, "?", url.query),
                        .headers = {{"Content-Type", "application/x-vnd.vmware-streamVmdk"}}};
  if (here) request.headers.Add("Cookie", calls.session().cookie());
  http::Client& client = here ? calls.session().client() : *other;
  StatusOr<http::Response> response =
      co_await client.Upload(std::move(request), disk.size, disk.open(), {.timeout = timeout});
  if (other != nullptr) co_await other->Close();
  co_return response;
}

Task<Status> UploadAll(Calls& calls, ClientFactory clients, const ImportRequest& request,
                       const vim::HttpNfcLeaseInfo& info) {
  size_t next = 0;
  for (const vim::HttpNfcLeaseDeviceUrl& device : info.deviceUrl) {
    if (!device.disk.value_or(true)) continue;
    if (next == request.disks.size()) co_return absl::InternalError("the lease has more disks than the import");
    const ImportDisk& disk = request.disks[next++];
    CO_ASSIGN_OR_RETURN(http::Response response,
                        co_await Put(calls, clients, device.url, device.sslThumbprint, disk, request.timeout));
    if (response.status >= 300) {
      co_return absl::UnavailableError(absl::StrCat("disk upload: HTTP status ", response.status));
    }
  }
  if (next != request.disks.size()) co_return absl::InternalError("the lease has fewer disks than the import");
  co_return absl::OkStatus();
}

// A lease ends when nothing is heard of it for its time-out.
Task<Status> KeepLease(Clock& clock, Session& session, MoRef lease, absl::Duration interval) {
  while (true) {
    co_await clock.Sleep(interval);
    Status status = co_await session.Invoke(vim::HttpNfcLeaseProgress(lease, 50));
    if (!status.ok()) LogV(1, "Import lease was not renewed", {{"error", status}});
  }
}

// Uploads with KeepLease beside it.
Task<Status> Transfer(Clock& clock, Calls& calls, ClientFactory clients, const ImportRequest& request,
                      const Lease& lease) {
  TaskGroup keeper(co_await asio::this_coro::executor);
  absl::Duration interval = absl::Seconds(std::max(2, lease.info.leaseTimeout)) / 4;
  keeper.Spawn("lease", KeepLease(clock, calls.session(), lease.ref, interval));
  Status status;
  bool cancelled = false;
  try {
    status = co_await UploadAll(calls, std::move(clients), request, lease.info);
  } catch (const boost::system::system_error& e) {
    if (!IsCancelled(e)) throw;
    cancelled = true;
  }
  if (cancelled) co_await asio::this_coro::reset_cancellation_state(asio::disable_cancellation());
  keeper.Cancel();
  (void)co_await keeper.Join();
  if (cancelled) status = absl::CancelledError("import");
  co_return status;
}

}  // namespace

Task<StatusOr<MoRef>> ImportVm(Clock& clock, Calls& calls, ClientFactory clients, ImportRequest request) {
  Session& session = calls.session();
  auto spec = std::make_shared<vim::VirtualMachineImportSpec>();
  spec->configSpec = request.spec;
  Lease lease;
  CO_ASSIGN_OR_RETURN(lease.ref,
                      co_await session.Invoke(vim::ImportVApp(request.pool, spec, request.folder, request.host)));
  StatusOr<vim::HttpNfcLeaseInfo> info =
      co_await WithTimeout(clock, absl::Minutes(5), "the import lease", Ready(clock, calls, lease.ref));
  Status status = info.status();
  if (info.ok()) {
    lease.info = *std::move(info);
    status = co_await Transfer(clock, calls, std::move(clients), request, lease);
    if (status.ok()) status = co_await session.Invoke(vim::HttpNfcLeaseComplete(lease.ref));
  }
  if (!status.ok()) {
    Status aborted = co_await session.Invoke(vim::HttpNfcLeaseAbort(lease.ref, std::nullopt));
    if (!aborted.ok()) LogV(1, "Import lease was not aborted", {{"error", aborted}});
    if (absl::IsCancelled(status)) ThrowCancelled();
    co_return Annotate(status, "import");
  }
  co_return lease.info.entity;
}

}  // namespace vck::vsphere
