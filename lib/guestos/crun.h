// The crun program: one call, one child process.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "async/clock.h"
#include "async/task.h"
#include "base/status.h"
#include "guestos/process.h"
#include "guestos/process_io.h"

namespace vck::guestos {

struct CrunProgram {
  std::string path = "/usr/bin/crun";
  std::string state_directory;  // on a tmpfs
  bool cgroups = true;          // false: they are left alone
};

// Errors carry what crun says, in the words that users of Kubernetes know: see CrunMessage.
class Crun {
 public:
  Crun(Reaper* reaper, Clock* clock, CrunProgram program)
      : reaper_(reaper), clock_(clock), program_(std::move(program)) {}

  struct ProcessOptions {
    std::string program;                     // its first argument, for messages
    std::string files;                       // prefix of files that crun writes, on a tmpfs
    ProcessEnds ends;                        // unused with a terminal
    const ConsoleSocket* console = nullptr;  // with a terminal
  };
  // Makes the container; its process waits for Start. It is adopted.
  Task<StatusOr<ChildPtr>> Create(std::string id, std::string bundle, ProcessOptions options);
  Task<Status> Start(std::string id);
  // Runs a further process; `process_file` describes it. It is adopted. InvalidArgument when its program cannot be run.
  Task<StatusOr<ChildPtr>> Exec(std::string id, std::string process_file, ProcessOptions options);
  // Other limits for a running one: see UpdateOptions.
  Task<Status> Update(std::string id, std::vector<std::string> options);
  // Kills what is left of it. Not there is fine.
  Task<Status> Delete(std::string id);

 private:
  [[nodiscard]] std::vector<std::string> Arguments(const std::string& log_file,
                                                   std::initializer_list<std::string> more) const;
  [[nodiscard]] std::string LogFile(const std::string& id) const {
    return program_.state_directory + "/" + id + ".log";
  }
  Task<Status> Run(std::vector<std::string> argv, ProcessEnds ends, std::string log_file, std::string program);
  Task<StatusOr<ChildPtr>> RunProcess(std::vector<std::string> argv, std::string id, ProcessOptions options);

  Reaper* reaper_;
  Clock* clock_;
  CrunProgram program_;
};

// What crun wrote to its log (JSON lines), as a Status: InvalidArgument `exec: "x": executable file not found in $PATH`
// and the like when it could not run `program`, else Internal with crun's own last words. Pure.
Status CrunMessage(std::string_view log, std::string_view program);

}  // namespace vck::guestos
