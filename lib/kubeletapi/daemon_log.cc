#include "kubeletapi/daemon_log.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "kubeapi/timestamp.h"
#include "kubeletapi/answers.h"

namespace vck::kubeletapi {
namespace {

using internal::Text;

constexpr std::string_view kFile = "vch-kubelet.log";
constexpr int64_t kMostTailLines = 100'000;  // as the kubelet's

// What `query` asks for. InvalidArgument tells what is wrong.
StatusOr<LogMemory::Wanted> WantedOf(const Query& query) {
  LogMemory::Wanted out;
  for (const char* name : {"pattern", "boot"}) {
    if (!query.Get(name).empty()) {
      return absl::InvalidArgumentError(absl::StrCat(name, " is not supported here: the log is of this process alone"));
    }
  }
  for (const auto& [name, moment] : {std::pair{"sinceTime", &out.since}, std::pair{"untilTime", &out.until}}) {
    const std::string_view text = query.Get(name);
    if (text.empty()) continue;
    const auto time = kubeapi::ParseTime(text);
    if (!time) return absl::InvalidArgumentError(absl::StrCat(name, " \"", text, "\": expected a time as in RFC 3339"));
    *moment = absl::ToUnixMicros(*time);
  }
  if (out.since > out.until) return absl::InvalidArgumentError("untilTime is before sinceTime");
  if (const std::string_view text = query.Get("tailLines"); !text.empty()) {
    int64_t lines = 0;
    if (!absl::SimpleAtoi(text, &lines) || lines < 0 || lines > kMostTailLines) {
      return absl::InvalidArgumentError(
          absl::StrCat("tailLines \"", text, "\": expected a number from 0 to ", kMostTailLines));
    }
    out.tail = static_cast<size_t>(lines);
  }
  return out;
}

}  // namespace

http::Response DaemonLog(const Target& target, const LogMemory& log) {
  const auto& path = target.segments;
  if (path.size() == 1 && target.query.Has("query")) {
    for (const std::string& service : target.query.All("query")) {
      if (service != "kubelet" && service != "vch-kubelet" && service != kFile) {
        return Text(404, absl::StrCat("no log of \"", service, "\": this node has vch-kubelet's"));
      }
    }
    auto wanted = WantedOf(target.query);
    if (!wanted.ok()) return Text(400, std::string(wanted.status().message()));
    return Text(200, log.Text(*wanted));
  }
  if (path.size() == 2 && path[1] == kFile) return Text(200, log.Text());
  if (path.size() > 1) return Text(404, "404 page not found\n");
  return {200,
          {{"Content-Type", "text/html; charset=utf-8"}},
          absl::StrCat("<pre>\n<a href=\"", kFile, "\">", kFile, "</a>\n</pre>\n")};
}

}  // namespace vck::kubeletapi
