#include "tether/script.h"

#include <optional>
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_join.h"

namespace vck::tether {
namespace {

using Kind = Command::Kind;
using When = Command::When;
using Words = std::vector<std::string>;

struct Token {
  std::string text;
  bool is_operator = false;
};

std::vector<Token> Tokenize(std::string_view text) {
  std::vector<Token> out;
  std::string word;
  bool in_word = false;
  auto end_word = [&] {
    if (in_word) out.push_back({std::exchange(word, ""), false});
    in_word = false;
  };
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (c == '\'' || c == '"') {
      size_t close = text.find(c, i + 1);
      if (close == std::string_view::npos) close = text.size();
      word.append(text.substr(i + 1, close - i - 1));
      in_word = true;
      i = close;
    } else if (c == ';' || c == '\n' || c == '&' || c == '|') {
      end_word();
      bool twice = (c == '&' || c == '|') && i + 1 < text.size() && text[i + 1] == c;
      out.push_back({std::string(twice ? 2 : 1, c), true});
      if (twice) ++i;
    } else if (absl::ascii_isspace(static_cast<unsigned char>(c))) {
      end_word();
    } else {
      word.push_back(c);
      in_word = true;
    }
  }
  end_word();
  return out;
}

std::string_view BaseName(std::string_view path) { return path.substr(path.rfind('/') + 1); }

std::optional<absl::Duration> ParseSleep(std::string_view text) {
  if (text == "infinity" || text == "inf") return absl::InfiniteDuration();
  absl::Duration unit = absl::Seconds(1);
  if (!text.empty() && absl::ascii_isalpha(static_cast<unsigned char>(text.back()))) {
    switch (text.back()) {
      case 's':
        break;
      case 'm':
        unit = absl::Minutes(1);
        break;
      case 'h':
        unit = absl::Hours(1);
        break;
      case 'd':
        unit = absl::Hours(24);
        break;
      default:
        return std::nullopt;
    }
    text.remove_suffix(1);
  }
  double number = 0;
  if (!absl::SimpleAtod(text, &number) || !(number >= 0)) return std::nullopt;
  return number * unit;
}

Command ParseSleeps(const Words& words) {
  Command out{.kind = Kind::kSleep};
  for (size_t i = 1; i < words.size(); ++i) {
    auto duration = ParseSleep(words[i]);
    if (!duration) return {.kind = Kind::kStatus, .code = 1};
    out.duration += *duration;
  }
  if (words.size() == 1) return {.kind = Kind::kStatus, .code = 1};
  return out;
}

// trap 'COMMANDS' SIGNALS…
Command ParseTrap(const Words& words) {
  for (size_t i = 2; i < words.size(); ++i) {
    if (words[i] == "TERM" || words[i] == "SIGTERM" || words[i] == "15")
      return {.kind = Kind::kOnTerm, .handler = words[1]};
  }
  return {.kind = Kind::kStatus, .code = 0};
}

Command ParseSimple(Words words) {
  static const std::set<std::string_view> kPrints = {"true",   ":",    "echo", "printf", "set",
                                                     "export", "date", "env",  "ls",     "cat"};
  if (words[0] == "exec" && words.size() > 1) words.erase(words.begin());
  std::string_view name = BaseName(words[0]);
  if (name == "sleep") return ParseSleeps(words);
  if (name == "exit") {
    int code = -1;
    if (words.size() > 1 && !absl::SimpleAtoi(words[1], &code)) code = 2;  // as shells do
    return {.kind = Kind::kExit, .code = words.size() > 1 ? code & 0xff : -1};
  }
  if (name == "false") return {.kind = Kind::kStatus, .code = 1};
  if (kPrints.contains(name)) return {.kind = Kind::kStatus, .code = 0};
  if (name == "ignore-term") return {.kind = Kind::kOnTerm};
  if (name == "on-term") {
    words.erase(words.begin());
    return {.kind = Kind::kOnTerm, .handler = absl::StrJoin(words, " ")};
  }
  if (name == "trap") return ParseTrap(words);
  return {};
}

}  // namespace

std::vector<Command> ParseScript(std::string_view text) {
  std::vector<Command> out;
  Words words;
  When when = When::kAlways;
  auto end_command = [&] {
    if (words.empty()) return;
    out.push_back(ParseSimple(std::exchange(words, {})));
    out.back().when = when;
  };
  for (Token& token : Tokenize(text)) {
    if (!token.is_operator) {
      words.push_back(std::move(token.text));
      continue;
    }
    if (token.text == "&" || token.text == "|") return {Command{}};  // more shell than there is
    end_command();
    when = token.text == "&&" ? When::kAfterSuccess : token.text == "||" ? When::kAfterFailure : When::kAlways;
  }
  end_command();
  return out;
}

std::vector<Command> ParseCommandLine(const std::vector<std::string>& command, const std::vector<std::string>& args) {
  static const std::set<std::string_view> kShells = {"sh", "bash", "ash", "dash", "busybox"};
  Words words = command;
  words.insert(words.end(), args.begin(), args.end());
  if (words.empty()) return {Command{}};
  if (kShells.contains(BaseName(words[0]))) {
    for (size_t i = 1; i + 1 < words.size(); ++i) {
      if (words[i].size() >= 2 && words[i][0] == '-' && words[i].back() == 'c') return ParseScript(words[i + 1]);
    }
  }
  return ParseScript(absl::StrJoin(words, " "));
}

}  // namespace vck::tether
