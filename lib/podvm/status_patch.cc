#include "absl/strings/str_cat.h"
#include "podvm/pod_status.h"

namespace vck::podvm {
namespace {

using kubeapi::Condition;
using kubeapi::PodView;
using State = ContainerStatus::State;

// JSON text, written front to back.
class Writer {
 public:
  explicit Writer(std::string* out) : out_(*out) {}

  void Open(char bracket) {
    Comma();
    out_ += bracket;
  }
  void Open(std::string_view key, char bracket) {
    Key(key);
    out_ += bracket;
  }
  void Close(char bracket) { out_ += bracket; }
  void Field(std::string_view key, std::string_view value) {
    Key(key);
    String(value);
  }
  // Nothing where the value is empty.
  void Given(std::string_view key, std::string_view value) {
    if (!value.empty()) Field(key, value);
  }
  void Field(std::string_view key, int64_t value) {
    Key(key);
    absl::StrAppend(&out_, value);
  }
  void Bool(std::string_view key, bool value) {
    Key(key);
    out_ += value ? "true" : "false";
  }
  void Json(std::string_view key, const json::Value* value) {
    if (value == nullptr || !value->is_object() || value->get_object().empty()) return;
    Key(key);
    out_ += json::Serialize(*value);
  }
  void Null(std::string_view key) {
    Key(key);
    out_ += "null";
  }

 private:
  void Comma() {
    if (out_.empty()) return;
    const char last = out_.back();
    if (last != '{' && last != '[' && last != ':') out_ += ',';
  }
  void Key(std::string_view key) {
    Comma();
    absl::StrAppend(&out_, "\"", key, "\":");
  }
  void String(std::string_view text) {
    static constexpr char kHex[] = "0123456789abcdef";
    out_ += '"';
    for (char c : text) {
      const auto byte = static_cast<unsigned char>(c);
      if (c == '"' || c == '\\') {
        out_ += '\\';
        out_ += c;
      } else if (byte < 0x20 || byte == 0x7f) {
        out_ += "\\u00";
        out_ += kHex[byte >> 4];
        out_ += kHex[byte & 15];
      } else {
        out_ += c;
      }
    }
    out_ += '"';
  }

