#include "http/write_queue.h"

#include <utility>

namespace vck::http {

Task<Status> WriteQueue::Run(bool wait) {
  const uint64_t mark = taken_ + buffer_.size();
  while (true) {
    if (!status_.ok()) co_return status_;
    if (writing_) {
      if (written_ >= mark || !wait) co_return absl::OkStatus();
      struct Waiting {
        int* count;
        explicit Waiting(int* c) : count(c) { ++*count; }
        ~Waiting() { --*count; }
      } waiting(&waiting_);
      co_await changed_.Wait();
      continue;
    }
    // Whoever writes also writes what came meanwhile, unless somebody waits who will do it: nobody is kept for long.
    if (buffer_.empty() || (written_ >= mark && waiting_ > 0)) co_return absl::OkStatus();
    struct Writing {
      WriteQueue* queue;
      bool ended = false;
      ~Writing() {
        queue->writing_ = false;
        if (!ended) queue->status_ = absl::CancelledError("a write was cancelled");
        queue->changed_.NotifyAll();
      }
    } writing{this};
    writing_ = true;
    const std::string text = std::exchange(buffer_, {});
    taken_ += text.size();
    Status status = co_await stream_.Write(text);
    writing.ended = true;
    written_ += text.size();
    if (!status.ok()) status_ = std::move(status);
  }
}

}  // namespace vck::http
