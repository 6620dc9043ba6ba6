// Encoding by appending to a string, decoding from pugixml nodes. Included by .cc files only.
#pragma once

#include <charconv>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include <pugixml.hpp>

#include "vimtypes/wire.h"

namespace vck::vimtypes {

// ---- writing ----

// Text with & < > " and control characters escaped as XML 1.0 needs it. Characters that XML can't hold become U+FFFD.
void AppendEscaped(std::string& out, std::string_view text);
void AppendOpen(std::string& out, std::string_view name, std::string_view xsi_type = {});
void AppendClose(std::string& out, std::string_view name);
void PutText(std::string& out, std::string_view name, std::string_view text);
void PutRef(std::string& out, std::string_view name, const MoRef& ref);
void PutAny(std::string& out, std::string_view name, const Any& value);
void PutFault(std::string& out, std::string_view name, const Fault& fault);
void PutDouble(std::string& out, std::string_view name, double value);

std::string Begin(std::string_view method, const MoRef& self);
std::string Finish(std::string body, std::string_view method);

template <class T>
inline constexpr bool kIsOptional = false;
template <class T>
inline constexpr bool kIsOptional<std::optional<T>> = true;
template <class T>
inline constexpr bool kIsVector = false;
template <class T>
inline constexpr bool kIsVector<std::vector<T>> = true;
template <class T>
inline constexpr bool kIsShared = false;
template <class T>
inline constexpr bool kIsShared<std::shared_ptr<T>> = true;

template <class T>
void Put(std::string& out, std::string_view name, const T& value) {
  if constexpr (kIsOptional<T>) {
    if (value.has_value()) Put(out, name, *value);
  } else if constexpr (kIsVector<T>) {
    for (const auto& item : value) Put(out, name, item);
  } else if constexpr (kIsShared<T>) {
    if (value == nullptr) return;
    std::string_view type = value->TypeName();
    AppendOpen(out, name, type == T::element_type::kWsdlName ? std::string_view() : type);
    if (value->raw_type.empty()) {
      value->EncodeFields(out);
    } else {
      out += value->raw_xml;
    }
    AppendClose(out, name);
  } else if constexpr (std::is_same_v<T, std::string>) {
    PutText(out, name, value);
  } else if constexpr (std::is_same_v<T, bool>) {
    PutText(out, name, value ? "true" : "false");
  } else if constexpr (std::is_integral_v<T>) {
    char digits[24];
    PutText(out, name, std::string_view(digits, std::to_chars(digits, digits + sizeof digits, value).ptr - digits));
  } else if constexpr (std::is_floating_point_v<T>) {
    PutDouble(out, name, value);
  } else if constexpr (std::is_same_v<T, MoRef>) {
    PutRef(out, name, value);
  } else if constexpr (std::is_same_v<T, Any>) {
    PutAny(out, name, value);
  } else if constexpr (std::is_same_v<T, Fault>) {
    PutFault(out, name, value);
  } else {
    AppendOpen(out, name);
    EncodeFields(out, value);
    AppendClose(out, name);
  }
}

// ---- reading ----

// Names without their prefix; servers differ in prefixes.
std::string_view LocalName(std::string_view qualified);
inline std::string_view LocalName(const pugi::xml_node& node) { return LocalName(node.name()); }
// The local part of xsi:type (whatever the prefix is called), empty without one.
std::string_view XsiType(const pugi::xml_node& node);
std::string_view Text(const pugi::xml_node& node);
pugi::xml_node Child(const pugi::xml_node& node, std::string_view local_name);
// The content of an element as RawXml holds it.
std::string Normalize(const pugi::xml_node& node);

bool ParseInt(std::string_view text, int64_t min, int64_t max, int64_t& value);
bool ParseBool(std::string_view text, bool& value);
bool ParseDouble(std::string_view text, double& value);
MoRef GetRef(const pugi::xml_node& node);
bool GetAny(const pugi::xml_node& node, Any& value);
// An element of type LocalizedMethodFault, or a bare fault.
Fault GetFault(const pugi::xml_node& node);

template <class T>
bool Get(const pugi::xml_node& node, T& value) {
  if constexpr (kIsOptional<T>) {
    return Get(node, value.emplace());
  } else if constexpr (kIsVector<T>) {
    return Get(node, value.emplace_back());
  } else if constexpr (kIsShared<T>) {
    using Object = typename T::element_type;
    std::string_view type = XsiType(node);
    if (type.empty()) {
      value = std::make_shared<Object>();
    } else {
      value = std::dynamic_pointer_cast<Object>(Make(type, static_cast<const Object*>(nullptr)));
      if (value == nullptr) {
        value = std::make_shared<Object>();
        value->raw_type = type;
        value->raw_xml = Normalize(node);
      }
    }
    bool ok = true;
    for (const pugi::xml_node& child : node.children()) ok &= value->DecodeField(LocalName(child), child);
    return ok;
  } else if constexpr (std::is_same_v<T, std::string>) {
    value = Text(node);
    return true;
  } else if constexpr (std::is_same_v<T, bool>) {
    return ParseBool(Text(node), value);
  } else if constexpr (std::is_integral_v<T>) {
    int64_t wide = 0;
    if (!ParseInt(Text(node), std::numeric_limits<T>::min(), std::numeric_limits<T>::max(), wide)) return false;
    value = static_cast<T>(wide);
    return true;
  } else if constexpr (std::is_floating_point_v<T>) {
    return ParseDouble(Text(node), value);
  } else if constexpr (std::is_same_v<T, MoRef>) {
    value = GetRef(node);
    return true;
  } else if constexpr (std::is_same_v<T, Any>) {
    return GetAny(node, value);
  } else if constexpr (std::is_same_v<T, Fault>) {
    value = GetFault(node);
    return true;
  } else {
    bool ok = true;
    for (const pugi::xml_node& child : node.children()) ok &= DecodeField(LocalName(child), child, value);
    return ok;
  }
}

}  // namespace vck::vimtypes
