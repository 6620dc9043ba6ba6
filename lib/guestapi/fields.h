// Reading JSON members strictly: absent (or null) reads as the default, another type is an error that names the field.
// Not for other layers.
#pragma once

#include <limits>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "base/status.h"
#include "json/json.h"

namespace vck::guestapi::internal {

// The members of one object. The first mistake is kept; whoever reads looks at status() in the end.
class Fields {
 public:
  // `where` begins the names in errors, as in "containers[2].".
  Fields(const json::Value& value, std::string where);

  void Read(std::string_view key, std::string* out);
  void Read(std::string_view key, bool* out);
  void Read(std::string_view key, int64_t* out, int64_t min, int64_t max = std::numeric_limits<int64_t>::max());
  void Read(std::string_view key, int* out, int min, int max = std::numeric_limits<int>::max());
  void Read(std::string_view key, absl::Time* out);
  void Read(std::string_view key, std::vector<std::string>* out);
  // [["a","b"],…]: keeps order and duplicates.
  void Read(std::string_view key, std::vector<std::pair<std::string, std::string>>* out);
  // One of `names`; its index.
  template <class Enum, size_t N>
  void Read(std::string_view key, Enum* out, const std::string_view (&names)[N]) {
    const json::Value* value = Find(key);
    if (value == nullptr) return;
    for (size_t i = 0; i < N; ++i) {
      if (value->is_string() && json::AsString(*value) == names[i]) {
        *out = static_cast<Enum>(i);
        return;
      }
    }
    Fail(key, "is none of the known values");
  }
  // The elements of an array, or none.
  const json::Array& Items(std::string_view key);
  // An object, or null if absent.
  const json::Value* Member(std::string_view key);

  void Require(std::string_view key, bool condition) {
    if (!condition) Fail(key, "is missing");
  }
  void Fail(std::string_view key, std::string_view what);
  void Check(Status status) {
    if (status_.ok()) status_ = std::move(status);
  }
  [[nodiscard]] const Status& status() const { return status_; }
  [[nodiscard]] std::string Name(std::string_view key) const { return absl::StrCat(where_, key); }

 private:
  const json::Value* Find(std::string_view key) const { return json::Get(value_, key); }

  const json::Value& value_;
  std::string where_;
  Status status_;
};

// Members are written only where they differ from the default.
void Put(json::Object* object, std::string_view key, std::string_view value);
void Put(json::Object* object, std::string_view key, bool value);
void Put(json::Object* object, std::string_view key, int64_t value);
void Put(json::Object* object, std::string_view key, absl::Time value);
void Put(json::Object* object, std::string_view key, const std::vector<std::string>& value);
void Put(json::Object* object, std::string_view key, const std::vector<std::pair<std::string, std::string>>& value);
// A literal is no bool.
inline void Put(json::Object* object, std::string_view key, const char* value) {
  Put(object, key, std::string_view(value));
}
inline void Put(json::Object* object, std::string_view key, const std::string& value) {
  Put(object, key, std::string_view(value));
}
inline void Put(json::Object* object, std::string_view key, int value) { Put(object, key, int64_t{value}); }

}  // namespace vck::guestapi::internal
