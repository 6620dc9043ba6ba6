#include "vimtypes/wire.h"

#include <array>
#include <charconv>
#include <cmath>
#include <cstring>
#include <limits>

#include "vimtypes/wire_impl.h"

namespace vck::vimtypes {
namespace {

// The types of XML Schema that vim25 uses; all other xsi:types are vim25's own.
constexpr std::array<std::string_view, 11> kSchemaTypes = {
    "string", "boolean", "int", "long", "short", "byte", "float", "double", "base64Binary", "anyURI", "dateTime"};

// What AppendEscaped replaces: most of a text is nothing of it.
constexpr std::array<bool, 256> kEscaped = [] {
  std::array<bool, 256> set{};
  for (size_t c = 0; c < 0x20; ++c) set[c] = c != '\n' && c != '\t';
  for (char c : {'&', '<', '>', '"'}) set[static_cast<unsigned char>(c)] = true;
  return set;
}();

bool IsSchemaType(std::string_view local) {
  for (std::string_view type : kSchemaTypes) {
    if (type == local) return true;
  }
  return false;
}

bool IsXsiType(std::string_view attribute) { return attribute.size() > 5 && attribute.ends_with(":type"); }

std::string QualifiedType(std::string_view local) {
  return IsSchemaType(local) ? "xsd:" + std::string(local) : std::string(local);
}

void AppendNormalized(std::string& out, const pugi::xml_node& node, int depth) {
  if (depth > 64) return;  // nothing that vim25 has is nearly as deep
  for (const pugi::xml_node& child : node.children()) {
    if (child.type() == pugi::node_pcdata || child.type() == pugi::node_cdata) {
      AppendEscaped(out, child.value());
      continue;
    }
    if (child.type() != pugi::node_element) continue;
    std::string_view name = LocalName(child);
    out += '<';
    out += name;
    for (const pugi::xml_attribute& attribute : child.attributes()) {
      std::string_view key = attribute.name();
      if (key == "xmlns" || key.starts_with("xmlns:")) continue;
      out += ' ';
      out += IsXsiType(key) ? "xsi:type" : LocalName(key);
      out += "=\"";
      AppendEscaped(out, IsXsiType(key) ? QualifiedType(LocalName(attribute.value())) : std::string(attribute.value()));
      out += '"';
    }
    out += '>';
    AppendNormalized(out, child, depth + 1);
    AppendClose(out, name);
  }
}

}  // namespace

void AppendEscaped(std::string& out, std::string_view text) {
  size_t start = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    if (!kEscaped[static_cast<unsigned char>(text[i])]) continue;
    std::string_view entity;
    switch (text[i]) {
      case '&':
        entity = "&amp;";
        break;
      case '<':
        entity = "&lt;";
        break;
      case '>':
        entity = "&gt;";
        break;
      case '"':
        entity = "&quot;";
        break;
      case '\r':  // a parser would turn it into a newline
        entity = "&#13;";
        break;
      default:
        entity = "\xEF\xBF\xBD";
    }
    out.append(text, start, i - start);
    out += entity;
    start = i + 1;
  }
  out.append(text, start);
}

void AppendOpen(std::string& out, std::string_view name, std::string_view xsi_type) {
  out += '<';
  out += name;
  if (!xsi_type.empty()) {
    out += " xsi:type=\"";
    AppendEscaped(out, xsi_type);
    out += '"';
  }
  out += '>';
}

void AppendClose(std::string& out, std::string_view name) {
  out += "</";
  out += name;
  out += '>';
}

void PutText(std::string& out, std::string_view name, std::string_view text) {
  AppendOpen(out, name);
  AppendEscaped(out, text);
  AppendClose(out, name);
}

void PutRef(std::string& out, std::string_view name, const MoRef& ref) {
  out += '<';
  out += name;
  out += " type=\"";
  AppendEscaped(out, ref.type);
  out += "\">";
  AppendEscaped(out, ref.value);
  AppendClose(out, name);
}

void PutDouble(std::string& out, std::string_view name, double value) {
  std::array<char, 40> digits{};
  auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr;
  PutText(out, name, std::string_view(digits.data(), end - digits.data()));
}

void PutAny(std::string& out, std::string_view name, const Any& value) {
  struct Visitor {
    std::string& out;
    std::string_view name;
    void Typed(std::string_view type, std::string_view text) const {
      AppendOpen(out, name, type);
      AppendEscaped(out, text);
      AppendClose(out, name);
    }
    void operator()(std::monostate /*unset*/) const {}
    void operator()(bool v) const { Typed("xsd:boolean", v ? "true" : "false"); }
    void operator()(int32_t v) const { Typed("xsd:int", std::to_string(v)); }
    void operator()(int64_t v) const { Typed("xsd:long", std::to_string(v)); }
    void operator()(double v) const {
      std::array<char, 40> digits{};
      auto end = std::to_chars(digits.data(), digits.data() + digits.size(), v).ptr;
      Typed("xsd:double", std::string_view(digits.data(), end - digits.data()));
    }
    void operator()(const std::string& v) const { Typed("xsd:string", v); }
    void operator()(const MoRef& v) const {
      out += '<';
      out += name;
      out += " xsi:type=\"ManagedObjectReference\" type=\"";
      AppendEscaped(out, v.type);
      out += "\">";
      AppendEscaped(out, v.value);
      AppendClose(out, name);
    }
    void operator()(const RawXml& v) const {
      AppendOpen(out, name, v.type);
      out += v.xml;
      AppendClose(out, name);
    }
  };
  std::visit(Visitor{out, name}, value);
}

