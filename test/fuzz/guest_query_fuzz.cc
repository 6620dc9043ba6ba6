#include <cstddef>
#include <cstdint>
#include <string_view>

#include "guestos/crun.h"
#include "guestos/query.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (auto query = vck::guestos::Query::Parse(text); query.ok()) {
    (void)query->Number("n", 0);
    (void)query->Flag("f");
    (void)query->All("command");
  }
  (void)vck::guestos::CrunMessage(text, "program");
  return 0;
}
