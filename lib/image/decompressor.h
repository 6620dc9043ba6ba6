// Decompressor: a machine that unpacks what a layer is packed with: gzip, zstd, or nothing.
#pragma once

#include <memory>
#include <span>
#include <string_view>

#include "base/status.h"

namespace vck::image {

class Decompressor {
 public:
  virtual ~Decompressor() = default;

  // Takes from the front of `*input` and writes to the front of `out`: the number of bytes written. 0: more input is
  // wanted, or (if it was not used up) nothing follows that could be unpacked. InvalidArgument for what is damaged,
  // ResourceExhausted for what needs too much memory.
  virtual StatusOr<size_t> Step(std::string_view* input, std::span<char> out) = 0;
  // The input has ended: InvalidArgument in the middle of something.
  virtual Status Finish() const = 0;

  // By the first bytes, of which 4 are needed to know; fewer are taken as they are. What a media type says is not
  // asked: registries are wrong about it now and then.
  static std::unique_ptr<Decompressor> For(std::string_view first);
};

}  // namespace vck::image
