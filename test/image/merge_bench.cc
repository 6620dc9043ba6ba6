// Merges layers and tells what it took.
//   merge_bench OUTPUT LAYER...
#include <chrono>
#include <cstdio>
#include <fstream>
#include <iterator>

#include <sys/resource.h>

#include "image/decompressor.h"
#include "image/merge.h"
#include "oci/blob_file.h"

namespace {

std::string DiffId(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::string buffer(1 << 18, '\0'), out(1 << 18, '\0');
  vck::oci::Hasher hasher("sha256");
  std::unique_ptr<vck::image::Decompressor> unpack;
  while (in) {
    in.read(buffer.data(), static_cast<std::streamsize>(buffer.size()));
    std::string_view input(buffer.data(), static_cast<size_t>(in.gcount()));
    if (!unpack) unpack = vck::image::Decompressor::For(input);
    while (true) {
      auto n = unpack->Step(&input, out);
      if (!n.ok()) {
        std::fprintf(stderr, "%s\n", n.status().ToString().c_str());
        return "";
      }
      if (*n == 0) break;
      hasher.Update(std::string_view(out).substr(0, *n));
    }
  }
  return hasher.Finish();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  vck::image::MergeRequest request{.config = "{}", .output = argv[1]};
  for (int i = 2; i < argc; ++i) request.layers.push_back({argv[i], DiffId(argv[i])});
  auto start = std::chrono::steady_clock::now();
  auto result = vck::image::MergeLayers(request);
  double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (!result.ok()) {
    std::fprintf(stderr, "%s\n", result.status().ToString().c_str());
    return 1;
  }
  rusage use{};
  getrusage(RUSAGE_SELF, &use);
  auto mb = [](int64_t bytes) { return static_cast<double>(bytes) / 1e6; };
  std::printf(
      "%.0f MB unpacked, %lld files -> %.0f MB in %.1f s (%.0f MB/s), CPU %.1f s, tree %.1f MB, peak RSS %.1f MiB\n",
      mb(result->unpacked_bytes), static_cast<long long>(result->files), mb(result->bytes), seconds,
      mb(result->unpacked_bytes) / seconds,
      static_cast<double>(use.ru_utime.tv_sec) + static_cast<double>(use.ru_utime.tv_usec) / 1e6,
      mb(static_cast<int64_t>(result->memory)), static_cast<double>(use.ru_maxrss) / 1024);
  return 0;
}
