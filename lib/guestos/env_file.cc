#include "guestos/env_file.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace vck::guestos {
namespace {

// The first length of a line that Go's bufio.Scanner does not take.
constexpr size_t kTooLong = 64 << 10;
// More than any process can be given (MAX_ARG_STRLEN is 128 KiB); a file must not fill the guest's memory.
constexpr size_t kMaxValue = 1 << 20;
constexpr std::string_view kBlank = " \t";

std::string_view SkipBlank(std::string_view text) {
  text.remove_prefix(std::min(text.find_first_not_of(kBlank), text.size()));
  return text;
}

}  // namespace

bool EnvFileReader::Feed(std::string_view text) {
  while (state_ != State::kDone && !text.empty()) {
    const size_t end = text.find('\n');
    const std::string_view piece = text.substr(0, end);
    if (partial_.size() + piece.size() >= kTooLong) {
      Fail(line_ + 1, "is too long");
    } else if (end == std::string_view::npos) {
      partial_ += piece;
      break;
    } else if (partial_.empty()) {
      Line(piece);
    } else {
      partial_ += piece;
      Line(partial_);
      partial_.clear();
    }
    text.remove_prefix(std::min(end, text.size() - 1) + 1);
  }
  return state_ != State::kDone;
}

StatusOr<std::string> EnvFileReader::Finish() {
  if (state_ != State::kDone && !partial_.empty()) Line(partial_);
  if (state_ == State::kWanted || state_ == State::kOther) Fail(quote_line_, "has a quote that is never closed");
  state_ = State::kDone;
  if (!status_.ok()) return status_;
  return std::move(value_);
}

void EnvFileReader::Line(std::string_view line) {
  ++line_;
  absl::ConsumeSuffix(&line, "\r");
  if (state_ == State::kLine) {
    Begin(SkipBlank(line));
  } else {
    Quoted(line);
  }
}

void EnvFileReader::Begin(std::string_view line) {
  if (line.empty() || line.front() == '#') return;
  const size_t equals = line.find('=');
  if (equals == std::string_view::npos) return Fail(line_, "has no '='");
  const std::string_view name = line.substr(0, equals);
  if (name.empty()) return Fail(line_, "has no name before its '='");
  if (kBlank.find(name.back()) != std::string_view::npos) return Fail(line_, "has a space before its '='");
  line.remove_prefix(equals + 1);
  const bool wanted = name == name_;
  if (!line.empty() && kBlank.find(line.front()) != std::string_view::npos) {
    if (wanted) state_ = State::kDone;
    return;
  }
  if (!absl::ConsumePrefix(&line, "'")) return Fail(line_, "has a value that is not in single quotes");
  state_ = wanted ? State::kWanted : State::kOther;
  quote_line_ = line_;
  Quoted(line);
}

void EnvFileReader::Quoted(std::string_view text) {
  const size_t quote = text.find('\'');
  if (state_ == State::kWanted) {
    value_ += text.substr(0, quote);
    if (value_.size() > kMaxValue) return Fail(quote_line_, "has a value that no process can be given: it is too long");
  }
  if (quote == std::string_view::npos) {
    if (state_ == State::kWanted) value_ += '\n';
    return;
  }
  const std::string_view rest = SkipBlank(text.substr(quote + 1));
  if (!rest.empty() && rest.front() != '#') return Fail(line_, "has something behind the closing quote");
  state_ = state_ == State::kWanted ? State::kDone : State::kLine;
}

void EnvFileReader::Fail(int64_t line, std::string_view what) {
  status_ = absl::InvalidArgumentError(absl::StrCat("line ", line, " ", what));
  value_.clear();
  state_ = State::kDone;
}

}  // namespace vck::guestos
