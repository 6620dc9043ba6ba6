// Limits on how many run at once (with priorities) and on how often.
#pragma once

#include <array>
#include <list>

#include "async/clock.h"
#include "async/task.h"
#include "async/wait.h"

namespace vck {

// A counting semaphore with two classes of waiters: those of high priority go first, in order of arrival within a
// class.
class Limiter {
 public:
  enum class Priority { kHigh, kNormal };
  // Holds one place until it is destroyed.
  class Permit {
   public:
    Permit() = default;
    explicit Permit(Limiter* owner) : owner_(owner) {}
    Permit(Permit&& other) noexcept : owner_(std::exchange(other.owner_, nullptr)) {}
    Permit& operator=(Permit&& other) noexcept;
    ~Permit() { Release(); }
    void Release();

   private:
    Limiter* owner_ = nullptr;
  };

  explicit Limiter(int limit) : free_(limit) {}
  Task<Permit> Acquire(Priority priority = Priority::kNormal);
  [[nodiscard]] int free() const { return free_; }
  [[nodiscard]] size_t waiting() const { return queues_[0].size() + queues_[1].size(); }

 private:
  void Put();
  std::array<std::list<Waiter*>, 2> queues_;
  int free_;
};

// A token bucket: on average `per_second`, at most `burst` at once. per_second <= 0 means no limit.
class RateLimiter {
 public:
  RateLimiter(Clock& clock, double per_second, double burst);
  // Waits for its turn; turns are in order of arrival.
  Task<> Acquire();
  // How long one would wait now; takes the token (client-go's Reserve).
  absl::Duration Reserve();

 private:
  Clock& clock_;
  double per_second_;
  double burst_;
  double tokens_;
  Instant last_;
};

}  // namespace vck
