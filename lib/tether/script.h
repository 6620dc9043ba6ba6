// The commands that fake containers understand: a crumb of shell.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"

namespace vck::tether {

struct Command {
  enum class Kind {
    kSleep,    // sleep N[smhd]…, sleep infinity
    kExit,     // exit [N]
    kStatus,   // true, false, and what only prints: ends at once with `code`
    kOnTerm,   // on-term COMMAND…, trap 'COMMANDS' TERM: runs `handler` instead of the rest when TERM comes
    kForever,  // anything else
  };
  enum class When { kAlways, kAfterSuccess, kAfterFailure };  // ';', '&&', '||' before it
  Kind kind = Kind::kForever;
  When when = When::kAlways;
  absl::Duration duration;
  int code = -1;        // -1 with kExit: that of the command before
  std::string handler;  // "": TERM is ignored
};

// `sh -c TEXT` is unwrapped; nothing at all runs forever.
std::vector<Command> ParseCommandLine(const std::vector<std::string>& command, const std::vector<std::string>& args);
std::vector<Command> ParseScript(std::string_view text);

}  // namespace vck::tether
