#include "guestapi/state.h"

#include "guestapi/container_json.h"
#include "guestapi/fields.h"

namespace vck::guestapi {
namespace {

using internal::Fields;
using internal::Put;

constexpr std::string_view kPhases[] = {"waiting", "running", "terminated"};

// ContainerState and Termination share these.
template <class T>
void PutRun(json::Object* out, const T& run) {
  Put(out, "id", run.id);
  Put(out, "reason", run.reason);
  Put(out, "message", run.message);
  Put(out, "exitCode", run.exit_code);
  Put(out, "signal", run.signal);
  Put(out, "startedAt", run.started_at);
  Put(out, "finishedAt", run.finished_at);
}

template <class T>
void ReadRun(Fields* in, T* run) {
  in->Read("id", &run->id);
  in->Read("reason", &run->reason);
  in->Read("message", &run->message);
  in->Read("exitCode", &run->exit_code, std::numeric_limits<int>::min());
  in->Read("signal", &run->signal, 0);
  in->Read("startedAt", &run->started_at);
  in->Read("finishedAt", &run->finished_at);
}

json::Object ToJson(const ContainerState& container, const boost::json::storage_ptr& storage) {
  json::Object out(storage);
  Put(&out, "name", container.name);
  Put(&out, "phase", kPhases[static_cast<size_t>(container.phase)]);
  PutRun(&out, container);
  Put(&out, "restartCount", container.restart_count);
  Put(&out, "started", container.started);
  Put(&out, "ready", container.ready);
  Put(&out, "imageId", container.image_id);
  if (container.resources) {
    json::Object resources(storage);
    internal::PutResources(&resources, *container.resources);
    out["resources"] = std::move(resources);
  }
  if (container.last) {
    json::Object last(storage);
    PutRun(&last, *container.last);
    out["last"] = std::move(last);
  }
  return out;
}

json::Object ToJson(const GuestEvent& event, const boost::json::storage_ptr& storage) {
  json::Object out(storage);
  Put(&out, "number", event.number);
  Put(&out, "warning", event.warning);
  Put(&out, "container", event.container);
  Put(&out, "reason", event.reason);
  Put(&out, "message", event.message);
  Put(&out, "at", event.at);
  if (event.count != 1) out["count"] = event.count;
  return out;
}

StatusOr<GuestEvent> EventFromJson(const json::Value& value, std::string where) {
  GuestEvent out;
  Fields in(value, std::move(where));
  in.Read("number", &out.number, 1);
  in.Require("number", out.number > 0);
  in.Read("warning", &out.warning);
  in.Read("container", &out.container);
  in.Read("reason", &out.reason);
  in.Require("reason", !out.reason.empty());
  in.Read("message", &out.message);
  in.Read("at", &out.at);
  in.Read("count", &out.count, 1);
  RETURN_IF_ERROR(in.status());
  return out;
}

StatusOr<ContainerState> ContainerFromJson(const json::Value& value, const std::string& where) {
  ContainerState out;
  Fields in(value, where);
  in.Read("name", &out.name);
  in.Require("name", !out.name.empty());
  in.Read("phase", &out.phase, kPhases);
  in.Require("phase", in.Member("phase") != nullptr);
  ReadRun(&in, &out);
  in.Read("restartCount", &out.restart_count, 0);
  in.Read("started", &out.started);
  in.Read("ready", &out.ready);
  in.Read("imageId", &out.image_id);
  if (const json::Value* member = in.Member("resources"); member != nullptr) {
    Fields resources(*member, in.Name("resources."));
    out.resources = internal::ReadResources(&resources);
    in.Check(resources.status());
  }
  if (const json::Value* member = in.Member("last"); member != nullptr) {
    Fields last(*member, in.Name("last."));
    ReadRun(&last, &out.last.emplace());
    in.Check(last.status());
  }
  RETURN_IF_ERROR(in.status());
  return out;
}

}  // namespace

json::Object ToJson(const GuestState& state, const boost::json::storage_ptr& storage) {
  json::Object out(storage);
  Put(&out, "version", kVersion);
  Put(&out, "bootId", state.boot_id);
  if (state.first_boot != state.boot_id) Put(&out, "firstBoot", state.first_boot);
  Put(&out, "sequence", state.sequence);
  Put(&out, "podUid", state.pod_uid);
  Put(&out, "specRevision", state.spec_revision);
  Put(&out, "generation", state.generation);
  Put(&out, "guestNow", state.guest_now);
  Put(&out, "stopping", state.stopping);
  Put(&out, "deadlineExceeded", state.deadline_exceeded);
  Put(&out, "evicted", state.evicted);
  Put(&out, "resizeInfeasible", state.resize_infeasible);
  Put(&out, "resizeError", state.resize_error);
  Put(&out, "finished", state.finished);
  json::Array containers(storage);
  for (const ContainerState& container : state.containers) containers.push_back(ToJson(container, storage));
  out["containers"] = std::move(containers);
  json::Array events(storage);
  for (const GuestEvent& event : state.events) events.push_back(ToJson(event, storage));
  if (!events.empty()) out["events"] = std::move(events);
  return out;
}

StatusOr<GuestState> StateFromJson(const json::Value& value) {
  GuestState out;
  Fields in(value, "");
  int version = kVersion;
  in.Read("version", &version, kVersion, kVersion);
  in.Read("bootId", &out.boot_id);
  in.Require("bootId", !out.boot_id.empty());
  in.Read("firstBoot", &out.first_boot);
  in.Read("sequence", &out.sequence, 1);
  in.Require("sequence", out.sequence > 0);
  in.Read("podUid", &out.pod_uid);
  in.Read("specRevision", &out.spec_revision, 0);
  in.Read("generation", &out.generation, 0);
  in.Read("guestNow", &out.guest_now);
  in.Require("guestNow", in.Member("guestNow") != nullptr);
  in.Read("stopping", &out.stopping);
  in.Read("deadlineExceeded", &out.deadline_exceeded);
  in.Read("evicted", &out.evicted);
  in.Read("resizeInfeasible", &out.resize_infeasible);
  in.Read("resizeError", &out.resize_error);
  in.Read("finished", &out.finished);
  for (const json::Value& item : in.Items("containers")) {
    ASSIGN_OR_RETURN(auto container, ContainerFromJson(item, absl::StrCat("containers[", out.containers.size(), "].")));
    out.containers.push_back(std::move(container));
  }
  for (const json::Value& item : in.Items("events")) {
    ASSIGN_OR_RETURN(auto event, EventFromJson(item, absl::StrCat("events[", out.events.size(), "].")));
    out.events.push_back(std::move(event));
  }
  RETURN_IF_ERROR(in.status());
  return out;
}

std::string Encode(const GuestState& state) {
  boost::json::monotonic_resource arena;
  return json::Serialize(ToJson(state, &arena));
}

StatusOr<GuestState> DecodeState(std::string_view text) {
  ASSIGN_OR_RETURN(auto document, json::Document::Parse(text));
  return StateFromJson(document.root());
}

}  // namespace vck::guestapi
