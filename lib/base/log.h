// Structured log lines in klog's text format or as JSON, one write(2) a line to standard error. A process that says so
// also remembers the newest ones.
//
//   Log(Severity::kInfo, "Pod VM created", {{"pod", "default/web"}, {"vm", "vm-12"}});
//   I1123 10:00:00.123456    4711 vm_reconciler.cc:88] "Pod VM created" pod="default/web" vm="vm-12"
//
// An error is logged once, where it is handled; secrets never. Thread-safe.
#pragma once

#include <atomic>
#include <initializer_list>
#include <source_location>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "base/log_memory.h"

namespace vck {

enum class Severity { kInfo, kWarning, kError };
enum class LogFormat { kText, kJson };

// A value of a field; converts from what is usually logged.
class LogValue {
 public:
  LogValue(std::string_view v) : text_(v) {}                      // NOLINT(google-explicit-constructor)
  LogValue(const char* v) : text_(v) {}                           // NOLINT(google-explicit-constructor)
  LogValue(const std::string& v) : text_(v) {}                    // NOLINT(google-explicit-constructor)
  LogValue(bool v) : text_(v ? "true" : "false"), bare_(true) {}  // NOLINT(google-explicit-constructor)
  template <class T>
    requires std::is_arithmetic_v<T>
  LogValue(T v) : text_(std::to_string(v)), bare_(true) {}  // NOLINT(google-explicit-constructor)
  LogValue(const absl::Status& v) : text_(v.ToString(absl::StatusToStringMode::kWithNoExtraData)) {}  // NOLINT
  [[nodiscard]] const std::string& text() const { return text_; }
  [[nodiscard]] bool bare() const { return bare_; }  // a number or bool: no quotes

 private:
  std::string text_;
  bool bare_ = false;
};

struct LogField {
  std::string_view key;
  LogValue value;
};

// Process-wide settings; set once at start by main. Default: text, verbosity 0.
void SetLogFormat(LogFormat format);
void SetLogVerbosity(int level);
// Where lines are kept besides: null (the default) is nowhere. It stays as long as the process.
void SetLogMemory(LogMemory* memory);
// True if lines of this verbosity are wanted (klog's -v): guard costly fields with it.
[[nodiscard]] bool LogEnabled(int level);

void Log(Severity severity, std::string_view message, std::initializer_list<LogField> fields = {},
         std::source_location where = std::source_location::current());
// Info that is written only at verbosity `level` or higher.
void LogV(int level, std::string_view message, std::initializer_list<LogField> fields = {},
          std::source_location where = std::source_location::current());

// For tests: the line as it would be written, without the newline. `unix_micros` is wall time.
std::string FormatLogLine(LogFormat format, Severity severity, std::string_view message,
                          std::initializer_list<LogField> fields, std::string_view file, int line, int64_t unix_micros,
                          int pid);

}  // namespace vck
