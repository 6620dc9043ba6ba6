#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "json/json.h"
#include "kube/object.h"
#include "kube/watch_stream.h"

using vck::kube::ObjectPtr;

namespace {

// What a reader of the stream sees; pieces of the given size.
std::vector<std::string> Read(std::string_view text, size_t piece) {
  vck::kube::WatchStream stream(4096);
  std::vector<std::string> seen;
  for (size_t i = 0; i < text.size(); i += piece) {
    std::string chunk(text.substr(i, piece));
    stream.Feed(chunk);
    while (true) {
      auto event = stream.Next();
      if (!event.ok()) {
        seen.emplace_back("error");
        return seen;
      }
      if (!*event) break;
      seen.push_back((*event)->object ? (*event)->object->json() : (*event)->error);
    }
  }
  return seen;
}

void Check(bool condition) {
  if (!condition) std::abort();
}

// For real JSON the copy is the same document without managedFields, and the index tells the truth.
void CheckObject(std::string_view text, const ObjectPtr& object) {
  auto original = vck::json::Parse(text);
  if (!original.ok() || !original->is_object()) return;
  auto copy = vck::json::Parse(object->json());
  Check(copy.ok() && copy->is_object());
  if (const auto* metadata = vck::json::Get(*copy, "metadata")) {
    // Keys written twice are nobody's business.
    size_t names = 0;
    for (size_t at = text.find("metadata"); at != std::string_view::npos; at = text.find("metadata", at + 1)) ++names;
    if (names == 1 && metadata->is_object() && text.find('\\') == std::string_view::npos) {
      size_t managed = text.find("managedFields");
      if (managed != std::string_view::npos && text.find("managedFields", managed + 1) == std::string_view::npos &&
          vck::json::Path(*original, {"metadata", "managedFields"}) != nullptr) {
        Check(vck::json::Get(metadata, "managedFields") == nullptr);
      }
    }
  }
}

}  // namespace

// The first byte says in which pieces the rest arrives; the events must not depend on it. The rest is also read as an
// object and as a list.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  auto whole = Read(text, std::max<size_t>(text.size(), 1));
  auto pieces = Read(text, 1 + data[0] % 61);
  // One that is too long is found earlier in pieces; what came before is the same.
  size_t common = std::min(whole.size(), pieces.size());
  for (size_t i = 0; i < common; ++i) Check(whole[i] == pieces[i]);
  Check(whole.size() == pieces.size());
  if (auto object = vck::kube::Object::Parse(text); object.ok()) CheckObject(text, *object);
  (void)vck::kube::ParseList(text);
  return 0;
}
