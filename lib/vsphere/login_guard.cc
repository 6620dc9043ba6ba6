#include "vsphere/login_guard.h"

namespace vck::vsphere {

Status LoginGuard::MayTry(const Credentials& credentials) const {
  if (refusal_.ok() || credentials != refused_ || clock_.Now() >= next_) return absl::OkStatus();
  return refusal_;
}

void LoginGuard::Refused(Credentials credentials, Status error) {
  if (credentials != refused_) backoff_.Reset();
  refused_ = std::move(credentials);
  next_ = clock_.Now() + backoff_.Next();
  const bool news = refusal_.ok();
  refusal_ = std::move(error);
  if (news) changed_();
}

void LoginGuard::Accepted() {
  backoff_.Reset();
  refused_ = {};
  if (refusal_.ok()) return;
  refusal_ = absl::OkStatus();
  changed_();
}

}  // namespace vck::vsphere
