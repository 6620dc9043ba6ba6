#include "kube/scan.h"

#include <cstring>

namespace vck::kube {
namespace {

constexpr int kMaxDepth = 10000;

bool IsSpace(char c) { return c == ' ' || c == '\n' || c == '\t' || c == '\r'; }
bool IsLiteral(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '+' || c == '.';
}

}  // namespace

char JsonCursor::Peek() {
  while (p_ < end_ && IsSpace(*p_)) ++p_;
  return p_ < end_ ? *p_ : '\0';
}

bool JsonCursor::Take(char c) {
  if (Peek() != c || p_ == end_) return false;
  ++p_;
  return true;
}

// At the byte after the opening quote; goes past the closing one.
bool JsonCursor::SkipString() {
  while (p_ < end_) {
    const void* quote = std::memchr(p_, '"', static_cast<size_t>(end_ - p_));
    if (quote == nullptr) return false;
    const char* q = static_cast<const char*>(quote);
    // An odd number of backslashes before the quote makes it part of the string.
    const char* b = q;
    while (b > p_ && b[-1] == '\\') --b;
    p_ = q + 1;
    if ((q - b) % 2 == 0) return true;
  }
  return false;
}

bool JsonCursor::String(std::string_view* raw, bool* escaped) {
  if (!Take('"')) return false;
  const char* start = p_;
  if (!SkipString()) return false;
  *raw = std::string_view(start, static_cast<size_t>(p_ - 1 - start));
  *escaped = std::memchr(raw->data(), '\\', raw->size()) != nullptr;
  return true;
}

bool JsonCursor::Literal(std::string_view* raw) {
  Peek();
  const char* start = p_;
  while (p_ < end_ && IsLiteral(*p_)) ++p_;
  *raw = std::string_view(start, static_cast<size_t>(p_ - start));
  return !raw->empty();
}

bool JsonCursor::Skip() {
  char c = Peek();
  if (c == '"') {
    ++p_;
    return SkipString();
  }
  if (c != '{' && c != '[') {
    std::string_view raw;
    return Literal(&raw);
  }
  int depth = 0;
  while (p_ < end_) {
    switch (*p_++) {
      case '"':
        if (!SkipString()) return false;
        break;
      case '{':
      case '[':
        if (++depth > kMaxDepth) return false;
        break;
      case '}':
      case ']':
        if (--depth == 0) return true;
        break;
      default:
        break;
    }
  }
  return false;
}

}  // namespace vck::kube
