// LoginGuard: what keeps the account from being locked. One for all sessions with it, SOAP and REST alike: a vCenter
// locks accounts after a few bad logins within minutes, over whatever API they come.
#pragma once

#include <functional>
#include <string>
#include <utility>

#include "async/backoff.h"
#include "async/clock.h"
#include "async/wait.h"
#include "base/status.h"

namespace vck::vsphere {

struct Credentials {
  std::string user, password;
  friend bool operator==(const Credentials&, const Credentials&) = default;
};

class LoginGuard {
 public:
  // `changed` is called when refusal() begins, or ends.
  LoginGuard(Clock& clock, BackoffPolicy policy, std::function<void()> changed)
      : clock_(clock), backoff_(policy), changed_(std::move(changed)) {}
  LoginGuard(const LoginGuard&) = delete;
  LoginGuard& operator=(const LoginGuard&) = delete;

  // One login at a time. Whoever leaves a login, however, lets the others go on.
  class Turn {
   public:
    explicit Turn(LoginGuard& guard) : guard_(guard) { guard_.busy_ = true; }
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;
    ~Turn() {
      guard_.busy_ = false;
      guard_.done_.NotifyAll();
    }

   private:
    LoginGuard& guard_;
  };
  [[nodiscard]] bool busy() const { return busy_; }
  Task<> WaitForTurn() { return done_.Wait(); }

  // OK if a login with these may be sent: they are others than those that were refused, or their next attempt is due.
  // Else the refusal.
  [[nodiscard]] Status MayTry(const Credentials& credentials) const;
  // What came of a login that was sent. `error` is kept as refusal().
  void Refused(Credentials credentials, Status error);
  void Accepted();

  // Why vCenter takes no login; OK if the last one that it judged was accepted, or none was sent yet.
  [[nodiscard]] const Status& refusal() const { return refusal_; }

 private:
  Clock& clock_;
  Backoff backoff_;
  std::function<void()> changed_;
  bool busy_ = false;
  Signal done_;
  Credentials refused_;
  Instant next_;
  Status refusal_;
};

}  // namespace vck::vsphere
