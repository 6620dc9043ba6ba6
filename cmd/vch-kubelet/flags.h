// The command line and the YAML file of vch-kubelet.
#pragma once

#include <optional>
#include <string>

#include "base/log.h"
#include "node/options.h"

namespace vck {

struct CommandLine {
  node::Options options;
  LogFormat log_format = LogFormat::kText;
  int verbosity = 0;
};

// Parses flags and --config; a flag wins over the file. Returns nothing when the process should end with `*exit_code`:
// after --help and --version (0), or after all mistakes were written to standard error (2).
std::optional<CommandLine> ParseCommandLine(int argc, char** argv, int* exit_code);

}  // namespace vck
