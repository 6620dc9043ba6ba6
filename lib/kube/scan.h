// Finds its way through JSON text without building anything: for picking a few fields out of large documents.
#pragma once

#include <string_view>

namespace vck::kube {

// A position in a JSON text. Every function skips white space first, and returns false when the text is not what was
// asked for; then the cursor is of no more use. Values that are skipped are checked for balance only.
class JsonCursor {
 public:
  explicit JsonCursor(std::string_view text) : begin_(text.data()), p_(text.data()), end_(text.data() + text.size()) {}

  // The next character that is no white space, or '\0' at the end.
  char Peek();
  // Takes `c`.
  bool Take(char c);
  // A string's bytes between the quotes, as written; *escaped says if there are backslashes in it.
  bool String(std::string_view* raw, bool* escaped);
  bool Skip();
  // A number, true, false or null, as written.
  bool Literal(std::string_view* raw);
  [[nodiscard]] size_t offset() const { return static_cast<size_t>(p_ - begin_); }

 private:
  bool SkipString();
  const char* begin_;
  const char* p_;
  const char* end_;
};

// Walks an object: calls member(key, key_offset) with the cursor before each value, which it has to pass. False when
// the text is no object or `member` returned false.
template <class Fn>
bool WalkObject(JsonCursor& cursor, Fn member) {
  if (!cursor.Take('{')) return false;
  if (cursor.Peek() == '}') return cursor.Take('}');
  while (true) {
    if (cursor.Peek() != '"') return false;
    size_t key_offset = cursor.offset();
    std::string_view key;
    bool escaped = false;
    if (!cursor.String(&key, &escaped) || !cursor.Take(':') || !member(key, key_offset)) return false;
    if (cursor.Peek() == '}') return cursor.Take('}');
    if (!cursor.Take(',')) return false;
  }
}

template <class Fn>
bool WalkArray(JsonCursor& cursor, Fn element) {
  if (!cursor.Take('[')) return false;
  if (cursor.Peek() == ']') return cursor.Take(']');
  while (true) {
    if (!element()) return false;
    if (cursor.Peek() == ']') return cursor.Take(']');
    if (!cursor.Take(',')) return false;
  }
}

}  // namespace vck::kube
