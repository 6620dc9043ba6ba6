// Structured concurrency: whatever is spawned is joined by somebody.
#pragma once

#include <exception>
#include <list>
#include <memory>
#include <string>

#include <boost/asio/cancellation_signal.hpp>

#include "async/task.h"
#include "async/wait.h"
#include "base/status.h"

namespace vck {

// Runs child tasks on an executor. The first child that ends with an error (or an exception) cancels its siblings.
// Destroying a group with running children is a bug and aborts: Join() first.
class TaskGroup {
 public:
  explicit TaskGroup(Executor executor);
  TaskGroup(const TaskGroup&) = delete;
  TaskGroup& operator=(const TaskGroup&) = delete;
  ~TaskGroup();

  // `name` appears in the error. The child first runs at the next turn of the loop. A child that is cancelled counts as
  // OK.
  void Spawn(std::string name, Task<Status> child);
  void Spawn(std::string name, Task<> child);
  // Asks all children to stop; children spawned later are cancelled at once. Join() still has to be awaited.
  void Cancel();
  // Waits until no child runs, and returns the first error. When the caller is cancelled, the children are cancelled,
  // waited for, and operation_aborted is thrown. A child's own exception is rethrown here. May be called again.
  Task<Status> Join();
  [[nodiscard]] size_t size() const { return children_.size(); }

 private:
  struct Child {
    std::string name;
    asio::cancellation_signal signal;
  };
  void Finish(std::list<Child>::iterator child, std::exception_ptr exception, Status status);

  Executor executor_;
  std::list<Child> children_;
  Event empty_;
  bool cancelled_ = false;
  Status first_error_;
  std::exception_ptr first_exception_;
};

}  // namespace vck
