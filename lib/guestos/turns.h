// One after another: coroutines that must not work on something at the same time.
#pragma once

#include <utility>

#include "async/task.h"
#include "async/wait.h"

namespace vck::guestos {

class Turns {
 public:
  class Turn {
   public:
    explicit Turn(Turns* turns) : turns_(turns) {}
    Turn(Turn&& other) noexcept : turns_(std::exchange(other.turns_, nullptr)) {}
    Turn& operator=(Turn&&) = delete;
    ~Turn() {
      if (turns_ == nullptr) return;
      turns_->taken_ = false;
      turns_->freed_.NotifyAll();
    }

   private:
    Turns* turns_;
  };
  // It is the caller's turn until the result is destroyed.
  Task<Turn> Take() {
    while (taken_) co_await freed_.Wait();
    taken_ = true;
    co_return Turn(this);
  }

 private:
  bool taken_ = false;
  Signal freed_;
};

}  // namespace vck::guestos
