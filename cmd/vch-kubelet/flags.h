// The command line and the YAML file of vch-kubelet.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/log.h"
#include "node/inputs.h"
#include "node/options.h"

namespace vck {

struct CommandLine {
  node::Options options;
  node::Inputs inputs;
  LogFormat log_format = LogFormat::kText;
  int verbosity = 0;
};

struct ParsedCommandLine {
  std::optional<CommandLine> line;  // none: the process ends with
  std::string text;                 // this, on standard output with exit code 0, else on standard error
  int exit_code = 0;
};

// Parses flags and --config, a flag wins over the file; checks what they say, and what the files that they name hold.
// All mistakes are in one text, with exit code 2.
ParsedCommandLine ParseCommandLine(const std::vector<std::string>& arguments);

}  // namespace vck
