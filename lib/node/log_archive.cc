#include "node/log_archive.h"

#include <cerrno>
#include <cstdio>

#include <unistd.h>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "async/timeout.h"
#include "base/log.h"
#include "http/message.h"

namespace vck::node {
namespace {

constexpr absl::Duration kSaveTimeout = absl::Minutes(2);  // of one log
constexpr absl::Duration kRetryAfter = absl::Seconds(5);
constexpr size_t kPiece = size_t{64} * 1024;

std::string PathOf(const std::string& pod_uid, const std::string& container, bool previous) {
  return absl::StrCat(pod_uid, "/", container, previous ? ".previous.log" : ".log");
}

// A nameless file, in the page cache: the length of a log is known only when all of it has come, and an upload begins
// with it.
class Spool {
 public:
  Spool() : file_(std::tmpfile()) {}
  ~Spool() {
    if (file_ != nullptr) (void)std::fclose(file_);
  }
  Spool(const Spool&) = delete;
  Spool& operator=(const Spool&) = delete;

  Status Append(std::string_view data) {
    if (file_ == nullptr) return absl::ErrnoToStatus(errno, "no temporary file");
    if (std::fwrite(data.data(), 1, data.size(), file_) != data.size()) {
      return absl::ErrnoToStatus(errno, "temporary file");
    }
    size_ += static_cast<int64_t>(data.size());
    return absl::OkStatus();
  }
  Status Rewind() {
    if (std::fflush(file_) != 0 || std::fseek(file_, 0, SEEK_SET) != 0) {
      return absl::ErrnoToStatus(errno, "temporary file");
    }
    return absl::OkStatus();
  }
  StatusOr<std::string> Next() {
    std::string piece(kPiece, '\0');
    piece.resize(std::fread(piece.data(), 1, piece.size(), file_));
    if (piece.empty() && std::ferror(file_) != 0) return absl::ErrnoToStatus(errno, "temporary file");
    return piece;
  }
  [[nodiscard]] int64_t size() const { return size_; }
  [[nodiscard]] bool ok() const { return file_ != nullptr; }

