#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "guestos/env_file.h"

// The name that is looked for, a zero byte, and a file, whose long lines the name's length makes. What comes out is the
// same however the file is cut, and a value holds no quote.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace vck::guestos;
  const std::string_view all(reinterpret_cast<const char*>(data), size);
  const std::string name(all.substr(0, all.find('\0')));
  std::string text(all.substr(std::min(name.size() + 1, all.size())));
  // Interesting, and too long for a corpus.
  if (name.size() % 4 == 3) text += std::string(size_t{65500} + size % 64, 'x') + text;
  EnvFileReader whole(name), cut(name);
  whole.Feed(text);
  auto value = whole.Finish();
  const size_t step = 1 + size * 37 % 5000;
  for (size_t at = 0; at < text.size() && cut.Feed(std::string_view(text).substr(at, step)); at += step) {
  }
  if (cut.Finish() != value) std::abort();
  if (value.ok() && value->find('\'') != std::string::npos) std::abort();
  return 0;
}
