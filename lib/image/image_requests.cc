#include "image/image_requests.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/digest.h"

namespace vck::image {
namespace {

constexpr std::string_view kErrImagePull = "ErrImagePull";
constexpr std::string_view kImagePullBackOff = "ImagePullBackOff";

std::string PolicyName(PullPolicy policy) {
  switch (policy) {
    case PullPolicy::kAlways:
      return "always";
    case PullPolicy::kNever:
      return "never";
    case PullPolicy::kIfNotPresent:
      break;
  }
  return "ifnotpresent";
}

// One pull for all who want the same with the same credentials.
std::string PullKey(const oci::Reference& reference, const oci::Keyring* keyring) {
  std::string key = reference.ToString();
  if (keyring == nullptr) return key;
  for (const oci::Credential& c : keyring->Lookup(reference.Name())) {
    absl::StrAppend(&key, "\n", Sha256Hex(absl::StrCat(c.username, "\n", c.password, "\n", c.identity_token)));
  }
  return key;
}

std::string Quoted(const std::string& image) { return absl::StrCat("\"", image, "\""); }

std::string Milliseconds(absl::Duration d) { return absl::FormatDuration(absl::Trunc(d, absl::Milliseconds(1))); }

}  // namespace

PullPolicy PullPolicyOf(std::string_view policy, std::string_view image) {
  if (policy == "Always") return PullPolicy::kAlways;
  if (policy == "Never") return PullPolicy::kNever;
  if (policy == "IfNotPresent") return PullPolicy::kIfNotPresent;
  auto reference = oci::ParseReference(image);
  bool latest = reference.ok() && reference->tag == "latest" && reference->digest.empty();
  return latest ? PullPolicy::kAlways : PullPolicy::kIfNotPresent;
}

void ImageRequests::SetSynced() {
  synced_ = true;
  std::set<std::string> all;
  for (const auto& [uid, containers] : pods_) all.insert(uid);
  Notify(all);
}

void ImageRequests::Release(const std::string& pod_uid, const std::string& container) {
  auto pod = pods_.find(pod_uid);
  if (pod == pods_.end()) return;
  pod->second.erase(container);
  if (pod->second.empty()) pods_.erase(pod);
}

std::set<std::string> ImageRequests::Held() const {
  std::set<std::string> out;
  for (const auto& [uid, containers] : pods_) {
    for (const auto& [name, request] : containers) out.insert(request.image);
  }
  return out;
}

// ---- answers ----

ImageStatus ImageRequests::Want(const ImageRequest& wanted) {
  auto [it, fresh] = pods_[wanted.pod_uid].try_emplace(wanted.container);
  Request& request = it->second;
  if (fresh || request.wanted.image != wanted.image || request.wanted.policy != wanted.policy) {
    request = {};
    request.wanted = wanted;
    auto reference = oci::ParseReference(wanted.image);
    if (reference.ok()) {
      request.reference = *std::move(reference);
    } else {
      request.parse = reference.status();
    }
  }
  request.wanted.keyring = wanted.keyring;
  return Evaluate(request);
}

ImageStatus ImageRequests::Evaluate(Request& request) {
  if (!request.parse.ok()) return InvalidName(request);
  if (!synced_) return {};
  const PullPolicy policy = request.wanted.policy;
  if (policy != PullPolicy::kAlways || !request.digest.empty()) {
    oci::Reference reference = request.reference;
    // What the tag meant when it was asked for is what this pod gets.
    if (!request.digest.empty()) reference.digest = request.digest;
    if (auto found = known_.Find(reference)) return Ready(request, *found->image, found->digest);
    request.digest.clear();
    request.image.clear();
  }
  if (policy == PullPolicy::kNever) return Never(request);
  Count(request, policy == PullPolicy::kAlways ? "unknown" : "false", "true");
  return Join(request);
}

ImageStatus ImageRequests::InvalidName(Request& request) {
  ImageStatus status{.state = ImageStatus::State::kFailed,
                     .reason = "InvalidImageName",
                     .message = oci::InvalidNameMessage(request.wanted.image, request.parse)};
  if (!std::exchange(request.told, true)) {
    Tell(request, true, "InspectFailed", status.message);
    Tell(request, true, "Failed", "Error: InvalidImageName");
  }
  return status;
}

ImageStatus ImageRequests::Never(Request& request) {
  Count(request, "false", "false");
  ImageStatus status{.state = ImageStatus::State::kFailed,
                     .reason = "ErrImageNeverPull",
                     .message = absl::StrCat("Container image ", Quoted(request.wanted.image),
                                             " is not present with pull policy of Never")};
  if (!std::exchange(request.told, true)) {
    Tell(request, true, "ErrImageNeverPull", status.message);
    Tell(request, true, "Failed", "Error: ErrImageNeverPull");
  }
  return status;
}

ImageStatus ImageRequests::Ready(Request& request, const StoredImage& image, const std::string& digest) {
  Count(request, "true", "false");
  if (!std::exchange(request.told, true)) {
    Tell(request, false, "Pulled",
         absl::StrCat("Container image ", Quoted(request.wanted.image),
                      " already present on machine and can be accessed by the pod"));
  }
  request.image = image.digest;
  known_.Touch(image.digest);
  return {.state = ImageStatus::State::kReady,
          .image_id = Catalog::ImageId(request.reference, digest),
          .disk_path = image.disk_path,
          .capacity_bytes = image.capacity_bytes};
}

ImageStatus ImageRequests::Join(Request& request) {
  const std::string key = PullKey(request.reference, request.wanted.keyring.get());
  const bool joins = request.pull != key;
  // A pull that runs is waited for; one that has failed is left as soon as there are other credentials.
  if (joins && pulls_.Running(request.pull)) return {};
  request.pull = key;
  // If it begins now, those who wait are told.
  if (joins && pulls_.Running(key)) {
    Tell(request, false, "Pulling", absl::StrCat("Pulling image ", Quoted(request.wanted.image)));
  }
  PullBook::State pull = pulls_.Join(key, request.reference, request.wanted.keyring);
  if (pull.error.empty()) return {};
  ImageStatus status{.state = ImageStatus::State::kFailed, .retry_at = pull.retry_at};
  if (pull.backs_off) {
    status.reason = kImagePullBackOff;
    status.message =
        absl::StrCat("Back-off pulling image ", Quoted(request.wanted.image), ": ", kErrImagePull, ": ", pull.error);
  } else {
    status.reason = kErrImagePull;
    status.message = std::move(pull.error);
  }
  return status;
}

// ---- what pulls tell ----

bool ImageRequests::AnyFor(const std::string& key) const {
  return std::ranges::any_of(pods_, [&](const auto& pod) {
    return std::ranges::any_of(pod.second, [&](const auto& c) { return c.second.pull == key; });
  });
}

void ImageRequests::Begun(const std::string& key) {
  ForWaiting(key, [this](const Request& request) {
    Tell(request, false, "Pulling", absl::StrCat("Pulling image ", Quoted(request.wanted.image)));
  });
}

void ImageRequests::Succeeded(const std::string& key, const ImageFetcher::Fetched& fetched, absl::Duration took) {
  std::set<std::string> pods;
  ForWaiting(key, [&](Request& request) {
    request.pull.clear();
    request.digest = fetched.digest;
    request.image = fetched.image.digest;  // held from now on
    request.told = true;
    Tell(request, false, "Pulled",
         absl::StrCat("Successfully pulled image ", Quoted(request.wanted.image), " in ",
                      Milliseconds(took - fetched.waited), " (", Milliseconds(took),
                      " including waiting). Image size: ", fetched.image.size_bytes, " bytes."));
    pods.insert(request.wanted.pod_uid);
  });
  Notify(pods);
}

void ImageRequests::Failed(const std::string& key, const std::string& error) {
  ForWaiting(key, [&](const Request& request) {
    Tell(request, true, "Failed", absl::StrCat("Failed to pull image ", Quoted(request.wanted.image), ": ", error));
    Tell(request, true, "Failed", absl::StrCat("Error: ", kErrImagePull));
  });
}

void ImageRequests::BacksOff(const std::string& key) {
  ForWaiting(key, [this](const Request& request) {
    Tell(request, false, "BackOff", absl::StrCat("Back-off pulling image ", Quoted(request.wanted.image)));
    Tell(request, true, "Failed", absl::StrCat("Error: ", kImagePullBackOff));
  });
}

void ImageRequests::Changed(const std::string& key) {
  std::set<std::string> pods;
  ForWaiting(key, [&pods](const Request& request) { pods.insert(request.wanted.pod_uid); });
  Notify(pods);
}

template <class Fn>
void ImageRequests::ForWaiting(const std::string& key, Fn fn) {
  for (auto& [uid, containers] : pods_) {
    for (auto& [name, request] : containers) {
      if (request.pull == key) fn(request);
    }
  }
}

void ImageRequests::Notify(const std::set<std::string>& pods) const {
  if (!callbacks_.changed) return;
  for (const std::string& uid : pods) callbacks_.changed(uid);
}

void ImageRequests::Tell(const Request& request, bool warning, std::string_view reason, std::string message) const {
  if (!callbacks_.event) return;
  callbacks_.event(request.wanted.pod_uid, request.wanted.container,
                   {.warning = warning, .reason = std::string(reason), .message = std::move(message)});
}

void ImageRequests::Count(Request& request, std::string_view present, std::string_view required) {
  if (std::exchange(request.counted, true)) return;
  metrics_
      .counter("kubelet_image_manager_ensure_image_requests_total",
               "Number of ensure-image requests processed by the kubelet.",
               {{"pull_policy", PolicyName(request.wanted.policy)},
                {"present_locally", std::string(present)},
                {"pull_required", std::string(required)}})
      .Increment();
}

}  // namespace vck::image
