// JSON as views: parse into an arena, read through typed accessors that never fail: an absent field, or one of another
// type, reads as the fallback. What must be there is checked by whoever needs it.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>

#include <boost/json/array.hpp>
#include <boost/json/monotonic_resource.hpp>
#include <boost/json/object.hpp>
#include <boost/json/value.hpp>

#include "base/status.h"

namespace vck::json {

using Value = boost::json::value;
using Object = boost::json::object;
using Array = boost::json::array;

// InvalidArgument with the offset where it broke. Nesting up to 128; numbers as int64, uint64 or double.
StatusOr<Value> Parse(std::string_view text, boost::json::storage_ptr storage = {});
std::string Serialize(const Value& value);

// A parsed text with its arena. The views handed out live as long as this.
class Document {
 public:
  static StatusOr<Document> Parse(std::string_view text);
  [[nodiscard]] const Value& root() const { return parts_->root; }

 private:
  struct Parts {
    boost::json::monotonic_resource arena;
    Value root;
    explicit Parts(size_t hint) : arena(hint), root(nullptr, &arena) {}
  };
  explicit Document(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
  std::unique_ptr<Parts> parts_;
};

// The member `key` of an object; null if `value` is null, no object, or has no such member (or it is JSON null).
const Value* Get(const Value* value, std::string_view key);
inline const Value* Get(const Value& value, std::string_view key) { return Get(&value, key); }
// Follows several keys: Path(pod, {"spec", "containers"}).
const Value* Path(const Value& value, std::initializer_list<std::string_view> keys);

std::string_view String(const Value* value, std::string_view key, std::string_view fallback = {});
int64_t Int(const Value* value, std::string_view key, int64_t fallback = 0);
bool Bool(const Value* value, std::string_view key, bool fallback = false);
inline std::string_view String(const Value& v, std::string_view key, std::string_view fallback = {}) {
  return String(&v, key, fallback);
}
inline int64_t Int(const Value& v, std::string_view key, int64_t fallback = 0) { return Int(&v, key, fallback); }
inline bool Bool(const Value& v, std::string_view key, bool fallback = false) { return Bool(&v, key, fallback); }
// The elements of an array member, or none.
const Array& Items(const Value* value, std::string_view key);
inline const Array& Items(const Value& v, std::string_view key) { return Items(&v, key); }
// The members of an object member, or none.
const Object& Members(const Value* value, std::string_view key);
inline const Object& Members(const Value& v, std::string_view key) { return Members(&v, key); }
// The text of a string value, or "".
std::string_view AsString(const Value& value);

}  // namespace vck::json
