#include "vsphere/update_set.h"

#include <algorithm>

#include <pugixml.hpp>

#include "absl/strings/str_cat.h"
#include "vimtypes/wire_impl.h"

namespace vck::vsphere {
namespace {

bool HasElements(const pugi::xml_node& node) {
  return std::ranges::any_of(node.children(), [](const pugi::xml_node& n) { return n.type() == pugi::node_element; });
}

// An option's value is of any type; the keys that matter here hold text.
std::pair<std::string, std::string> ParseOption(const pugi::xml_node& node) {
  std::pair<std::string, std::string> option;
  for (pugi::xml_node child = node.first_child(); child; child = child.next_sibling()) {
    std::string_view tag = vim::LocalName(child);
    if (tag == "key") option.first = vim::Text(child);
    if (tag == "value") option.second = vim::Text(child);
  }
  return option;
}

void ParseValue(const pugi::xml_node& node, PropertyValue& property) {
  std::string_view type = vim::XsiType(node);
  if (!node || (type.empty() && !node.first_child())) return;
  property.set = true;
  if (type == "OptionValue") {
    property.options.push_back(ParseOption(node));
  } else if (type == "ArrayOfOptionValue") {
    for (const pugi::xml_node& item : node.children()) property.options.push_back(ParseOption(item));
  } else if (type == "LocalizedMethodFault") {
    property.fault = std::make_shared<const vim::Fault>(vim::GetFault(node));
  } else if (type == "VirtualMachineQuestionInfo") {
    auto question = std::make_shared<vim::VirtualMachineQuestionInfo>();
    vim::Get(node, *question);
    property.question = std::move(question);
  } else if (type != "ManagedObjectReference" && type != "boolean" && type != "int" && type != "long" &&
             type != "short" && type != "byte" && type != "double" && type != "float" && !HasElements(node)) {
    property.value = std::string(vim::Text(node));  // text, dates and enums, whatever the enum is called
  } else if (!vim::GetAny(node, property.value)) {
    property.set = false;
  }
}

void ParseMissing(const pugi::xml_node& node, ObjectChange& object) {
  vim::Fault fault = vim::GetFault(vim::Child(node, "fault"));
  object.missing.emplace_back(vim::Text(vim::Child(node, "path")), std::move(fault.type));
}

void ParseChange(const pugi::xml_node& node, PropertyValue& property) {
  bool removed = false;
  pugi::xml_node value;
  for (pugi::xml_node child = node.first_child(); child; child = child.next_sibling()) {
    std::string_view tag = vim::LocalName(child);
    if (tag == "name") {
      property.name = vim::Text(child);
    } else if (tag == "op") {
      std::string_view op = vim::Text(child);
      removed = op == "remove" || op == "indirectRemove";
    } else if (tag == "val") {
      value = child;
    }
  }
  if (!removed) ParseValue(value, property);
}

size_t ChildCount(const pugi::xml_node& node) {
  size_t count = 0;
  for (pugi::xml_node child = node.first_child(); child; child = child.next_sibling()) ++count;
  return count;
}

ObjectChange ParseObjectUpdate(const pugi::xml_node& node) {
  ObjectChange object;
  object.changes.reserve(ChildCount(node));
  for (pugi::xml_node child = node.first_child(); child; child = child.next_sibling()) {
    std::string_view tag = vim::LocalName(child);
    if (tag == "kind") {
      std::string_view kind = vim::Text(child);
      object.kind = kind == "enter"   ? ObjectChange::Kind::kEnter
                    : kind == "leave" ? ObjectChange::Kind::kLeave
                                      : ObjectChange::Kind::kModify;
    } else if (tag == "obj") {
      object.object = vim::GetRef(child);
    } else if (tag == "changeSet") {
      ParseChange(child, object.changes.emplace_back());
    } else if (tag == "missingSet") {
      ParseMissing(child, object);
    }
  }
  return object;
}

const std::string* AsText(const PropertyValue& property) { return std::get_if<std::string>(&property.value); }

std::string TextOf(const PropertyValue& property) {
  const std::string* text = AsText(property);
  return property.set && text != nullptr ? *text : std::string();
}

int64_t NumberOf(const PropertyValue& property, int64_t otherwise = 0) {
  if (!property.set) return otherwise;
  if (const auto* wide = std::get_if<int64_t>(&property.value)) return *wide;
  if (const auto* narrow = std::get_if<int32_t>(&property.value)) return *narrow;
  return otherwise;
}

bool BoolOf(const PropertyValue& property) {
  const bool* value = std::get_if<bool>(&property.value);
  return property.set && value != nullptr && *value;
}

constexpr std::string_view kExtraConfig = "config.extraConfig";

// config.extraConfig["key"], also followed by .value: the key. Empty for other names.
std::string_view KeyOf(std::string_view name) {
  if (!name.starts_with(kExtraConfig) || name.size() < kExtraConfig.size() + 4) return {};
  name.remove_prefix(kExtraConfig.size());
  size_t end = name.rfind("\"]");
  if (!name.starts_with("[\"") || end == std::string_view::npos || end < 2) return {};
  return name.substr(2, end - 2);
}

void ApplyOption(const RecordKeys& keys, std::string_view key, std::string value, vim::VmRecord& record) {
  if (key == keys.pod) {
    record.pod_key = std::move(value);
  } else if (key == keys.guest) {
    record.guest_key = std::move(value);
  }
}

void ApplyExtraConfig(const RecordKeys& keys, const PropertyValue& property, vim::VmRecord& record) {
  std::string_view key = KeyOf(property.name);
  if (key.empty()) {  // the whole array
    record.pod_key.clear();
    record.guest_key.clear();
    for (const auto& [name, value] : property.options) ApplyOption(keys, name, value, record);
    return;
  }
  ApplyOption(keys, key, property.options.empty() ? TextOf(property) : property.options.front().second, record);
}

}  // namespace

StatusOr<std::optional<UpdateSet>> ParseUpdateSet(const vim::Reply& reply) {
  pugi::xml_node root = reply.returnval();
  if (!root) return std::nullopt;
  UpdateSet set;
  for (const pugi::xml_node& child : root.children()) {
    std::string_view tag = vim::LocalName(child);
    if (tag == "version") {
      set.version = vim::Text(child);
    } else if (tag == "truncated") {
      set.truncated = vim::Text(child) == "true" || vim::Text(child) == "1";
    } else if (tag == "filterSet") {
      set.objects.reserve(set.objects.size() + ChildCount(child));
      for (pugi::xml_node item = child.first_child(); item; item = item.next_sibling()) {
        if (vim::LocalName(item) == "objectSet") {
          set.objects.push_back(ParseObjectUpdate(item));
        } else if (vim::LocalName(item) == "missingSet") {
          // MissingObject: an object that the filter selects but may not be seen, or has gone meanwhile.
          ObjectChange object;
          object.object = vim::GetRef(vim::Child(item, "obj"));
          object.missing.emplace_back("", vim::GetFault(vim::Child(item, "fault")).type);
          set.objects.push_back(std::move(object));
        }
      }
    }
  }
  if (set.version.empty()) return absl::InternalError("update set without a version");
  return set;
}

StatusOr<std::vector<ObjectChange>> ParseObjects(const vim::Reply& reply, std::string* token) {
  std::vector<ObjectChange> objects;
  token->clear();
  for (const pugi::xml_node& child : reply.returnval().children()) {
    std::string_view tag = vim::LocalName(child);
    if (tag == "token") *token = vim::Text(child);
    if (tag != "objects") continue;
    ObjectChange& object = objects.emplace_back();
    object.kind = ObjectChange::Kind::kEnter;
    for (const pugi::xml_node& item : child.children()) {
      std::string_view name = vim::LocalName(item);
      if (name == "obj") {
        object.object = vim::GetRef(item);
      } else if (name == "propSet") {
        PropertyValue& property = object.changes.emplace_back();
        property.name = vim::Text(vim::Child(item, "name"));
        ParseValue(vim::Child(item, "val"), property);
      } else if (name == "missingSet") {
        ParseMissing(item, object);
      }
    }
    if (object.object.empty()) return absl::InternalError("object content without a reference");
  }
  return objects;
}

void ApplyChange(const RecordKeys& keys, const ObjectChange& change, vim::VmRecord& record) {
  if (change.kind == ObjectChange::Kind::kEnter) record = {};
  record.vm = change.object;
  for (const PropertyValue& p : change.changes) {
    if (p.name == "name") {
      record.name = TextOf(p);
    } else if (p.name == "config.files.vmPathName") {
      record.path = TextOf(p);
    } else if (p.name == "runtime.powerState") {
      record.power = vim::ParsePowerState(TextOf(p));
    } else if (p.name == "runtime.connectionState") {
      record.connection = vim::ParseConnectionState(TextOf(p));
    } else if (p.name == "runtime.host") {
      const auto* host = std::get_if<MoRef>(&p.value);
      record.host = host != nullptr ? *host : MoRef();
    } else if (p.name == "runtime.question") {
      record.question_id = p.question ? p.question->id : "";
      record.question_text = p.question ? p.question->text : "";
    } else if (p.name == "config.template") {
      record.is_template = BoolOf(p);
    } else if (p.name == "guest.ipAddress") {
      record.guest_ip = TextOf(p);
    } else if (p.name == "guest.toolsRunningStatus") {
      record.tools_running = TextOf(p) == "guestToolsRunning";
    } else if (p.name.starts_with(kExtraConfig)) {
      ApplyExtraConfig(keys, p, record);
    }
  }
  if (change.kind == ObjectChange::Kind::kEnter || !change.missing.empty()) record.incomplete = !change.missing.empty();
}

bool RefusesKeyedPaths(const ObjectChange& change) {
  return std::ranges::any_of(change.missing, [](const auto& missing) {
    return missing.second == "InvalidProperty" && missing.first.starts_with(kExtraConfig);
  });
}

bool SaysNotAuthenticated(const ObjectChange& change) {
  return std::ranges::any_of(change.missing, [](const auto& missing) { return missing.second == "NotAuthenticated"; });
}

void ApplyChange(const ObjectChange& change, TaskProgress& task) {
  if (change.kind == ObjectChange::Kind::kEnter) task = {};
  for (const PropertyValue& p : change.changes) {
    if (p.name == "info.state") {
      task.state = TextOf(p);
    } else if (p.name == "info.result") {
      task.result = p.set ? p.value : vim::Any();
    } else if (p.name == "info.error") {
      task.error = p.fault ? std::optional(*p.fault) : std::nullopt;
    }
  }
}

int64_t Capacity::UsableCpuMhz() const {
  int64_t mhz = pool_max_cpu_mhz > 0 ? pool_max_cpu_mhz : effective_cpu_mhz;
  if (effective_cpu_mhz > 0) mhz = std::min(mhz, effective_cpu_mhz);
  if (pool_cpu_limit_mhz >= 0) mhz = std::min(mhz, pool_cpu_limit_mhz);
  return mhz;
}

int64_t Capacity::UsableMemoryMb() const {
  int64_t mb = pool_max_memory_bytes > 0 ? pool_max_memory_bytes >> 20 : effective_memory_mb;
  if (effective_memory_mb > 0) mb = std::min(mb, effective_memory_mb);
  if (pool_memory_limit_mb >= 0) mb = std::min(mb, pool_memory_limit_mb);
  return mb;
}

void ApplyChange(const ObjectChange& change, Capacity& c) {
  if (change.object.type == "Datastore") {
    if (change.kind == ObjectChange::Kind::kLeave) {
      c.datastores.erase(change.object.value);
      return;
    }
    Capacity::Datastore& datastore = c.datastores[change.object.value];
    for (const PropertyValue& p : change.changes) {
      if (p.name == "name") datastore.name = TextOf(p);
      if (p.name == "summary.freeSpace") datastore.free_bytes = NumberOf(p);
      if (p.name == "summary.capacity") datastore.capacity_bytes = NumberOf(p);
      if (p.name == "summary.accessible") datastore.accessible = BoolOf(p);
      if (p.name == "summary.maintenanceMode") datastore.maintenance_mode = TextOf(p);
    }
    return;
  }
  for (const PropertyValue& p : change.changes) {
    if (p.name == "summary.effectiveCpu") {
      c.effective_cpu_mhz = NumberOf(p);
    } else if (p.name == "summary.effectiveMemory") {
      c.effective_memory_mb = NumberOf(p);
    } else if (p.name == "summary.totalCpu") {
      c.total_cpu_mhz = NumberOf(p);
    } else if (p.name == "summary.numCpuCores") {
      c.cpu_cores = static_cast<int>(NumberOf(p));
    } else if (p.name == "summary.numCpuThreads") {
      c.cpu_threads = static_cast<int>(NumberOf(p));
    } else if (p.name == "summary.numHosts") {
      c.hosts = static_cast<int>(NumberOf(p));
    } else if (p.name == "summary.numEffectiveHosts") {
      c.effective_hosts = static_cast<int>(NumberOf(p));
    } else if (p.name == "configuration.drsConfig.enabled" || p.name == "configurationEx.drsConfig.enabled") {
      if (p.set) c.drs_enabled = BoolOf(p);  // servers have one or both
    } else if (p.name == "runtime.cpu.maxUsage") {
      c.pool_max_cpu_mhz = NumberOf(p);
    } else if (p.name == "runtime.memory.maxUsage") {
      c.pool_max_memory_bytes = NumberOf(p);
    } else if (p.name == "runtime.memory.overallUsage") {
      c.pool_used_memory_bytes = NumberOf(p, -1);
    } else if (p.name == "runtime.cpu.overallUsage") {
      c.pool_used_cpu_mhz = NumberOf(p, -1);
    } else if (p.name == "config.cpuAllocation.limit") {
      c.pool_cpu_limit_mhz = NumberOf(p, -1);
    } else if (p.name == "config.cpuAllocation.reservation") {
      c.pool_cpu_reservation_mhz = NumberOf(p);
    } else if (p.name == "config.memoryAllocation.limit") {
      c.pool_memory_limit_mb = NumberOf(p, -1);
    } else if (p.name == "config.memoryAllocation.reservation") {
      c.pool_memory_reservation_mb = NumberOf(p);
    }
  }
}

}  // namespace vck::vsphere
