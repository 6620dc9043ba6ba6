// One login at a time, for the SOAP session and the REST session alike.
#pragma once

#include "async/wait.h"

namespace vck::vsphere {

// Whoever leaves a login, however, lets the others go on.
class LoginTurn {
 public:
  LoginTurn(bool& flag, Signal& done) : flag_(flag), done_(done) { flag_ = true; }
  LoginTurn(const LoginTurn&) = delete;
  LoginTurn& operator=(const LoginTurn&) = delete;
  ~LoginTurn() {
    flag_ = false;
    done_.NotifyAll();
  }

 private:
  bool& flag_;
  Signal& done_;
};

}  // namespace vck::vsphere
