#include "oci/challenge.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_join.h"
#include "json/json.h"

namespace vck::oci {
namespace {

constexpr size_t kMaxErrorText = 1024;

// RFC 9110 §5.6.2.
bool IsTokenChar(char c) {
  return absl::ascii_isalnum(static_cast<unsigned char>(c)) ||
         std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
}

class Reader {
 public:
  explicit Reader(std::string_view text) : text_(text) {}
  [[nodiscard]] bool done() const { return text_.empty(); }
  void SkipSpace() {
    while (!text_.empty() && (text_.front() == ' ' || text_.front() == '\t')) text_.remove_prefix(1);
  }
  void SkipSeparators() {
    while (!text_.empty() && (text_.front() == ' ' || text_.front() == '\t' || text_.front() == ',')) {
      text_.remove_prefix(1);
    }
  }
  bool Skip(char c) {
    if (text_.empty() || text_.front() != c) return false;
    text_.remove_prefix(1);
    return true;
  }
  void SkipToComma() { text_.remove_prefix(std::min(text_.size(), text_.find(','))); }
  std::string_view Token() {
    size_t n = 0;
    while (n < text_.size() && IsTokenChar(text_[n])) ++n;
    std::string_view out = text_.substr(0, n);
    text_.remove_prefix(n);
    return out;
  }
  // After the opening quote; false without a closing one.
  bool Quoted(std::string* out) {
    for (size_t i = 0; i < text_.size(); ++i) {
      if (text_[i] == '"') {
        text_.remove_prefix(i + 1);
        return true;
      }
      if (text_[i] == '\\' && i + 1 < text_.size()) ++i;
      *out += text_[i];
    }
    return false;
  }
  [[nodiscard]] bool AtToken() const { return !text_.empty() && IsTokenChar(text_.front()); }
  [[nodiscard]] bool At(char c) const { return !text_.empty() && text_.front() == c; }

 private:
  std::string_view text_;
};

}  // namespace

std::vector<Challenge> ParseChallenges(std::string_view field) {
  std::vector<Challenge> out;
  Reader in(field);
  while (true) {
    in.SkipSeparators();
    std::string_view word = in.Token();
    if (word.empty()) return out;
    in.SkipSpace();
    if (!in.At('=')) {
      out.push_back({.scheme = absl::AsciiStrToLower(word)});
      continue;
    }
    if (out.empty()) return out;
    in.Skip('=');
    in.SkipSpace();
    std::string value;
    if (in.Skip('"')) {
      if (!in.Quoted(&value)) return out;
    } else if (in.AtToken()) {
      value = in.Token();
    } else {
      in.SkipToComma();  // the padding of a token68
      continue;
    }
    out.back().params.emplace(absl::AsciiStrToLower(word), std::move(value));
  }
}

StatusOr<Token> ParseToken(std::string_view body) {
  auto parsed = json::Document::Parse(body);
  if (!parsed.ok()) return absl::InvalidArgumentError("the token server did not answer JSON");
  const json::Value& root = parsed->root();
  Token out;
  // OAuth2's name of the same thing counts where both are there.
  out.token = json::String(root, "access_token", json::String(root, "token"));
  if (out.token.empty()) return absl::InvalidArgumentError("the token server's answer has no token");
  if (!std::ranges::all_of(out.token, [](char c) { return c > ' ' && c < 0x7f; })) {
    return absl::InvalidArgumentError("the token server's answer has no usable token");
  }
  int64_t seconds = json::Int(root, "expires_in", 60);
  // Less than a minute is not believed: docs say 60 at least.
  out.lifetime = absl::Seconds(std::clamp<int64_t>(seconds, 60, 86400));
  return out;
}

std::string ErrorText(std::string_view body) {
  auto parsed = json::Document::Parse(body);
  if (!parsed.ok()) return "";
  std::vector<std::string> texts;
  for (const json::Value& error : json::Items(parsed->root(), "errors")) {
    std::string_view text = json::String(error, "message", json::String(error, "code"));
    if (!text.empty()) texts.emplace_back(text);
  }
  if (texts.empty()) texts.emplace_back(json::String(parsed->root(), "details"));
  return absl::StrJoin(texts, "; ").substr(0, kMaxErrorText);
}

bool HasErrorCode(std::string_view body, std::string_view code) {
  auto parsed = json::Document::Parse(body);
  if (!parsed.ok()) return false;
  return std::ranges::any_of(json::Items(parsed->root(), "errors"),
                             [code](const json::Value& error) { return json::String(error, "code") == code; });
}

}  // namespace vck::oci
