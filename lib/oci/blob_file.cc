#include "oci/blob_file.h"

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include <fcntl.h>
#include <openssl/evp.h>
#include <unistd.h>

#include "absl/strings/escaping.h"
#include "async/offload.h"

namespace vck::oci {
namespace {

constexpr size_t kPiece = size_t{1} << 20;

Status FileError(std::string_view what, const std::string& path, int error) {
  std::string text = absl::StrCat(what, " ", path, ": ", std::strerror(error));
  if (error == ENOSPC || error == EDQUOT) return absl::ResourceExhaustedError(text);
  if (error == EEXIST) return absl::AlreadyExistsError(text);
  return absl::InternalError(text);
}

const EVP_MD* Algorithm(std::string_view digest) {
  std::string_view name = digest.substr(0, digest.find(':'));
  if (name == "sha256") return EVP_sha256();
  if (name == "sha384") return EVP_sha384();
  if (name == "sha512") return EVP_sha512();
  return nullptr;
}

}  // namespace

struct Hasher::State {
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  std::string name;
  bool good = false;
  State() = default;
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() { EVP_MD_CTX_free(context); }
};

Hasher::Hasher(std::string_view digest) : state_(std::make_unique<State>()) {
  state_->name = digest.substr(0, digest.find(':'));
  const EVP_MD* algorithm = Algorithm(digest);
  state_->good = algorithm != nullptr && EVP_DigestInit_ex(state_->context, algorithm, nullptr) == 1;
}
Hasher::~Hasher() = default;
Hasher::Hasher(Hasher&&) noexcept = default;
Hasher& Hasher::operator=(Hasher&&) noexcept = default;

void Hasher::Update(std::string_view data) {
  if (state_->good) state_->good = EVP_DigestUpdate(state_->context, data.data(), data.size()) == 1;
}

std::string Hasher::Finish() {
  std::array<unsigned char, EVP_MAX_MD_SIZE> out{};
  unsigned int size = 0;
  if (!state_->good || EVP_DigestFinal_ex(state_->context, out.data(), &size) != 1) return "";
  return absl::StrCat(state_->name, ":",
                      absl::BytesToHexString(std::string_view(reinterpret_cast<const char*>(out.data()), size)));
}

struct BlobFile::Core {
  Core(int f, std::string p, std::string_view digest) : fd(f), path(std::move(p)), hasher(digest) {}
  Core(const Core&) = delete;
  Core& operator=(const Core&) = delete;
  ~Core() { ::close(fd); }

  Status Write(std::string_view data) {
    hasher.Update(data);
    while (!data.empty()) {
      ssize_t n = ::write(fd, data.data(), data.size());
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return FileError("write", path, errno);
      data.remove_prefix(static_cast<size_t>(n));
    }
    return absl::OkStatus();
  }
  Status Restart(std::string_view digest) {
    hasher = Hasher(digest);
    if (::ftruncate(fd, 0) != 0 || ::lseek(fd, 0, SEEK_SET) != 0) return FileError("truncate", path, errno);
    return absl::OkStatus();
  }

  int fd;
  std::string path;
  Hasher hasher;
};

StatusOr<std::unique_ptr<BlobFile>> BlobFile::Create(asio::thread_pool& pool, std::string path, std::string digest) {
  int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0) return FileError("create", path, errno);
  return std::unique_ptr<BlobFile>(new BlobFile(pool, std::move(path), std::move(digest), fd));
}

BlobFile::BlobFile(asio::thread_pool& pool, std::string path, std::string digest, int fd)
    : pool_(pool),
      path_(std::move(path)),
      digest_(std::move(digest)),
      core_(std::make_shared<Core>(fd, path_, digest_)) {}

BlobFile::~BlobFile() {
  if (!committed_) ::unlink(path_.c_str());
}

Task<Status> BlobFile::Append(std::string piece) {
  size_ += static_cast<int64_t>(piece.size());
  if (buffer_.empty()) {
    buffer_.reserve(kPiece + piece.size());
  }
  buffer_ += piece;
  if (buffer_.size() < kPiece) co_return absl::OkStatus();
  co_return co_await Flush();
}

Task<Status> BlobFile::Flush() {
  if (buffer_.empty()) co_return absl::OkStatus();
  std::string data = std::exchange(buffer_, {});
  auto write = [core = core_, data = std::move(data)] { return core->Write(data); };
  Status status = co_await Offload(pool_, std::move(write));
  error_.Update(status);
  co_return status;
}

Task<Status> BlobFile::Restart() {
  buffer_.clear();
  size_ = 0;
  auto restart = [core = core_, digest = digest_] { return core->Restart(digest); };
  Status status = co_await Offload(pool_, std::move(restart));
  error_.Update(status);
  co_return status;
}

Task<Status> BlobFile::Commit() {
  CO_RETURN_IF_ERROR(co_await Flush());
  std::string digest = core_->hasher.Finish();
  if (digest != digest_) {
    co_return absl::DataLossError(absl::StrCat("unexpected digest: expected ", digest_, ", got ", digest));
  }
  committed_ = true;
  co_return absl::OkStatus();
}

}  // namespace vck::oci
