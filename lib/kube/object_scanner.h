// One pass over an object inside a larger text; used by Object, lists and watch events.
#pragma once

#include "kube/object.h"
#include "kube/scan.h"

namespace vck::kube {

struct ObjectScanner {
  // `cursor` walks `text` and stands before the object; it ends after it.
  static StatusOr<ObjectPtr> Scan(JsonCursor& cursor, std::string_view text);

 private:
  struct Found;
  static bool Metadata(JsonCursor& cursor, Found* found, Object* object);
};

}  // namespace vck::kube
