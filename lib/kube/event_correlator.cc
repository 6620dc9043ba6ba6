#include <algorithm>

#include "absl/strings/str_format.h"
#include "json/json.h"
#include "kube/events.h"

namespace vck::kube {
namespace {

std::string Quote(std::string_view text) { return json::Serialize(json::Value(text)); }

std::string Stamp(absl::Time t) { return absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", t, absl::UTCTimeZone()); }

std::string_view TypeName(EventType type) { return type == EventType::kNormal ? "Normal" : "Warning"; }

// The name may have 253 characters; the stamp takes 17 with its dot.
std::string EventName(const std::string& object, absl::Time t) {
  return absl::StrFormat("%s.%016x", object.substr(0, 236), absl::ToUnixNanos(t));
}

std::string Body(const EventOptions& options, const InvolvedObject& o, EventType type, const std::string& reason,
                 const std::string& message, const std::string& ns, const std::string& name, int count,
                 absl::Time first, absl::Time last) {
  std::string out = absl::StrCat(R"({"kind":"Event","apiVersion":"v1","metadata":{"name":)", Quote(name),
                                 R"(,"namespace":)", Quote(ns), R"(},"involvedObject":{"kind":)", Quote(o.kind),
                                 R"(,"apiVersion":)", Quote(o.api_version), R"(,"name":)", Quote(o.name));
  if (!o.ns.empty()) absl::StrAppend(&out, R"(,"namespace":)", Quote(o.ns));
  if (!o.uid.empty()) absl::StrAppend(&out, R"(,"uid":)", Quote(o.uid));
  if (!o.resource_version.empty()) absl::StrAppend(&out, R"(,"resourceVersion":)", Quote(o.resource_version));
  if (!o.field_path.empty()) absl::StrAppend(&out, R"(,"fieldPath":)", Quote(o.field_path));
  absl::StrAppend(&out, R"(},"type":")", TypeName(type), R"(","reason":)", Quote(reason), R"(,"message":)",
                  Quote(message), R"(,"source":{"component":)", Quote(options.component), R"(,"host":)",
                  Quote(options.host), "}");
  absl::StrAppend(&out, R"(,"firstTimestamp":")", Stamp(first), R"(","lastTimestamp":")", Stamp(last), R"(","count":)",
                  count, R"(,"eventTime":null,"reportingComponent":)", Quote(options.component),
                  R"(,"reportingInstance":)", Quote(options.host), "}");
  return out;
}

}  // namespace

template <class V>
V* EventCorrelator::Cache<V>::Find(const Key& key) {
  auto it = index_.find(key);
  if (it == index_.end()) return nullptr;
  order_.splice(order_.begin(), order_, it->second);
  return &it->second->second;
}

template <class V>
V& EventCorrelator::Cache<V>::Put(const Key& key, V value, size_t limit) {
  Erase(key);
  order_.emplace_front(key, std::move(value));
  index_[key] = order_.begin();
  if (order_.size() > limit) {
    index_.erase(order_.back().first);
    order_.pop_back();
  }
  return order_.front().second;
}

template <class V>
void EventCorrelator::Cache<V>::Erase(const Key& key) {
  auto it = index_.find(key);
  if (it == index_.end()) return;
  order_.erase(it->second);
  index_.erase(it);
}

EventCorrelator::Action EventCorrelator::Observe(const InvolvedObject& object, EventType type,
                                                 const std::string& reason, const std::string& original, Instant now,
                                                 absl::Time wall) {
  // The source is one and the same here, so it is in no key.
  std::string about =
      absl::StrCat(object.kind, "\n", object.ns, "\n", object.name, "\n", object.uid, "\n", object.api_version);
  const Key object_key = FingerprintOf(about);
  Bucket* bucket = spam_.Find(object_key);
  if (bucket == nullptr) bucket = &spam_.Put(object_key, {options_.spam_burst, now}, options_.cache);
  double refill = absl::FDivDuration(now - bucket->last, options_.spam_refill);
  bucket->tokens = std::min(options_.spam_burst, bucket->tokens + refill);
  bucket->last = now;
  if (bucket->tokens < 1) return Drop{};
  bucket->tokens -= 1;

  std::string group = absl::StrCat(about, "\n", TypeName(type), "\n", reason);
  const Key group_key = FingerprintOf(group);
  Similar* similar = similar_.Find(group_key);
  if (similar == nullptr) {
    similar = &similar_.Put(group_key, {}, options_.cache);
  } else if (now - similar->last > options_.similar_window) {
    similar->messages.clear();
  }
  similar->last = now;
  similar->messages.insert(FingerprintOf(original));
  std::string message = original;
  Key key = FingerprintOf(absl::StrCat(group, "\n", object.field_path, "\n", original));
  if (similar->messages.size() >= static_cast<size_t>(options_.max_similar)) {
    similar->messages.erase(similar->messages.begin());
    message = "(combined from similar events): " + original;
    key = group_key;
  }

  std::string ns = object.ns.empty() ? "default" : object.ns;
  Seen* seen = seen_.Find(key);
  if (seen != nullptr && seen->stored) {
    ++seen->count;
    std::string patch = absl::StrCat(R"({"count":)", seen->count, R"(,"lastTimestamp":")", Stamp(wall),
                                     R"(","message":)", Quote(message), "}");
    return Patch{key, ns, seen->name, std::move(patch),
                 Body(options_, object, type, reason, message, ns, seen->name, seen->count, seen->first, wall)};
  }
  Seen fresh{.name = EventName(object.name, wall), .count = 1, .first = wall};
  std::string body = Body(options_, object, type, reason, message, ns, fresh.name, 1, wall, wall);
  std::string name = fresh.name;
  seen_.Put(key, std::move(fresh), options_.cache);
  return Create{key, std::move(ns), std::move(name), std::move(body)};
}

void EventCorrelator::Stored(const Key& key) {
  if (Seen* seen = seen_.Find(key)) seen->stored = true;
}

void EventCorrelator::Failed(const Key& key) { seen_.Erase(key); }

}  // namespace vck::kube
