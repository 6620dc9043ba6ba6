#include "kube/yaml_field.h"

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "json/json.h"

namespace vck::kube {
namespace {

constexpr int kMaxDepth = 64;
constexpr size_t kMaxJson = 1024 * 1024;

// What is there, for "expected ..., got ...". Never quotes long values: they may be secrets.
std::string_view KindOf(const YAML::Node& node) {
  switch (node.Type()) {
    case YAML::NodeType::Map:
      return "a map";
    case YAML::NodeType::Sequence:
      return "a list";
    case YAML::NodeType::Scalar:
      return "a plain value";
    default:
      return "nothing";
  }
}

bool AppendJson(const YAML::Node& node, int depth, std::string* out) {
  if (depth > kMaxDepth || out->size() > kMaxJson) return false;
  switch (node.Type()) {
    case YAML::NodeType::Map: {
      *out += '{';
      bool first = true;
      for (const auto& member : node) {
        if (!member.first.IsScalar()) return false;
        if (!std::exchange(first, false)) *out += ',';
        absl::StrAppend(out, json::Serialize(json::Value(member.first.Scalar())), ":");
        if (!AppendJson(member.second, depth + 1, out)) return false;
      }
      *out += '}';
      return true;
    }
    case YAML::NodeType::Sequence: {
      *out += '[';
      bool first = true;
      for (const auto& element : node) {
        if (!std::exchange(first, false)) *out += ',';
        if (!AppendJson(element, depth + 1, out)) return false;
      }
      *out += ']';
      return true;
    }
    case YAML::NodeType::Scalar: {
      const std::string& text = node.Scalar();
      int64_t integer = 0;
      // "!" is the tag of a quoted scalar.
      bool plain = node.Tag() != "!";
      if (plain && (text == "true" || text == "false")) {
        *out += text;
      } else if (plain && absl::SimpleAtoi(text, &integer)) {
        absl::StrAppend(out, integer);
      } else {
        *out += json::Serialize(json::Value(text));
      }
      return true;
    }
    default:
      *out += "null";
      return true;
  }
}

}  // namespace

Status YamlField::Error(std::string_view problem) const {
  return absl::InvalidArgumentError(absl::StrCat(file_, ": ", path_, path_.empty() ? "" : ": ", problem));
}

StatusOr<YamlField> YamlField::Member(std::string_view key) const {
  std::string path = path_.empty() ? std::string(key) : absl::StrCat(path_, ".", key);
  if (absent()) return YamlField(YAML::Node(YAML::NodeType::Undefined), file_, std::move(path));
  if (!node_.IsMap()) return Error(absl::StrCat("expected a map, got ", KindOf(node_)));
  for (const auto& member : node_) {
    if (member.first.IsScalar() && member.first.Scalar() == key)
      return YamlField(member.second, file_, std::move(path));
  }
  return YamlField(YAML::Node(YAML::NodeType::Undefined), file_, std::move(path));
}

StatusOr<std::vector<YamlField>> YamlField::Elements() const {
  std::vector<YamlField> elements;
  if (absent()) return elements;
  if (!node_.IsSequence()) return Error(absl::StrCat("expected a list, got ", KindOf(node_)));
  for (const auto& element : node_)
    elements.emplace_back(element, file_, absl::StrCat(path_, "[", elements.size(), "]"));
  return elements;
}

StatusOr<std::string> YamlField::Text() const {
  if (absent()) return std::string();
  if (!node_.IsScalar()) return Error(absl::StrCat("expected a string, got ", KindOf(node_)));
  return node_.Scalar();
}

StatusOr<std::string> YamlField::Text(std::string_view key) const {
  ASSIGN_OR_RETURN(YamlField field, Member(key));
  return field.Text();
}

StatusOr<bool> YamlField::Flag(std::string_view key) const {
  ASSIGN_OR_RETURN(YamlField field, Member(key));
  if (field.absent()) return false;
  ASSIGN_OR_RETURN(std::string text, field.Text());
  if (text == "true") return true;
  if (text == "false") return false;
  return field.Error(absl::StrCat("expected true or false, got \"", absl::CHexEscape(text.substr(0, 40)), "\""));
}

StatusOr<std::string> YamlField::Base64(std::string_view key) const {
  ASSIGN_OR_RETURN(YamlField field, Member(key));
  ASSIGN_OR_RETURN(std::string text, field.Text());
  std::string data;
  if (!absl::Base64Unescape(text, &data)) {
    return field.Error(absl::StrCat("expected base64, got ", text.size(), " bytes that begin with \"",
                                    absl::CHexEscape(text.substr(0, 8)), "\""));
  }
  return data;
}

StatusOr<std::vector<std::string>> YamlField::Texts(std::string_view key) const {
  ASSIGN_OR_RETURN(YamlField field, Member(key));
  ASSIGN_OR_RETURN(std::vector<YamlField> elements, field.Elements());
  std::vector<std::string> texts;
  for (const YamlField& element : elements) {
    ASSIGN_OR_RETURN(std::string text, element.Text());
    texts.push_back(std::move(text));
  }
  return texts;
}

StatusOr<YamlField> ParseYaml(std::string_view text, std::string file) {
  try {
    return YamlField(YAML::Load(std::string(text)), std::move(file), "");
  } catch (const YAML::Exception& e) {
    // Its message may quote the text only up to a token; the place says more.
    return absl::InvalidArgumentError(
        absl::StrCat(file, ": line ", e.mark.line + 1, ", column ", e.mark.column + 1, ": expected YAML: ", e.msg));
  }
}

StatusOr<std::string> YamlToJson(const YamlField& field) {
  std::string out;
  if (!AppendJson(field.node(), 0, &out)) {
    return field.Error("expected plain data, at most 64 levels deep and 1 MiB large");
  }
  return out;
}

}  // namespace vck::kube
