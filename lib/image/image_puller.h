// ImagePuller: one pull from the registry into the store: layers to files, merged to a squashfs, brought in as a VMDK.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>

#include <boost/asio/thread_pool.hpp>

#include "async/clock.h"
#include "async/limiter.h"
#include "async/task.h"
#include "base/status.h"
#include "image/image_store.h"
#include "oci/registry_client.h"

namespace vck::image {

class ImagePuller {
 public:
  struct Options {
    std::string work_dir;
    int parallel_layers = 3;
  };
  // `pool` merges and reads: with two threads one image is merged while another one is sent.
  ImagePuller(Executor executor, Clock& clock, asio::thread_pool& pool, oci::RegistryClient& registry,
              ImageStore& store, Options options)
      : executor_(executor),
        clock_(clock),
        pool_(pool),
        registry_(registry),
        store_(store),
        options_(std::move(options)) {}

  // Makes the work directory, and removes what an earlier process has left there.
  Task<Status> Prepare();

  struct Job {
    oci::Reference reference;
    oci::RemoteImage image;
    std::shared_ptr<const oci::Keyring> keyring;
    std::vector<std::string> names;  // of the stored image
    std::shared_ptr<std::atomic<bool>> cancelled;
    std::function<void(size_t)> received;  // bytes from the registry; may be empty
  };
  // Nothing is left in the work directory afterwards. Errors say at which step, as containerd does.
  Task<StatusOr<StoredImage>> Pull(Job job);

 private:
  Task<Status> FetchLayers(const Job& job, const std::string& dir);
  Task<Status> CheckRoom(std::string dir, int64_t layer_bytes);

  Executor executor_;
  Clock& clock_;
  asio::thread_pool& pool_;
  oci::RegistryClient& registry_;
  ImageStore& store_;
  Options options_;
  Limiter merging_{1};
};

}  // namespace vck::image
