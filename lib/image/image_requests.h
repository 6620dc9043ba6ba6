// ImageRequests: what containers want, and what each is answered: an image that is there, or how its pull goes. Tells
// the events of it.
#pragma once

#include <map>
#include <set>
#include <string>
#include <string_view>

#include "async/clock.h"
#include "async/task.h"
#include "base/status.h"
#include "image/image_fetcher.h"
#include "image/image_request.h"
#include "image/known_images.h"
#include "image/pull_book.h"
#include "metrics/metrics.h"
#include "oci/reference.h"

namespace vck::image {

class ImageRequests : private PullBook::Waiters {
 public:
  // All references must outlive it; of the callbacks, `changed` and `event` are used.
  ImageRequests(Executor executor, Clock& clock, metrics::Registry& metrics, KnownImages& known, ImageFetcher& fetcher,
                const ImageCallbacks& callbacks, PullBook::Options options)
      : metrics_(metrics),
        known_(known),
        callbacks_(callbacks),
        pulls_(executor, clock, metrics, fetcher, *this, options) {}

  // Pulls until cancelled.
  Task<Status> Run() { return pulls_.Run(); }
  // The store has been read: until then it is not known what has to be pulled.
  void SetSynced();
  [[nodiscard]] bool synced() const { return synced_; }

  // As ImageService's.
  ImageStatus Want(const ImageRequest& wanted);
  void Release(const std::string& pod_uid) { pods_.erase(pod_uid); }
  void Release(const std::string& pod_uid, const std::string& container);

  // Digests of the images that somebody has been answered with.
  [[nodiscard]] std::set<std::string> Held() const;
  void ForgetOldFailures() { pulls_.ForgetOldFailures(); }

 private:
  struct Request {
    ImageRequest wanted;
    oci::Reference reference;
    Status parse;
    bool counted = false, told = false;  // metrics; the event that ends the waiting
    std::string pull;                    // key of the pull that it waits for
    std::string digest;                  // what a pull has resolved the reference to
    std::string image;                   // digest of the stored image that it was answered with
  };

  ImageStatus Evaluate(Request& request);
  ImageStatus Ready(Request& request, const StoredImage& image, const std::string& digest);
  ImageStatus Never(Request& request);
  ImageStatus InvalidName(Request& request);
  ImageStatus Join(Request& request);

  [[nodiscard]] bool AnyFor(const std::string& key) const override;
  void Begun(const std::string& key) override;
  void Succeeded(const std::string& key, const ImageFetcher::Fetched& fetched, absl::Duration took) override;
  void Failed(const std::string& key, const std::string& error) override;
  void BacksOff(const std::string& key) override;
  void Changed(const std::string& key) override;

  template <class Fn>
  void ForWaiting(const std::string& key, Fn fn);
  void Notify(const std::set<std::string>& pods) const;
  void Tell(const Request& request, bool warning, std::string_view reason, std::string message) const;
  void Count(Request& request, std::string_view present, std::string_view required);

  metrics::Registry& metrics_;
  KnownImages& known_;
  const ImageCallbacks& callbacks_;
  PullBook pulls_;
  bool synced_ = false;
  std::map<std::string, std::map<std::string, Request>> pods_;  // by uid and container
};

}  // namespace vck::image
