#include "guestos/image_config.h"

#include <algorithm>
#include <csignal>
#include <cstring>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/strip.h"
#include "json/json.h"

namespace vck::guestos {
namespace {

Status WrongType(std::string_view key) {
  return absl::InvalidArgumentError(absl::StrCat("image configuration: ", key, " has a wrong type"));
}

Status ReadString(const json::Value* config, std::string_view key, std::string* out) {
  const json::Value* value = json::Get(config, key);
  if (value == nullptr) return absl::OkStatus();
  if (!value->is_string()) return WrongType(key);
  *out = json::AsString(*value);
  return absl::OkStatus();
}

Status ReadStrings(const json::Value* config, std::string_view key, std::vector<std::string>* out) {
  const json::Value* value = json::Get(config, key);
  if (value == nullptr) return absl::OkStatus();
  if (!value->is_array()) return WrongType(key);
  for (const json::Value& item : value->get_array()) {
    if (!item.is_string()) return WrongType(key);
    out->emplace_back(json::AsString(item));
  }
  return absl::OkStatus();
}

}  // namespace

StatusOr<ImageConfig> ParseImageConfig(std::string_view text) {
  ASSIGN_OR_RETURN(auto document, json::Document::Parse(text));
  if (!document.root().is_object()) return WrongType("the whole");
  ImageConfig out;
  const json::Value* config = json::Get(document.root(), "config");
  if (config == nullptr) return out;
  if (!config->is_object()) return WrongType("config");
  RETURN_IF_ERROR(ReadStrings(config, "Entrypoint", &out.entrypoint));
  RETURN_IF_ERROR(ReadStrings(config, "Cmd", &out.cmd));
  RETURN_IF_ERROR(ReadStrings(config, "Env", &out.env));
  RETURN_IF_ERROR(ReadString(config, "WorkingDir", &out.working_dir));
  RETURN_IF_ERROR(ReadString(config, "User", &out.user));
  RETURN_IF_ERROR(ReadString(config, "StopSignal", &out.stop_signal));
  if (const json::Value* volumes = json::Get(config, "Volumes"); volumes != nullptr) {
    if (!volumes->is_object()) return WrongType("Volumes");
    for (const auto& [path, ignored] : volumes->get_object()) {
      if (absl::StartsWith(path, "/")) out.volumes.emplace_back(path);
    }
    std::sort(out.volumes.begin(), out.volumes.end());
  }
  return out;
}

StatusOr<std::vector<std::string>> MergeCommand(const std::vector<std::string>& command,
                                                const std::vector<std::string>& args, const ImageConfig& image) {
  std::vector<std::string> out = command;
  if (command.empty()) {
    out = image.entrypoint;
    if (args.empty()) out.insert(out.end(), image.cmd.begin(), image.cmd.end());
  }
  out.insert(out.end(), args.begin(), args.end());
  if (out.empty()) return absl::InvalidArgumentError("no command specified");
  return out;
}

StatusOr<int> ParseSignal(std::string_view name) {
  int number = 0;
  if (absl::SimpleAtoi(name, &number)) {
    if (number > 0 && number <= SIGRTMAX) return number;
  } else {
    std::string upper = absl::AsciiStrToUpper(name);
    std::string_view wanted = absl::StripPrefix(upper, "SIG");
    if (wanted == "RTMIN") return SIGRTMIN;
    if (wanted == "RTMAX") return SIGRTMAX;
    int offset = 0;
    if (absl::StartsWith(wanted, "RTMIN+") && absl::SimpleAtoi(wanted.substr(6), &offset) && offset >= 0 &&
        offset <= SIGRTMAX - SIGRTMIN) {
      return SIGRTMIN + offset;
    }
    if (absl::StartsWith(wanted, "RTMAX-") && absl::SimpleAtoi(wanted.substr(6), &offset) && offset >= 0 &&
        offset <= SIGRTMAX - SIGRTMIN) {
      return SIGRTMAX - offset;
    }
    for (int signal = 1; signal < NSIG; ++signal) {
      const char* abbreviation = ::sigabbrev_np(signal);
      if (abbreviation != nullptr && wanted == abbreviation) return signal;
    }
  }
  return absl::InvalidArgumentError(absl::StrCat("invalid stop signal \"", name, "\""));
}

}  // namespace vck::guestos