void PutFault(std::string& out, std::string_view name, const Fault& fault) {
  AppendOpen(out, name);
  AppendOpen(out, "fault", fault.type);
  out += fault.xml;
  AppendClose(out, "fault");
  if (!fault.message.empty()) PutText(out, "localizedMessage", fault.message);
  AppendClose(out, name);
}

std::string Begin(std::string_view method, const MoRef& self) {
  std::string body;
  body.reserve(512);
  body += '<';
  body += method;
  body += " xmlns=\"urn:vim25\">";
  PutRef(body, "_this", self);
  return body;
}

std::string Finish(std::string body, std::string_view method) {
  AppendClose(body, method);
  return body;
}

std::string_view LocalName(std::string_view qualified) {
  // Called for each element: string_view::rfind looks at one character at a time.
  const void* colon = ::memrchr(qualified.data(), ':', qualified.size());
  if (colon == nullptr) return qualified;
  return qualified.substr(static_cast<const char*>(colon) - qualified.data() + 1);
}

std::string_view XsiType(const pugi::xml_node& node) {
  // Siblings by hand, here and below: pugixml's iterators take five calls into its library for each step, this three.
  for (pugi::xml_attribute a = node.first_attribute(); a; a = a.next_attribute()) {
    if (IsXsiType(a.name())) return LocalName(a.value());
  }
  return {};
}

std::string_view Text(const pugi::xml_node& node) { return node.text().get(); }

pugi::xml_node Child(const pugi::xml_node& node, std::string_view local_name) {
  for (pugi::xml_node child = node.first_child(); child; child = child.next_sibling()) {
    if (LocalName(child) == local_name) return child;
  }
  return {};
}

std::string Normalize(const pugi::xml_node& node) {
  std::string out;
  AppendNormalized(out, node, 0);
  return out;
}

bool ParseInt(std::string_view text, int64_t min, int64_t max, int64_t& value) {
  int64_t parsed = 0;
  if (text.starts_with('+')) text.remove_prefix(1);
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), parsed);
  if (error != std::errc() || end != text.data() + text.size() || parsed < min || parsed > max) return false;
  value = parsed;
  return true;
}

bool ParseBool(std::string_view text, bool& value) {
  value = text == "true" || text == "1";
  return value || text == "false" || text == "0";
}

bool ParseDouble(std::string_view text, double& value) {
  if (text == "INF" || text == "-INF" || text == "NaN") {
    value = text == "NaN" ? std::numeric_limits<double>::quiet_NaN() : std::numeric_limits<double>::infinity();
    if (text == "-INF") value = -value;
    return true;
  }
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

MoRef GetRef(const pugi::xml_node& node) {
  MoRef ref{.type = node.attribute("type").value(), .value = std::string(Text(node))};
  return ref;
}

bool GetAny(const pugi::xml_node& node, Any& value) {
  std::string_view type = XsiType(node);
  if (type == "string") {
    value = std::string(Text(node));
    return true;
  }
  if (type == "boolean") return Get(node, value.emplace<bool>());
  if (type == "int" || type == "short" || type == "byte") return Get(node, value.emplace<int32_t>());
  if (type == "long") return Get(node, value.emplace<int64_t>());
  if (type == "float" || type == "double") return Get(node, value.emplace<double>());
  if (type == "ManagedObjectReference") {
    value = GetRef(node);
    return true;
  }
  value = RawXml{.type = QualifiedType(type), .xml = Normalize(node)};
  return true;
}

Fault GetFault(const pugi::xml_node& node) {
  Fault fault;
  pugi::xml_node inner = Child(node, "fault");
  // `fault` is also a field of a few faults; the wrapper has no xsi:type of its own, or says LocalizedMethodFault.
  std::string_view outer_type = XsiType(node);
  bool wrapped = inner && (outer_type.empty() || outer_type == "LocalizedMethodFault");
  pugi::xml_node detail = wrapped ? inner : node;
  fault.type = XsiType(detail);
  if (fault.type.empty()) {
    std::string_view name = LocalName(detail);
    if (name.ends_with("Fault") && name.size() > 5) name.remove_suffix(5);
    if (!wrapped) fault.type = name;
  }
  if (wrapped) fault.message = Text(Child(node, "localizedMessage"));
  for (const pugi::xml_node& child : detail.children()) {
    if (fault.object.empty() && child.attribute("type") && !child.first_child().first_child())
      fault.object = GetRef(child);
  }
  fault.xml = Normalize(detail);
  return fault;
}

}  // namespace vck::vimtypes
