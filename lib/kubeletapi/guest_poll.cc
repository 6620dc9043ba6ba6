#include "kubeletapi/guest_poll.h"

#include "absl/strings/str_cat.h"

namespace vck::kubeletapi {

Task<StatusOr<std::string>> FetchFromGuest(guestlink::Links& links, std::string uid, std::string target, size_t max) {
  CO_ASSIGN_OR_RETURN(auto response, co_await links.Get(std::move(uid), std::move(target)));
  std::string body;
  while (true) {
    CO_ASSIGN_OR_RETURN(std::string piece, co_await response.body->Read());
    if (piece.empty()) co_return body;
    if (body.size() + piece.size() > max) {
      co_return absl::ResourceExhaustedError(absl::StrCat("the guest tells more than ", max, " bytes"));
    }
    body += piece;
  }
}

}  // namespace vck::kubeletapi
