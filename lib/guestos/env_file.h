// A file of environment variables, as the kubelet reads them (pkg/kubelet/util/env): a small part of a shell's syntax.
//
//   NAME='value'      everything up to the next quote, over lines, without escapes or expansion; after it at most a
//                     comment
//   NAME= anything    the name has no value, as in a shell; the line is not looked at further
//   # comment         and empty lines
//
// Spaces and tabs before a name do not count, nor does a carriage return at the end of a line; none may be before the
// '='. Names are not looked at, other than to be compared. Lines have at most 65535 bytes. What comes after the wanted
// name is not read, so mistakes there are none.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/status.h"

namespace vck::guestos {

// Looks for one name. No I/O.
class EnvFileReader {
 public:
  explicit EnvFileReader(std::string name) : name_(std::move(name)) {}

  // More of the file, cut anywhere. False: it is done, and needs no more.
  bool Feed(std::string_view text);
  // When the file has ended, or Feed() was false: the first value of the name, "" if there is none. InvalidArgument
  // tells the line and what is wrong with it, and nothing of its text.
  StatusOr<std::string> Finish();

 private:
  enum class State { kLine, kWanted, kOther, kDone };  // kWanted, kOther: inside of a value

  void Line(std::string_view line);
  void Begin(std::string_view line);
  void Quoted(std::string_view text);
  void Fail(int64_t line, std::string_view what);

  std::string name_;
  State state_ = State::kLine;
  std::string partial_;  // a line whose end has not come
  std::string value_;
  int64_t line_ = 0, quote_line_ = 0;
  Status status_;
};

}  // namespace vck::guestos
