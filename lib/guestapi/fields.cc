#include "guestapi/fields.h"

namespace vck::guestapi::internal {

Fields::Fields(const json::Value& value, std::string where) : value_(value), where_(std::move(where)) {
  if (!value_.is_object()) {
    std::string_view name =
        where_.empty() ? std::string_view("it") : std::string_view(where_).substr(0, where_.size() - 1);
    status_ = absl::InvalidArgumentError(absl::StrCat(name, " is not an object"));
  }
}

void Fields::Fail(std::string_view key, std::string_view what) {
  if (status_.ok()) status_ = absl::InvalidArgumentError(absl::StrCat(where_, key, " ", what));
}

void Fields::Read(std::string_view key, std::string* out) {
  const json::Value* value = Find(key);
  if (value == nullptr) return;
  if (!value->is_string()) return Fail(key, "is not a string");
  *out = json::AsString(*value);
}

void Fields::Read(std::string_view key, bool* out) {
  const json::Value* value = Find(key);
  if (value == nullptr) return;
  if (!value->is_bool()) return Fail(key, "is not true or false");
  *out = value->get_bool();
}

void Fields::Read(std::string_view key, int64_t* out, int64_t min, int64_t max) {
  const json::Value* value = Find(key);
  if (value == nullptr) return;
  boost::system::error_code ec;
  int64_t number = value->to_number<int64_t>(ec);
  if (ec) return Fail(key, "is not a whole number");
  if (number < min || number > max) return Fail(key, absl::StrCat("is not between ", min, " and ", max));
  *out = number;
}

void Fields::Read(std::string_view key, int* out, int min, int max) {
  int64_t number = *out;
  Read(key, &number, int64_t{min}, int64_t{max});
  *out = static_cast<int>(number);
}

void Fields::Read(std::string_view key, absl::Time* out) {
  const json::Value* value = Find(key);
  if (value == nullptr) return;
  int64_t nanos = 0;
  Read(key, &nanos, std::numeric_limits<int64_t>::min());
  *out = absl::FromUnixNanos(nanos);
}

void Fields::Read(std::string_view key, std::vector<std::string>* out) {
  for (const json::Value& item : Items(key)) {
    if (!item.is_string()) return Fail(key, "has an element that is not a string");
    out->emplace_back(json::AsString(item));
  }
}

void Fields::Read(std::string_view key, std::vector<std::pair<std::string, std::string>>* out) {
  for (const json::Value& item : Items(key)) {
    const json::Array* pair = item.if_array();
    if (pair == nullptr || pair->size() != 2 || !(*pair)[0].is_string() || !(*pair)[1].is_string()) {
      return Fail(key, "has an element that is not a pair of strings");
    }
    out->emplace_back(json::AsString((*pair)[0]), json::AsString((*pair)[1]));
  }
}

const json::Array& Fields::Items(std::string_view key) {
  static const json::Array kNone;
  const json::Value* value = Find(key);
  if (value == nullptr) return kNone;
  if (!value->is_array()) {
    Fail(key, "is not an array");
    return kNone;
  }
  return value->get_array();
}

const json::Value* Fields::Member(std::string_view key) { return Find(key); }

void Put(json::Object* object, std::string_view key, std::string_view value) {
  if (!value.empty()) (*object)[key] = value;
}

void Put(json::Object* object, std::string_view key, bool value) {
  if (value) (*object)[key] = true;
}

void Put(json::Object* object, std::string_view key, int64_t value) {
  if (value != 0) (*object)[key] = value;
}

void Put(json::Object* object, std::string_view key, absl::Time value) {
  if (value != absl::InfinitePast() && value != absl::InfiniteFuture()) (*object)[key] = absl::ToUnixNanos(value);
}

void Put(json::Object* object, std::string_view key, const std::vector<std::string>& value) {
  if (value.empty()) return;
  json::Array array(object->storage());
  for (const std::string& item : value) array.emplace_back(std::string_view(item));
  (*object)[key] = std::move(array);
}

void Put(json::Object* object, std::string_view key, const std::vector<std::pair<std::string, std::string>>& value) {
  if (value.empty()) return;
  json::Array array(object->storage());
  for (const auto& [first, second] : value) {
    array.push_back(json::Array({std::string_view(first), std::string_view(second)}, object->storage()));
  }
  (*object)[key] = std::move(array);
}

}  // namespace vck::guestapi::internal
