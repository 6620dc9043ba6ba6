// BlockPacker: packs blocks with zstd on a few threads, and gives them back in order.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace vck::image {

// One block that is packed: `packed` false means that it is stored as it was, because packing did not make it smaller.
struct PackedBlock {
  std::string data;
  bool packed = false;
  uint64_t tag = 0;  // the caller's
};

// Packs one block at a time; keeps its working memory.
class ZstdPacker {
 public:
  explicit ZstdPacker(int level);
  ~ZstdPacker();
  ZstdPacker(const ZstdPacker&) = delete;
  ZstdPacker& operator=(const ZstdPacker&) = delete;
  PackedBlock Pack(std::string data);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

class BlockPacker {
 public:
  // `threads` besides the caller's; 0 is fine. They run at low priority (nice 10).
  BlockPacker(int level, int threads);
  ~BlockPacker();
  BlockPacker(const BlockPacker&) = delete;
  BlockPacker& operator=(const BlockPacker&) = delete;

  void Add(std::string block, uint64_t tag);
  // The oldest block. Waits for it if there are many under way, or with `all`; the caller's thread packs, too,
  // rather than wait. False: there is nothing to take (yet).
  bool Take(bool all, PackedBlock* out);

 private:
  struct Slot {
    PackedBlock block;
    enum class State { kWaiting, kBusy, kDone } state = State::kWaiting;
  };
  void Work();
  // Packs the first slot that waits; false if none does. Called with the lock held, which it lets go meanwhile.
  bool PackOne(std::unique_lock<std::mutex>& lock, ZstdPacker& packer);

  const int level_;
  ZstdPacker own_;
  size_t limit_;
  std::mutex mutex_;
  std::condition_variable work_, done_;
  std::deque<std::shared_ptr<Slot>> slots_;
  bool stop_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace vck::image
