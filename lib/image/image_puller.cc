#include "image/image_puller.h"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>

#include <sys/resource.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "async/offload.h"
#include "async/task_group.h"
#include "base/digest.h"
#include "base/log.h"
#include "image/gc.h"
#include "image/merge.h"
#include "image/vmdk.h"

namespace vck::image {
namespace {

namespace fs = std::filesystem;

// Room that is not used up by images.
constexpr int64_t kSpareBytes = int64_t{64} << 20;

// A directory that is gone with all in it when this is destroyed.
class WorkDir {
 public:
  explicit WorkDir(std::string path) : path_(std::move(path)) {}
  WorkDir(const WorkDir&) = delete;
  WorkDir& operator=(const WorkDir&) = delete;
  ~WorkDir() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  Status Make() {
    std::error_code error;
    fs::create_directories(path_, error);
    if (error) return absl::InternalError(absl::StrCat("create ", path_, ": ", error.message()));
    return absl::OkStatus();
  }
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

std::string LayerFile(const std::string& dir, const std::string& digest) {
  return absl::StrCat(dir, "/", digest.substr(digest.find(':') + 1));
}

Task<StatusOr<std::string>> NextPiece(asio::thread_pool& pool, std::shared_ptr<VmdkStream> stream) {
  auto next = [stream = std::move(stream)] { return stream->Next(); };
  co_return co_await Offload(pool, std::move(next));
}

http::BodySource BrokenSource(Status error) {
  // Not a coroutine: it only makes one.
  return [error] { return [](Status e) -> Task<StatusOr<std::string>> { co_return e; }(error); };
}

// The squashfs as a VMDK, from its beginning.
http::BodySource SourceOf(asio::thread_pool& pool, const std::string& path, int64_t bytes, const std::string& digest) {
  auto stream = VmdkStream::Open(path, bytes, digest);
  if (!stream.ok()) return BrokenSource(stream.status());
  auto shared = std::make_shared<VmdkStream>(*std::move(stream));
  return [&pool, shared] { return NextPiece(pool, shared); };
}

Task<Status> FetchLayer(oci::RegistryClient& registry, Limiter& limiter, oci::Reference reference,
                        oci::Descriptor layer, std::shared_ptr<const oci::Keyring> keyring, std::string path,
                        std::function<void(size_t)> received) {
  Limiter::Permit permit = co_await limiter.Acquire();
  co_return co_await registry.FetchBlob(std::move(reference), std::move(layer), std::move(keyring), std::move(path),
                                        std::move(received));
}

}  // namespace

Task<Status> ImagePuller::Prepare() {
  auto prepare = [dir = options_.work_dir]() -> Status {
    std::error_code error;
    fs::create_directories(dir, error);
    if (error) return absl::InternalError(absl::StrCat("create ", dir, ": ", error.message()));
    for (const auto& entry : fs::directory_iterator(dir, error)) {
      std::error_code failed;
      fs::remove_all(entry.path(), failed);
      if (failed) return absl::InternalError(absl::StrCat("remove ", entry.path().string(), ": ", failed.message()));
    }
    return absl::OkStatus();
  };
  co_return co_await Offload(pool_, std::move(prepare));
}

Task<Status> ImagePuller::CheckRoom(std::string dir, int64_t layer_bytes) {
  // The layers, and a file system that is packed about as well.
  int64_t wanted = 2 * layer_bytes + kSpareBytes;
  auto check = [dir = std::move(dir), wanted]() -> Status {
    struct statvfs info{};
    if (::statvfs(dir.c_str(), &info) != 0) return absl::InternalError(absl::StrCat(dir, ": ", std::strerror(errno)));
    auto free = static_cast<int64_t>(info.f_bavail * info.f_frsize);
    if (free >= wanted) return absl::OkStatus();
    return absl::ResourceExhaustedError(absl::StrCat("no space left in ", dir, ": ", FormatSize(wanted),
                                                     " are needed, ", FormatSize(free), " are free"));
  };
  co_return co_await Offload(pool_, std::move(check));
}

Task<Status> ImagePuller::FetchLayers(const Job& job, const std::string& dir) {
  TaskGroup group(executor_);
  Limiter limiter(options_.parallel_layers);
  absl::flat_hash_set<std::string> begun;
  for (const oci::Layer& layer : job.image.manifest.layers) {
    const oci::Descriptor& blob = layer.descriptor;
    if (!begun.insert(blob.digest).second) continue;
    group.Spawn(absl::StrCat("layer ", blob.digest), FetchLayer(registry_, limiter, job.reference, blob, job.keyring,
                                                                LayerFile(dir, blob.digest), job.received));
  }
  co_return co_await group.Join();
}

Task<StatusOr<StoredImage>> ImagePuller::Pull(Job job) {
  WorkDir dir(absl::StrCat(options_.work_dir, "/", RandomHex(8)));
  CO_RETURN_IF_ERROR(dir.Make());
  CO_RETURN_IF_ERROR(co_await CheckRoom(dir.path(), job.image.layer_bytes()));
  Status fetched = co_await FetchLayers(job, dir.path());
  if (!fetched.ok()) co_return Annotate(fetched, "failed to copy");

  MergeRequest merge{.config = job.image.config, .output = dir.path() + "/image.squashfs"};
  const std::vector<oci::Layer>& layers = job.image.manifest.layers;
  for (size_t i = 0; i < layers.size(); ++i) {
    merge.layers.push_back({LayerFile(dir.path(), layers[i].descriptor.digest), job.image.image_config.diff_ids[i]});
  }
  StatusOr<MergeResult> merged;
  {
    Limiter::Permit permit = co_await merging_.Acquire();
    Instant start = clock_.Now();
    auto run = [&merge, cancelled = job.cancelled] {
      // Pods come first.
      (void)::setpriority(PRIO_PROCESS, static_cast<id_t>(::syscall(SYS_gettid)), 10);
      merge.cancelled = cancelled.get();
      return MergeLayers(merge);
    };
    merged = co_await Offload(pool_, std::move(run));
    if (!merged.ok()) co_return Annotate(merged.status(), "failed to extract layers");
    LogV(1, "Image merged",
         {{"image", job.reference.ToString()},
          {"files", merged->files},
          {"unpackedBytes", merged->unpacked_bytes},
          {"bytes", merged->bytes},
          {"time", absl::FormatDuration(clock_.Now() - start)}});
  }
  // The layers have done their work, and the disk may be small.
  auto unlink_layers = [paths = std::move(merge.layers)]() -> Status {
    for (const MergeLayer& layer : paths) ::unlink(layer.path.c_str());
    return absl::OkStatus();
  };
  CO_RETURN_IF_ERROR(co_await Offload(pool_, std::move(unlink_layers)));

  NewImage stored{.digest = job.image.manifest_digest,
                  .names = std::move(job.names),
                  .capacity_bytes = VmdkStream::Capacity(merged->bytes),
                  .vmdk_bytes = VmdkStream::Size(merged->bytes)};
  stored.open = [this, path = merge.output, bytes = merged->bytes, digest = stored.digest] {
    return SourceOf(pool_, path, bytes, digest);
  };
  StatusOr<StoredImage> image = co_await store_.Import(std::move(stored));
  auto unlink_output = [path = merge.output]() -> Status {
    ::unlink(path.c_str());
    return absl::OkStatus();
  };
  (void)co_await Offload(pool_, std::move(unlink_output));
  if (!image.ok()) co_return Annotate(image.status(), "failed to store");
  co_return image;
}

}  // namespace vck::image
