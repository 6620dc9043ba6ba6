// An image's configuration, as far as a container needs it (OCI image spec, config.md). Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace vck::guestos {

inline constexpr size_t kMaxImageConfigBytes = size_t{8} << 20;

struct ImageConfig {
  std::vector<std::string> entrypoint, cmd;
  std::vector<std::string> env;  // "NAME=value"
  std::string working_dir, user, stop_signal;
  std::vector<std::string> volumes;  // absolute paths, sorted
};

// InvalidArgument when the text is no JSON object, or a known member has a wrong type.
StatusOr<ImageConfig> ParseImageConfig(std::string_view text);

// What is executed: the container's command replaces the image's entry point and its arguments, args replace the
// image's arguments. InvalidArgument when nothing is left.
StatusOr<std::vector<std::string>> MergeCommand(const std::vector<std::string>& command,
                                                const std::vector<std::string>& args, const ImageConfig& image);

// The number of "TERM", "SIGTERM", "RTMIN+3" or "15"; InvalidArgument for what is no signal.
StatusOr<int> ParseSignal(std::string_view name);

}  // namespace vck::guestos
