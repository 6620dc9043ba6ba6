#include "node/spec_sync.h"

#include <algorithm>
#include <utility>

#include "absl/hash/hash.h"
#include "absl/strings/str_cat.h"
#include "async/task_group.h"
#include "guestapi/frame.h"

namespace vck::node {
namespace {

// The source of the spec of a pod that is over.
constexpr std::string_view kOver = "over";

// Of a member of the metadata, whose changes leave the generation as it is.
size_t HashOf(const kubeapi::PodView& pod, std::string_view field) {
  size_t hash = 0;
  for (const auto& member : json::Members(pod.metadata(), field)) {
    hash += absl::HashOf(std::string_view(member.key().data(), member.key().size()), json::AsString(member.value()));
  }
  return hash;
}

// Of all but the revision.
size_t HashOf(guestapi::GuestSpec& spec) {
  const int64_t revision = std::exchange(spec.revision, 0);
  const size_t hash = absl::HashOf(guestapi::EncodeFrame(spec));
  spec.revision = revision;
  return hash;
}

}  // namespace

SpecSync::SpecSync(Executor executor, kube::Client& client, Deps deps, SpecSyncOptions options)
    : executor_(executor),
      deps_(std::move(deps)),
      options_(std::move(options)),
      references_(executor, client, deps_.changed),
      tokens_(executor, client, deps_.changed),
      services_(deps_.all_changed),
      service_reflector_(client, services_,
                         {.collection = {kube::kServices, "", ""},
                          .streaming_list = options_.streaming_list,
                          .page_size = options_.page_size}) {}

Task<Status> SpecSync::Run() {
  TaskGroup group(executor_);
  group.Spawn("references", references_.Run());
  group.Spawn("tokens", tokens_.Run());
  group.Spawn("services", service_reflector_.Run());
  co_return co_await group.Join();
}

std::string SpecSync::SourceOf(const Pod& pod) {
  std::string source = absl::StrCat(pod.view.generation(), "/", pod.ip, "/", HashOf(pod.view, "labels"), "/",
                                    HashOf(pod.view, "annotations"));
  // The deadline counts from it.
  if (pod.view.active_deadline_seconds()) absl::StrAppend(&source, "/", json::String(pod.view.status(), "startTime"));
  for (const auto& [reference, id] : pod.images) absl::StrAppend(&source, "/", reference, "=", id);
  for (const podvm::ObjectRef& ref : podvm::ReferencedObjects(pod.view)) {
    const podvm::LookupResult found = references_.Lookup(pod.view, ref);
    absl::StrAppend(&source, "/", static_cast<int>(found.state), ":", found.version, found.error);
  }
  for (const podvm::TokenRef& ref : podvm::ReferencedTokens(pod.view)) {
    const podvm::TokenResult found = tokens_.Get(pod.view, ref);
    absl::StrAppend(&source, "/", static_cast<int>(found.state), ":", absl::HashOf(found.token), found.error);
  }
  return source;
}

void SpecSync::Sync(const Pod& pod, PodMemory& memory) {
  const std::string uid(pod.view.uid());
  if (kubeapi::IsTerminal(pod.view.phase())) {
    if (memory.spec_source != kOver) Release(uid);
    memory.spec_source = kOver;
    memory.unresolved = {};
    return;
  }
  auto services = services_.EnvOf(pod.view);
  std::string source = absl::StrCat(SourceOf(pod), services == nullptr ? "/" : "");
  if (memory.spec_source == source) return;
  podvm::ResolveInputs inputs;
  inputs.pod = &pod.view;
  // Larger than any that an earlier kubelet pushed, as long as clocks do not run back.
  inputs.revision = std::max<int64_t>(absl::ToUnixMicros(pod.now), memory.spec_revision + 1);
  inputs.pod_ip = pod.ip;
  inputs.host_ip = options_.host_ip;
  inputs.node_name = options_.node_name;
  inputs.allocatable = deps_.allocatable();
  inputs.lookup = [&](const podvm::ObjectRef& ref) { return references_.Lookup(pod.view, ref); };
  inputs.token = [&](const podvm::TokenRef& ref) { return tokens_.Get(pod.view, ref); };
  inputs.service_env = services.get();
  inputs.dns = options_.dns;
  inputs.log_max_bytes = options_.log_max_bytes;
  inputs.log_max_files = options_.log_max_files;
  inputs.images = pod.images;
  podvm::ResolveResult result = podvm::ResolveSpec(inputs);
  memory.spec_source = std::move(source);

  podvm::Verdict unresolved;
  if (result.spec) {
    // What changes nothing for the guest is no new revision.
    if (const size_t hash = HashOf(*result.spec); hash != memory.spec_hash || memory.spec_revision == 0) {
      memory.spec_hash = hash;
      memory.spec_revision = result.spec->revision;
    }
    if (memory.pushed_revision < memory.spec_revision) {
      result.spec->revision = memory.spec_revision;
      memory.spec = std::make_shared<const guestapi::GuestSpec>(*std::move(result.spec));
    }
  } else if (memory.lacks_spec() && !result.reason.empty()) {
    unresolved = podvm::Verdict::Wait(std::move(result.reason), std::move(result.message));
  }
  Tell(pod, std::move(result.events), memory);
  if (memory.unresolved.kind != unresolved.kind || memory.unresolved.message != unresolved.message) {
    memory.unresolved = std::move(unresolved);
    deps_.events.status_changed(uid);
  }
}

// Each thing once, and again when it has been otherwise in between.
void SpecSync::Tell(const Pod& pod, std::vector<podvm::ResolveResult::Event> events, PodMemory& memory) {
  std::set<podvm::ResolveResult::Event> now;
  for (auto& event : events) {
    if (!now.insert(event).second || memory.spec_events.contains(event)) continue;
    deps_.events.event(pod.object, event.warning, event.reason, event.message);
  }
  memory.spec_events = std::move(now);
}

void SpecSync::Release(const std::string& uid) {
  references_.Release(uid);
  tokens_.Release(uid);
  services_.Release(uid);
}

}  // namespace vck::node
