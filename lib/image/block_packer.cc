#include "image/block_packer.h"

#include <cstdlib>
#include <new>
#include <utility>

#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <zstd.h>

namespace vck::image {

struct ZstdPacker::State {
  ZSTD_CCtx* context = ZSTD_createCCtx();
  int level = 3;
  State() = default;
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() { ZSTD_freeCCtx(context); }
};

ZstdPacker::ZstdPacker(int level) : state_(std::make_unique<State>()) {
  if (state_->context == nullptr) throw std::bad_alloc();
  state_->level = level;
}
ZstdPacker::~ZstdPacker() = default;

PackedBlock ZstdPacker::Pack(std::string data) {
  PackedBlock out;
  // One byte less than it was: what does not fit is not worth it.
  std::string packed(data.size(), '\0');
  size_t n = data.size() < 2 ? 0
                             : ZSTD_compressCCtx(state_->context, packed.data(), packed.size() - 1, data.data(),
                                                 data.size(), state_->level);
  if (data.size() < 2 || ZSTD_isError(n) != 0) {
    out.data = std::move(data);
    return out;
  }
  packed.resize(n);
  // Blocks wait for their turn; half-empty buffers would double what that takes.
  packed.shrink_to_fit();
  out.data = std::move(packed);
  out.packed = true;
  return out;
}

BlockPacker::BlockPacker(int level, int threads)
    : level_(level), own_(level), limit_(static_cast<size_t>(threads) * 4 + 1) {
  for (int i = 0; i < threads; ++i) threads_.emplace_back([this] { Work(); });
}

BlockPacker::~BlockPacker() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stop_ = true;
  }
  work_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void BlockPacker::Add(std::string block, uint64_t tag) {
  auto slot = std::make_shared<Slot>();
  slot->block.data = std::move(block);
  slot->block.tag = tag;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    slots_.push_back(std::move(slot));
  }
  work_.notify_one();
}

bool BlockPacker::PackOne(std::unique_lock<std::mutex>& lock, ZstdPacker& packer) {
  std::shared_ptr<Slot> slot;
  for (const auto& candidate : slots_) {
    if (candidate->state == Slot::State::kWaiting) {
      slot = candidate;
      break;
    }
  }
  if (slot == nullptr) return false;
  slot->state = Slot::State::kBusy;
  uint64_t tag = slot->block.tag;
  lock.unlock();
  PackedBlock packed = packer.Pack(std::move(slot->block.data));
  packed.tag = tag;
  lock.lock();
  slot->block = std::move(packed);
  slot->state = Slot::State::kDone;
  done_.notify_all();
  return true;
}

void BlockPacker::Work() {
  (void)::setpriority(PRIO_PROCESS, static_cast<id_t>(::syscall(SYS_gettid)), 10);
  ZstdPacker packer(level_);
  std::unique_lock<std::mutex> lock(mutex_);
  while (true) {
    if (PackOne(lock, packer)) continue;
    if (stop_) return;
    work_.wait(lock);
  }
}

bool BlockPacker::Take(bool all, PackedBlock* out) {
  std::unique_lock<std::mutex> lock(mutex_);
  while (true) {
    if (slots_.empty()) return false;
    if (slots_.front()->state == Slot::State::kDone) {
      *out = std::move(slots_.front()->block);
      slots_.pop_front();
      return true;
    }
    if (!all && slots_.size() < limit_) return false;
    if (!PackOne(lock, own_)) done_.wait(lock);
  }
}

}  // namespace vck::image
