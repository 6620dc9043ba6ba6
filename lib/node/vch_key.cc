#include "node/vch_key.h"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/digest.h"
#include "http/tls.h"

namespace vck::node {

StatusOr<std::string> LoadOrMakeVchKey(const std::string& state_dir) {
  std::error_code ec;
  std::filesystem::create_directories(state_dir, ec);
  if (ec) return absl::FailedPreconditionError(absl::StrCat("--state-dir ", state_dir, ": ", ec.message()));
  chmod(state_dir.c_str(), 0700);
  std::string path = absl::StrCat(state_dir, "/vch.key");
  if (std::ifstream in(path); in) {
    std::stringstream text;
    text << in.rdbuf();
    if (Status status = http::PublicKeyHash(text.str()).status(); !status.ok()) {
      return absl::FailedPreconditionError(absl::StrCat(path, " holds no private key (", status.message(),
                                                        "); restore it, or remove it if this VCH has no pod VMs"));
    }
    return text.str();
  }
  ASSIGN_OR_RETURN(std::string key, http::GenerateKeyPem());
  // Written whole or not at all; the first of two starters wins.
  std::string temporary = absl::StrCat(path, ".", RandomHex(4));
  int fd = open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0) return absl::FailedPreconditionError(absl::StrCat(temporary, ": ", std::strerror(errno)));
  bool good = write(fd, key.data(), key.size()) == static_cast<ssize_t>(key.size()) && fsync(fd) == 0;
  close(fd);
  int linked = good ? link(temporary.c_str(), path.c_str()) : -1;
  int error = errno;
  unlink(temporary.c_str());
  if (linked == 0) return key;
  if (error == EEXIST) return LoadOrMakeVchKey(state_dir);
  return absl::FailedPreconditionError(absl::StrCat(path, ": ", std::strerror(error)));
}

}  // namespace vck::node