 private:
  std::FILE* file_;
  int64_t size_ = 0;
};

Task<StatusOr<std::string>> NextPiece(Spool* spool) { co_return spool->Next(); }

}  // namespace

void LogArchive::Save(const std::string& pod_uid, const guestapi::GuestState& state) {
  if (auto it = entries_.find(pod_uid); it != entries_.end()) {
    const Entry& entry = it->second;
    if (entry.state == State::kSaving || entry.state == State::kSaved) return;
    if (entry.state == State::kFailed && deps_.clock.Now() - entry.failed_at < kRetryAfter) return;
  }
  entries_[pod_uid] = {.state = State::kSaving};
  std::vector<Piece> pieces;
  for (const guestapi::ContainerState& container : state.containers) {
    if (container.id.empty()) continue;  // it never ran
    pieces.push_back({.container = container.name});
    if (container.restart_count > 0) pieces.push_back({.container = container.name, .previous = true});
  }
  ++busy_;
  tasks_.Spawn("save logs", SaveAll(pod_uid, std::move(pieces)));
}

bool LogArchive::Saved(const std::string& pod_uid) const {
  auto it = entries_.find(pod_uid);
  return it != entries_.end() && it->second.state == State::kSaved;
}

Task<> LogArchive::SaveAll(std::string pod_uid, std::vector<Piece> pieces) {
  Limiter::Permit permit = co_await saves_.Acquire();
  co_await open_.Wait();
  Status status;
  for (const Piece& piece : pieces) {
    Status one = co_await WithTimeout(deps_.clock, kSaveTimeout, "save logs", SaveOne(pod_uid, piece));
    if (!one.ok()) status = Annotate(std::move(one), absl::StrCat("log of container ", piece.container));
  }
  auto it = entries_.find(pod_uid);
  if (it == entries_.end()) {  // forgotten meanwhile, and maybe removed before all of it was there
    permit.Release();
    co_await Remove(std::move(pod_uid));
    co_return;
  }
  --busy_;
  if (status.ok()) {
    it->second.state = State::kSaved;
  } else {
    Log(Severity::kWarning, "Logs of a finished pod could not be saved, will retry",
        {{"uid", pod_uid}, {"err", status}});
    it->second = {.state = State::kFailed, .failed_at = deps_.clock.Now()};
    co_await deps_.clock.Sleep(kRetryAfter);
  }
  deps_.changed(pod_uid);
}

Task<Status> LogArchive::SaveOne(std::string pod_uid, Piece piece) {
  std::string target = absl::StrCat("/v1/logfile?container=", http::PercentEncode(piece.container),
                                    "&run=", piece.previous ? "previous" : "current");
  auto response = co_await deps_.links.Get(pod_uid, std::move(target));
  // A guest without logs has nothing to lose.
  if (absl::IsNotFound(response.status()) && guestlink::GetTetherError(response.status())) co_return absl::OkStatus();
  CO_RETURN_IF_ERROR(response.status());
  Spool spool;
  while (true) {
    CO_ASSIGN_OR_RETURN(std::string data, co_await response->body->Read());
    if (data.empty()) break;
    CO_RETURN_IF_ERROR(spool.Append(data));
  }
  if (!spool.ok()) co_return absl::UnavailableError("no temporary file could be made");
  CO_RETURN_IF_ERROR(spool.Rewind());
  co_return co_await deps_.files.Upload(PathOf(pod_uid, piece.container, piece.previous), spool.size(),
                                        [&spool] { return NextPiece(&spool); });
}

void LogArchive::Forget(const std::string& pod_uid) {
  auto it = entries_.find(pod_uid);
  if (it == entries_.end()) return;
  entries_.erase(it);
  ++busy_;
  tasks_.Spawn("remove logs", Remove(pod_uid));
}

Task<> LogArchive::Remove(std::string pod_uid) {
  Limiter::Permit permit = co_await saves_.Acquire();
  Status status = co_await deps_.files.Remove(pod_uid);
  // The next start of a kubelet finds what is left.
  if (!status.ok())
    Log(Severity::kWarning, "Logs of a pod that is gone could not be removed", {{"uid", pod_uid}, {"err", status}});
  --busy_;
  permit.Release();
  co_await Tidy();
}

Task<> LogArchive::Tidy() {
  if (!entries_.empty() || busy_ > 0 || !open_.IsSet()) co_return;
  open_.Reset();
  absl::Cleanup reopen = [this] { open_.Set(); };
  Status status = co_await deps_.files.RemoveIfEmpty();
  if (!status.ok()) Log(Severity::kWarning, "The log folder could not be removed", {{"err", status}});
}

Task<StatusOr<std::unique_ptr<http::BodyReader>>> LogArchive::Open(std::string pod_uid, std::string container,
                                                                   bool previous) {
  return deps_.files.Open(PathOf(pod_uid, container, previous));
}

Task<Status> LogArchive::Run(std::function<bool(const std::string&)> exists) {
  bool cancelled = false;
  try {
    auto folders = co_await deps_.files.Folders();
    if (folders.ok()) {
      for (const std::string& uid : *folders) {
        if (!exists(uid)) {
          ++busy_;
          tasks_.Spawn("remove logs", Remove(uid));
        } else {
          entries_.try_emplace(uid, Entry{.state = State::kKept});
        }
      }
      if (folders->empty()) tasks_.Spawn("remove the log folder", Tidy());
    } else {
      Log(Severity::kWarning, "The log folder cannot be read", {{"err", folders.status()}});
    }
    Event never;
    co_await never.Wait();  // the tasks run by themselves
  } catch (const boost::system::system_error& e) {
    if (!IsCancelled(e)) throw;
    cancelled = true;
  }
  co_await asio::this_coro::reset_cancellation_state(asio::disable_cancellation());
  tasks_.Cancel();
  (void)co_await tasks_.Join();
  co_await asio::this_coro::reset_cancellation_state(asio::enable_terminal_cancellation());
  if (cancelled) ThrowCancelled();
  co_return absl::OkStatus();
}

}  // namespace vck::node
