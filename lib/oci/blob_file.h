// A blob on its way to a file: written and hashed on a pool, a large piece at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include <boost/asio/thread_pool.hpp>

#include "async/task.h"
#include "base/status.h"

namespace vck::oci {

// A digest that is computed bit by bit. Algorithms: sha256, sha384, sha512.
class Hasher {
 public:
  // `digest` names the algorithm ("sha256:…" or "sha256"); anything else makes hashes that equal nothing.
  explicit Hasher(std::string_view digest);
  ~Hasher();
  Hasher(Hasher&&) noexcept;
  Hasher& operator=(Hasher&&) noexcept;
  void Update(std::string_view data);
  // "sha256:<hex>" of all so far; the hasher is of no more use.
  [[nodiscard]] std::string Finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

class BlobFile {
 public:
  // Makes the file; AlreadyExists if there is one. It is removed by the destructor unless Commit() was successful.
  static StatusOr<std::unique_ptr<BlobFile>> Create(asio::thread_pool& pool, std::string path, std::string digest);
  ~BlobFile();
  BlobFile(const BlobFile&) = delete;
  BlobFile& operator=(const BlobFile&) = delete;

  // Bytes taken so far.
  [[nodiscard]] int64_t size() const { return size_; }
  // Of the first write that failed.
  [[nodiscard]] const Status& error() const { return error_; }
  // Takes a piece; now and then writes what has come together. ResourceExhausted when the disk is full.
  Task<Status> Append(std::string piece);
  // From the beginning again.
  Task<Status> Restart();
  // Writes the rest. DataLoss if the digest is another.
  Task<Status> Commit();

 private:
  struct Core;  // what the pool works on
  BlobFile(asio::thread_pool& pool, std::string path, std::string digest, int fd);
  Task<Status> Flush();

  asio::thread_pool& pool_;
  std::string path_, digest_;
  std::shared_ptr<Core> core_;
  std::string buffer_;
  int64_t size_ = 0;
  Status error_;
  bool committed_ = false;
};

}  // namespace vck::oci