  std::string& out_;
};

void Write(Writer& w, std::string_view key, const Terminated& t) {
  w.Open(key, '{');
  w.Open("terminated", '{');
  w.Field("exitCode", t.exit_code);
  if (t.signal != 0) w.Field("signal", t.signal);
  w.Given("reason", t.reason);
  w.Given("message", t.message);
  w.Given("startedAt", t.started_at);
  w.Given("finishedAt", t.finished_at);
  w.Given("containerID", t.container_id);
  w.Close('}');
  w.Close('}');
}

void Write(Writer& w, const ContainerStatus& c) {
  w.Open('{');
  w.Field("name", c.name);
  w.Field("image", c.image);
  w.Field("imageID", c.image_id);
  w.Given("containerID", c.container_id);
  w.Field("restartCount", c.restart_count);
  w.Bool("ready", c.ready);
  w.Bool("started", c.started);
  w.Json("allocatedResources", c.allocated);
  if (json::Get(c.resources, "limits") != nullptr || json::Get(c.resources, "requests") != nullptr) {
    w.Open("resources", '{');
    w.Json("limits", json::Get(c.resources, "limits"));
    w.Json("requests", json::Get(c.resources, "requests"));
    w.Close('}');
  }
  if (c.last) Write(w, "lastState", *c.last);
  if (c.state == State::kTerminated) {
    Write(w, "state", c.terminated);
  } else {
    w.Open("state", '{');
    if (c.state == State::kRunning) {
      w.Open("running", '{');
      w.Given("startedAt", c.started_at);
    } else {
      w.Open("waiting", '{');
      w.Given("reason", c.reason);
      w.Given("message", c.message);
    }
    w.Close('}');
    w.Close('}');
  }
  w.Close('}');
}

// These lists have no merge key: one difference replaces the whole.
void WriteContainers(Writer& w, const PodView& pod, std::string_view field, const std::vector<ContainerStatus>& list) {
  const json::Array& have = json::Items(pod.status(), field);
  bool same = have.size() == list.size();
  for (size_t i = 0; same && i < list.size(); ++i)
    same = Same(list[i], pod.ContainerStatus(list[i].kind, list[i].name));
  if (same) return;
  w.Open(field, '[');
  for (const ContainerStatus& c : list) Write(w, c);
  w.Close(']');
}

// podIPs and hostIPs merge by `ip`, so that others have to be removed by name of the directive.
void WriteIp(Writer& w, const PodView& pod, std::string_view one, std::string_view all, std::string_view ip) {
  if (ip.empty()) return;
  if (json::String(pod.status(), one) != ip) w.Field(one, ip);
  const json::Array& have = json::Items(pod.status(), all);
  if (have.size() == 1 && json::String(have.front(), "ip") == ip) return;
  w.Open(all, '[');
  if (!have.empty()) {
    w.Open('{');
    w.Field("$patch", "replace");
    w.Close('}');
  }
  w.Open('{');
  w.Field("ip", ip);
  w.Close('}');
  w.Close(']');
}

void WriteText(Writer& w, const PodView& pod, std::string_view field, std::string_view value) {
  const std::string_view have = json::String(pod.status(), field);
  if (have == value) return;
  if (value.empty()) {
    w.Null(field);
  } else {
    w.Field(field, value);
  }
}

void Write(Writer& w, const Condition& c) {
  w.Open('{');
  w.Field("type", c.type);
  w.Field("status", c.status);
  w.Field("lastTransitionTime", c.last_transition_time);
  w.Null("lastProbeTime");
  // A reason or message of before would stay if it were only left out.
  if (c.reason.empty()) {
    w.Null("reason");
  } else {
    w.Field("reason", c.reason);
  }
  if (c.message.empty()) {
    w.Null("message");
  } else {
    w.Field("message", c.message);
  }
  if (c.observed_generation != 0) w.Field("observedGeneration", c.observed_generation);
  w.Close('}');
}

}  // namespace

std::string PatchOf(const PodView& pod, PodStatus& status, absl::Time now) {
  std::string out = "{\"status\":{";
  const size_t empty = out.size();
  Writer w(&out);
  WriteText(w, pod, "phase", kubeapi::PhaseName(status.phase));
  WriteText(w, pod, "reason", status.reason);
  WriteText(w, pod, "message", status.message);
  WriteIp(w, pod, "hostIP", "hostIPs", status.host_ip);
  WriteIp(w, pod, "podIP", "podIPs", status.pod_ip);
  if (!status.start_time.empty() && json::String(pod.status(), "startTime").empty())
    w.Field("startTime", status.start_time);
  if (pod.qos_class().empty()) w.Given("qosClass", status.qos_class);
  WriteContainers(w, pod, "initContainerStatuses", status.init);
  WriteContainers(w, pod, "containerStatuses", status.main);
  WriteContainers(w, pod, "ephemeralContainerStatuses", status.ephemeral);

  bool changed[16] = {};
  bool any = out.size() != empty;
  for (size_t i = 0; i < status.conditions.size() && i < std::size(changed); ++i) {
    Condition& c = status.conditions[i];
    c.observed_generation = status.observed_generation;
    changed[i] = kubeapi::Transition(pod.Condition(c.type), now, &c);
    any |= changed[i];
  }
  std::erase_if(status.removed_conditions, [&](std::string_view type) { return pod.Condition(type) == nullptr; });
  any |= !status.removed_conditions.empty();
  // A server that does not know observedGeneration drops it: alone it is written only where one was kept before.
  const int64_t observed = json::Int(pod.status(), "observedGeneration");
  const bool generation = observed != status.observed_generation && (observed != 0 || any);
  if (!any && !generation) return {};
  if (generation) w.Field("observedGeneration", status.observed_generation);
  bool open = false;
  for (size_t i = 0; i < status.conditions.size() && i < std::size(changed); ++i) {
    if (!changed[i] && !generation) continue;
    if (!open) w.Open("conditions", '[');
    open = true;
    Write(w, status.conditions[i]);
  }
  for (std::string_view type : status.removed_conditions) {
    if (!open) w.Open("conditions", '[');
    open = true;
    w.Open('{');
    w.Field("$patch", "delete");
    w.Field("type", type);
    w.Close('}');
  }
  if (open) w.Close(']');
  w.Close('}');
  w.Open("metadata", '{');
  w.Field("uid", pod.uid());
  w.Close('}');
  w.Close('}');
  return out;
}

}  // namespace vck::podvm
