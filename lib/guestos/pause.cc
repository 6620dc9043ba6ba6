#include "guestos/pause.h"

#include <csignal>
#include <initializer_list>

#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace vck::guestos {

void RunPause() {
  ::prctl(PR_SET_NAME, "pause");
  sigset_t wanted;
  sigemptyset(&wanted);
  for (int signal : {SIGCHLD, SIGTERM, SIGINT}) sigaddset(&wanted, signal);
  ::sigprocmask(SIG_BLOCK, &wanted, nullptr);
  while (true) {
    const int signal = ::sigwaitinfo(&wanted, nullptr);
    if (signal == SIGTERM || signal == SIGINT) ::_exit(0);
    while (::waitpid(-1, nullptr, WNOHANG) > 0) {
    }
  }
}

}  // namespace vck::guestos
