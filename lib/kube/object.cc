#include "kube/object.h"

#include <limits>

#include "absl/strings/numbers.h"
#include "kube/object_scanner.h"
#include "kube/scan.h"

namespace vck::kube {
namespace {

// A string without escapes, or null (which leaves *out alone).
bool PlainString(JsonCursor& cursor, std::string_view* out) {
  if (cursor.Peek() != '"') {
    std::string_view literal;
    return cursor.Literal(&literal) && literal == "null";
  }
  std::string_view raw;
  bool escaped = false;
  if (!cursor.String(&raw, &escaped) || escaped) return false;
  *out = raw;
  return true;
}

template <class T>
bool Integer(JsonCursor& cursor, T* out) {
  std::string_view raw;
  if (!cursor.Literal(&raw)) return false;
  T value = 0;
  if (absl::SimpleAtoi(raw, &value)) *out = value;
  return true;
}

}  // namespace

// What one pass over an object finds, as views of the source.
struct ObjectScanner::Found {
  std::string_view name, ns, uid, resource_version, deletion;
  size_t cut_begin = 0, cut_end = 0;  // managedFields with a comma beside it
};

bool ObjectScanner::Metadata(JsonCursor& cursor, Found* found, Object* object) {
  if (cursor.Peek() != '{') return cursor.Skip();
  bool first = true;
  size_t previous_end = 0;  // after the value before: where its comma is, or will be
  return WalkObject(cursor, [&](std::string_view key, size_t key_offset) {
    bool ok = true;
    if (key == "name") {
      ok = PlainString(cursor, &found->name);
    } else if (key == "namespace") {
      ok = PlainString(cursor, &found->ns);
    } else if (key == "uid") {
      ok = PlainString(cursor, &found->uid);
    } else if (key == "resourceVersion") {
      ok = PlainString(cursor, &found->resource_version);
    } else if (key == "deletionTimestamp") {
      ok = PlainString(cursor, &found->deletion);
    } else if (key == "generation") {
      ok = Integer(cursor, &object->generation_);
    } else if (key == "annotations" && cursor.Peek() == '{') {
      ok = WalkObject(cursor, [&](std::string_view annotation, size_t) {
        std::string_view value;
        bool escaped = false;
        if (annotation != "k8s.io/initial-events-end" || cursor.Peek() != '"') return cursor.Skip();
        if (!cursor.String(&value, &escaped)) return false;
        object->initial_events_end_ = value == "true";
        return true;
      });
    } else if (key == "managedFields" && found->cut_end == 0) {
      ok = cursor.Skip();
      size_t end = cursor.offset();
      if (ok && cursor.Peek() == ',') {
        found->cut_begin = key_offset;
        found->cut_end = cursor.offset() + 1;
      } else {
        found->cut_begin = first ? key_offset : previous_end;
        found->cut_end = end;
      }
    } else {
      ok = cursor.Skip();
    }
    first = false;
    previous_end = cursor.offset();
    return ok;
  });
}

StatusOr<ObjectPtr> ObjectScanner::Scan(JsonCursor& cursor, std::string_view text) {
  auto object = std::make_shared<Object>();
  Found found;
  bool metadata = false;
  cursor.Peek();
  size_t begin = cursor.offset();
  bool ok = WalkObject(cursor, [&](std::string_view key, size_t) {
    if (key == "metadata") {
      metadata = true;
      return Metadata(cursor, &found, object.get());
    }
    if (key == "immutable" && cursor.Peek() != '"') {
      std::string_view literal;
      if (cursor.Peek() == '{' || cursor.Peek() == '[') return cursor.Skip();
      if (!cursor.Literal(&literal)) return false;
      object->immutable_ = literal == "true";
      return true;
    }
    return cursor.Skip();
  });
  if (!ok) {
    return absl::InvalidArgumentError(
        absl::StrCat("expected a JSON object of the Kubernetes API; it breaks at byte ", cursor.offset()));
  }
  if (!metadata) return absl::InvalidArgumentError("expected an object with metadata");
  size_t end = cursor.offset();
  if (end - begin > std::numeric_limits<uint32_t>::max()) return absl::InvalidArgumentError("an object over 4 GiB");
  size_t cut = found.cut_end - found.cut_begin;
  if (cut == 0) found.cut_begin = found.cut_end = end;
  object->json_.reserve(end - begin - cut);
  object->json_.append(text.substr(begin, found.cut_begin - begin));
  object->json_.append(text.substr(found.cut_end, end - found.cut_end));
  auto place = [&](std::string_view part) {
    if (part.empty()) return Object::Span{};
    size_t offset = static_cast<size_t>(part.data() - text.data());
    if (offset >= found.cut_end) offset -= cut;
    return Object::Span{static_cast<uint32_t>(offset - begin), static_cast<uint32_t>(part.size())};
  };
  object->name_ = place(found.name);
  object->ns_ = place(found.ns);
  object->uid_ = place(found.uid);
  object->resource_version_ = place(found.resource_version);
  if (!found.deletion.empty()) {
    if (!absl::ParseTime(absl::RFC3339_full, found.deletion, &object->deletion_, nullptr)) {
      return absl::InvalidArgumentError("metadata.deletionTimestamp: expected a time as in RFC 3339");
    }
    object->deleting_ = true;
  }
  return ObjectPtr(std::move(object));
}

StatusOr<ObjectPtr> Object::Parse(std::string_view json) {
  JsonCursor cursor(json);
  ASSIGN_OR_RETURN(ObjectPtr object, ObjectScanner::Scan(cursor, json));
  if (cursor.Peek() != '\0' || cursor.offset() != json.size()) {
    return absl::InvalidArgumentError(absl::StrCat("unexpected text after the object, at byte ", cursor.offset()));
  }
  return object;
}

std::string Object::Key() const { return ns_.size == 0 ? std::string(name()) : absl::StrCat(ns(), "/", name()); }

StatusOr<ObjectList> ParseList(std::string_view json) {
  ObjectList list;
  JsonCursor cursor(json);
  bool items = false;
  Status bad;
  bool ok = WalkObject(cursor, [&](std::string_view key, size_t) {
    if (key == "metadata" && cursor.Peek() == '{') {
      return WalkObject(cursor, [&](std::string_view field, size_t) {
        if (field == "resourceVersion" || field == "continue") {
          std::string_view value;
          if (!PlainString(cursor, &value)) return false;
          (field == "continue" ? list.continue_token : list.resource_version) = std::string(value);
          return true;
        }
        if (field == "remainingItemCount") return Integer(cursor, &list.remaining);
        return cursor.Skip();
      });
    }
    if (key == "items" && cursor.Peek() == '[') {
      items = true;
      return WalkArray(cursor, [&] {
        auto object = ObjectScanner::Scan(cursor, json);
        if (!object.ok()) {
          bad = object.status();
          return false;
        }
        list.items.push_back(*std::move(object));
        return true;
      });
    }
    // Go writes an empty slice of some types as null.
    if (key == "items") items = true;
    return cursor.Skip();
  });
  if (!bad.ok()) return Annotate(bad, absl::StrCat("items[", list.items.size(), "]"));
  if (!ok) {
    return absl::InvalidArgumentError(absl::StrCat("expected a list as JSON; it breaks at byte ", cursor.offset()));
  }
  if (!items) return absl::InvalidArgumentError("expected a list: there is no field `items`");
  return list;
}

std::optional<int> CompareResourceVersions(std::string_view a, std::string_view b) {
  for (std::string_view* v : {&a, &b}) {
    if (v->empty() || v->find_first_not_of("0123456789") != std::string_view::npos) return std::nullopt;
    v->remove_prefix(std::min(v->find_first_not_of('0'), v->size()));
  }
  if (a.size() != b.size()) return a.size() < b.size() ? -1 : 1;
  int order = a.compare(b);
  return order < 0 ? -1 : order > 0 ? 1 : 0;
}

}  // namespace vck::kube
