// A place in a YAML file that knows its path, so that every error says where.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <yaml-cpp/yaml.h>

#include "base/status.h"

namespace vck::kube {

class YamlField {
 public:
  YamlField(const YAML::Node& node, std::string file, std::string path)
      : node_(node), file_(std::move(file)), path_(std::move(path)) {}

  // True if there is nothing here, or null.
  [[nodiscard]] bool absent() const { return !node_.IsDefined() || node_.IsNull(); }
  [[nodiscard]] const std::string& file() const { return file_; }
  [[nodiscard]] const YAML::Node& node() const { return node_; }

  // "file: path: problem"; InvalidArgument.
  [[nodiscard]] Status Error(std::string_view problem) const;
  [[nodiscard]] StatusOr<YamlField> Member(std::string_view key) const;  // absent, or a map here
  [[nodiscard]] StatusOr<std::vector<YamlField>> Elements() const;       // absent, or a list here
  [[nodiscard]] StatusOr<std::string> Text() const;                      // "" where absent
  [[nodiscard]] StatusOr<std::string> Text(std::string_view key) const;
  [[nodiscard]] StatusOr<bool> Flag(std::string_view key) const;  // false where absent
  // Decoded; "" where absent.
  [[nodiscard]] StatusOr<std::string> Base64(std::string_view key) const;
  [[nodiscard]] StatusOr<std::vector<std::string>> Texts(std::string_view key) const;

 private:
  YAML::Node node_;
  std::string file_;
  std::string path_;
};

// Parses the first document of a text; InvalidArgument with line and column.
StatusOr<YamlField> ParseYaml(std::string_view text, std::string file);
// As JSON text. Plain scalars that read as numbers, true, false or null become those. InvalidArgument when it is deeper
// than 64 or longer than 1 MiB (aliases can make a small file large).
StatusOr<std::string> YamlToJson(const YamlField& field);

}  // namespace vck::kube
