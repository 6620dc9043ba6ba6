#include "base/log.h"

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <ctime>
#include <utility>

#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace vck {
namespace {

std::atomic<LogFormat> g_format{LogFormat::kText};
std::atomic<int> g_verbosity{0};
std::atomic<LogMemory*> g_memory{nullptr};

// JSON's escapes serve both formats: a klog value is a Go-quoted string, and newlines must not break a line in two.
void AppendQuoted(std::string* out, std::string_view text) {
  out->push_back('"');
  for (char c : text) {
    switch (c) {
      case '"':
        *out += "\\\"";
        break;
      case '\\':
        *out += "\\\\";
        break;
      case '\n':
        *out += "\\n";
        break;
      case '\r':
        *out += "\\r";
        break;
      case '\t':
        *out += "\\t";
        break;
      default:
        if (static_cast<unsigned char>(c) < 0x20) {
          absl::StrAppendFormat(out, "\\u%04x", static_cast<unsigned>(static_cast<unsigned char>(c)));
        } else {
          out->push_back(c);
        }
    }
  }
  out->push_back('"');
}

std::string_view BaseName(std::string_view path) {
  size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? path : path.substr(slash + 1);
}

void Emit(Severity severity, std::string_view message, std::initializer_list<LogField> fields,
          const std::source_location& where) {
  const int64_t now =
      std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::system_clock::now().time_since_epoch())
          .count();
  std::string line = FormatLogLine(g_format, severity, message, fields, BaseName(where.file_name()),
                                   static_cast<int>(where.line()), now, getpid());
  line.push_back('\n');
  // Nothing useful can be done when standard error is gone.
  [[maybe_unused]] ssize_t written = write(STDERR_FILENO, line.data(), line.size());
  if (LogMemory* memory = g_memory) memory->Add(now, std::move(line));
}

}  // namespace

void SetLogFormat(LogFormat format) { g_format = format; }
void SetLogVerbosity(int level) { g_verbosity = level; }
void SetLogMemory(LogMemory* memory) { g_memory = memory; }
bool LogEnabled(int level) { return level <= g_verbosity; }

void Log(Severity severity, std::string_view message, std::initializer_list<LogField> fields,
         std::source_location where) {
  Emit(severity, message, fields, where);
}

void LogV(int level, std::string_view message, std::initializer_list<LogField> fields, std::source_location where) {
  if (LogEnabled(level)) Emit(Severity::kInfo, message, fields, where);
}

std::string FormatLogLine(LogFormat format, Severity severity, std::string_view message,
                          std::initializer_list<LogField> fields, std::string_view file, int line, int64_t unix_micros,
                          int pid) {
  std::string out;
  if (format == LogFormat::kText) {
    time_t seconds = unix_micros / 1'000'000;
    std::tm utc{};
    gmtime_r(&seconds, &utc);
    char letter = severity == Severity::kInfo ? 'I' : severity == Severity::kWarning ? 'W' : 'E';
    absl::StrAppendFormat(&out, "%c%02d%02d %02d:%02d:%02d.%06d %7d %s:%d] ", letter, utc.tm_mon + 1, utc.tm_mday,
                          utc.tm_hour, utc.tm_min, utc.tm_sec, unix_micros % 1'000'000, pid, file, line);
    AppendQuoted(&out, message);
    for (const LogField& field : fields) {
      absl::StrAppend(&out, " ", field.key, "=");
      if (field.value.bare()) {
        out += field.value.text();
      } else {
        AppendQuoted(&out, field.value.text());
      }
    }
    return out;
  }
  // Field names as Kubernetes components write with --logging-format=json.
  const char* level = severity == Severity::kInfo ? "info" : severity == Severity::kWarning ? "warning" : "error";
  absl::StrAppendFormat(&out, R"({"ts":%d.%03d,"level":"%s","caller":"%s:%d","msg":)", unix_micros / 1000,
                        unix_micros % 1000, level, file, line);
  AppendQuoted(&out, message);
  for (const LogField& field : fields) {
    out.push_back(',');
    AppendQuoted(&out, field.key);
    out.push_back(':');
    if (field.value.bare()) {
      out += field.value.text();
    } else {
      AppendQuoted(&out, field.value.text());
    }
  }
  out.push_back('}');
  return out;
}

}  // namespace vck
