// How a reply's returnval becomes a value. Included by results.gen.cc only.
#pragma once

#include <optional>
#include <vector>

#include "vimtypes/methods.gen.h"
#include "vimtypes/soap.h"
#include "vimtypes/wire_impl.h"

namespace vck::vimtypes {

template <class Result>
Outcome<Result> Decode(const Reply& reply) {
  Result result{};
  bool ok = true;
  bool found = false;
  for (const pugi::xml_node& node : reply.root().children()) {
    if (LocalName(node) != "returnval") continue;
    found = true;
    ok &= Get(node, result);
    if constexpr (!kIsVector<Result>) break;
  }
  if (!ok) return absl::InternalError(absl::StrCat("malformed value in ", LocalName(reply.root())));
  if (!found && !kIsVector<Result> && !kIsOptional<Result>) {
    return absl::InternalError(absl::StrCat(LocalName(reply.root()), " has no return value"));
  }
  return result;
}

template <class Object>
StatusOr<Object> FromRaw(const RawXml& raw) {
  pugi::xml_document document;
  std::string text = absl::StrCat("<value>", raw.xml, "</value>");
  Object object{};
  bool ok = static_cast<bool>(document.load_buffer_inplace(text.data(), text.size()));
  if constexpr (kIsVector<Object>) {  // ArrayOfXxx
    for (const pugi::xml_node& item : document.document_element().children()) ok &= Get(item, object);
  } else {
    ok = ok && Get(document.document_element(), object);
  }
  if (!ok) return absl::InternalError(absl::StrCat("malformed ", raw.type));
  return object;
}

}  // namespace vck::vimtypes
