#include "guestos/hypervisor_qemu.h"

#include <array>
#include <cerrno>
#include <deque>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include <boost/asio/posix/basic_stream_descriptor.hpp>
#include <boost/asio/redirect_error.hpp>

#include "async/task_group.h"
#include "async/wait.h"
#include "base/log.h"
#include "guestapi/identity.h"
#include "guestos/fd.h"
#include "guestos/files.h"
#include "guestos/kernel_files.h"
#include "guestos/virtio_port.h"

namespace vck::guestos {
namespace {

namespace fs = std::filesystem;

constexpr const char* kFwCfg = "/sys/firmware/qemu_fw_cfg";
constexpr size_t kMaxValue = size_t{64} * 1024;
// The port's name comes from the host a moment after its driver is there; and the host may open its end late.
constexpr absl::Duration kRetry = absl::Milliseconds(100);
constexpr size_t kReadBytes = 4096;
constexpr absl::Duration kTellAfter = absl::Seconds(5);

// The device of the port with our name; NotFound while it is not there.
StatusOr<std::string> FindPort() {
  std::error_code ec;
  for (const auto& entry : fs::directory_iterator("/sys/class/virtio-ports", ec)) {
    if (ReadKernelFile((entry.path() / "name").string()).value_or("") == kVirtioPortName) {
      return "/dev/" + entry.path().filename().string();
    }
  }
  return absl::NotFoundError(absl::StrCat("no virtio-serial port ", kVirtioPortName));
}

class QemuHypervisor : public Hypervisor {
 public:
  QemuHypervisor(Executor executor, Clock& clock) : executor_(executor), clock_(clock) {}

  [[nodiscard]] std::string_view name() const override { return "QEMU"; }

  StatusOr<std::string> Get(std::string_view key) override {
    return ReadFile(absl::StrCat(kFwCfg, "/by_name/opt/", key, "/raw"), kMaxValue);
  }

  void Set(std::string key, std::string value) override {
    std::string line = SetLine(key, value);
    values_[std::move(key)] = line;
    Queue(std::move(line));
  }

  void ReportNet(GuestNet net) override {
    net_ = NetLine(net);
    Queue(*net_);
  }

  Task<Status> Run(std::function<void(PowerRequest)> on_request) override {
    CO_ASSIGN_OR_RETURN(Fd fd, co_await OpenPort());
    Port port(executor_, fd.Release());
    port.non_blocking(true);
    TaskGroup group(executor_);
    group.Spawn("port reader", Read(&port, std::move(on_request)));
    group.Spawn("port writer", Write(&port));
    co_return co_await group.Join();
  }

 private:
  using Port = asio::posix::basic_stream_descriptor<Executor>;

  Task<StatusOr<Fd>> OpenPort() {
    const Instant start = clock_.Now();
    bool told = false;
    while (true) {
      auto path = FindPort();
      Status status = path.status();
      if (path.ok()) {
        Fd fd(::open(path->c_str(), O_RDWR | O_CLOEXEC | O_NONBLOCK));
        if (fd.valid()) co_return fd;
        status = FileError(errno, "open", *path);
      }
      if (!told && clock_.Now() - start > kTellAfter) {
        Log(Severity::kWarning, "No way to tell the host anything yet", {{"err", status}});
        told = true;
      }
      co_await clock_.Sleep(kRetry);
    }
  }

  void Queue(std::string line) {
    // Whoever connects later gets the last of each.
    if (!connected_) return;
    lines_.push_back(std::move(line));
    changed_.NotifyAll();
  }

  void Connected() {
    connected_ = true;
    lines_.clear();
    for (const auto& [key, line] : values_) lines_.push_back(line);
    if (net_.has_value()) lines_.push_back(*net_);
    changed_.NotifyAll();
  }

  // Reading tells whether the host's end is open: it is the end of the stream as long as it is not.
  Task<Status> Read(Port* port, std::function<void(PowerRequest)> on_request) {
    PortReader reader;
    std::array<char, kReadBytes> buffer{};
    while (true) {
      ErrorCode ec;
      const size_t n = port->read_some(asio::buffer(buffer), ec);
      if (!ec) {
        reader.Feed({buffer.data(), n}, on_request);
      } else if (ec == asio::error::would_block || ec == asio::error::try_again) {
        if (!connected_) Connected();
        co_await port->async_wait(Port::wait_read, asio::redirect_error(kUseTask, ec));
        if (ec == asio::error::operation_aborted) ThrowCancelled();
      } else {
        connected_ = false;
        reader = {};
        co_await clock_.Sleep(kRetry);
      }
    }
  }

  Task<Status> Write(Port* port) {
    while (true) {
      while (lines_.empty()) co_await changed_.Wait();
      std::string line = std::move(lines_.front());
      lines_.pop_front();
      size_t done = 0;
      while (done < line.size()) {
        ErrorCode ec;
        done += co_await port->async_write_some(asio::buffer(line.data() + done, line.size() - done),
                                                asio::redirect_error(kUseTask, ec));
        if (ec == asio::error::operation_aborted) ThrowCancelled();
        if (ec) break;  // the host has closed; it gets everything when it comes back
      }
    }
  }

  Executor executor_;
  Clock& clock_;
  bool connected_ = false;
  std::map<std::string, std::string> values_;  // the last line of each key
  std::optional<std::string> net_;
  std::deque<std::string> lines_;
  Signal changed_;
};

}  // namespace

bool IsQemu() {
  std::error_code ec;
  return fs::exists(kFwCfg, ec);
}

std::unique_ptr<Hypervisor> MakeQemuHypervisor(Executor executor, Clock& clock) {
  return std::make_unique<QemuHypervisor>(executor, clock);
}

}  // namespace vck::guestos
