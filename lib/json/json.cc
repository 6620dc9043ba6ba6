#include "json/json.h"

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/stream_parser.hpp>

namespace vck::json {
namespace {

Status ParseInto(std::string_view text, boost::json::storage_ptr storage, Value* out) {
  boost::json::parse_options options;
  options.max_depth = 128;
  // Scratch space of the parser itself; a pod fits.
  unsigned char scratch[4096];
  boost::json::stream_parser parser({}, options, scratch);
  parser.reset(storage);
  boost::json::error_code ec;
  size_t used = parser.write_some(text.data(), text.size(), ec);
  if (!ec && used < text.size()) ec = boost::json::make_error_code(boost::json::error::extra_data);
  if (!ec) parser.finish(ec);
  if (ec) return absl::InvalidArgumentError(absl::StrCat("not JSON: ", ec.message(), " at byte ", used));
  *out = parser.release();
  return absl::OkStatus();
}

}  // namespace

StatusOr<Value> Parse(std::string_view text, boost::json::storage_ptr storage) {
  Value value(storage);
  RETURN_IF_ERROR(ParseInto(text, storage, &value));
  return value;
}

std::string Serialize(const Value& value) { return boost::json::serialize(value); }

StatusOr<Document> Document::Parse(std::string_view text) {
  // Measured: a pod's DOM takes some four times its text.
  auto parts = std::make_unique<Parts>(std::max<size_t>(1024, text.size() * 3));
  RETURN_IF_ERROR(ParseInto(text, &parts->arena, &parts->root));
  return Document(std::move(parts));
}

const Value* Get(const Value* value, std::string_view key) {
  if (value == nullptr) return nullptr;
  const Object* object = value->if_object();
  if (object == nullptr) return nullptr;
  const Value* member = object->if_contains(key);
  return member == nullptr || member->is_null() ? nullptr : member;
}

const Value* Path(const Value& value, std::initializer_list<std::string_view> keys) {
  const Value* at = &value;
  for (std::string_view key : keys) at = Get(at, key);
  return at;
}

std::string_view String(const Value* value, std::string_view key, std::string_view fallback) {
  const Value* member = Get(value, key);
  return member != nullptr && member->is_string() ? AsString(*member) : fallback;
}

int64_t Int(const Value* value, std::string_view key, int64_t fallback) {
  const Value* member = Get(value, key);
  if (member == nullptr) return fallback;
  boost::system::error_code ec;
  int64_t number = member->to_number<int64_t>(ec);
  return ec ? fallback : number;
}

bool Bool(const Value* value, std::string_view key, bool fallback) {
  const Value* member = Get(value, key);
  return member != nullptr && member->is_bool() ? member->get_bool() : fallback;
}

const Array& Items(const Value* value, std::string_view key) {
  static const Array kNone;
  const Value* member = Get(value, key);
  return member != nullptr && member->is_array() ? member->get_array() : kNone;
}

const Object& Members(const Value* value, std::string_view key) {
  static const Object kNone;
  const Value* member = Get(value, key);
  return member != nullptr && member->is_object() ? member->get_object() : kNone;
}

std::string_view AsString(const Value& value) {
  if (!value.is_string()) return {};
  const auto& text = value.get_string();
  return {text.data(), text.size()};
}

}  // namespace vck::json
