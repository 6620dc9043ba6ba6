// What the generated types are made of: references, values of any type, faults, and how a request is held.
#pragma once

#include <compare>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace pugi {
class xml_node;
}

namespace vck::vimtypes {

// A managed object of the server's: the type's name on the wire and an opaque id ("VirtualMachine", "vm-12").
struct MoRef {
  std::string type;
  std::string value;
  [[nodiscard]] bool empty() const { return value.empty(); }
  [[nodiscard]] std::string ToString() const { return type + ":" + value; }
  friend auto operator<=>(const MoRef&, const MoRef&) = default;
  template <typename H>
  friend H AbslHashValue(H h, const MoRef& ref) {
    return H::combine(std::move(h), ref.type, ref.value);
  }
};

// A value whose type is not known here, as normalized XML: no prefixes but xsi and xsd.
struct RawXml {
  std::string type;  // xsi:type, "xsd:" before the types of XML Schema; may be empty
  std::string xml;   // the element's content
  friend bool operator==(const RawXml&, const RawXml&) = default;
};

// anyType. monostate: unset.
using Any = std::variant<std::monostate, bool, int32_t, int64_t, double, std::string, MoRef, RawXml>;

// A fault as a value: LocalizedMethodFault, or the detail of a SOAP fault.
struct Fault {
  std::string type;     // "DuplicateName"
  std::string message;  // the server's words, for people only
  MoRef object;         // what the fault names: the one that has the name already, the one that was not found
  std::string xml;      // the fault's own fields, normalized
  friend bool operator==(const Fault&, const Fault&) = default;
};

// The base of types that have subtypes. An xsi:type that is not listed is read as the field's own type, with the whole
// kept in raw_type and raw_xml, and is written back from there.
struct DataObject {
  std::string raw_type;
  std::string raw_xml;

  DataObject() = default;
  DataObject(const DataObject&) = default;
  DataObject(DataObject&&) = default;
  DataObject& operator=(const DataObject&) = default;
  DataObject& operator=(DataObject&&) = default;
  virtual ~DataObject() = default;
  [[nodiscard]] virtual std::string_view WsdlName() const = 0;
  virtual void EncodeFields(std::string& out) const = 0;
  // False when the text is malformed; unknown names are skipped.
  virtual bool DecodeField(std::string_view tag, const pugi::xml_node& node) = 0;
  // The type's name on the wire, also when it is not a listed one.
  [[nodiscard]] std::string_view TypeName() const { return raw_type.empty() ? WsdlName() : std::string_view(raw_type); }
};

// A request, ready to be wrapped in an envelope, and the type of what comes back.
template <class Result>
struct Call {
  std::string_view method;  // static
  std::string body;         // the method's element
};

}  // namespace vck::vimtypes
