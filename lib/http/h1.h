// HTTP/1.1 messages: a parser without I/O (over Beast's basic_parser) and the text of a message's head.
// Not for other layers.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/status.h"
#include "http/message.h"

namespace vck::http::internal {

// Takes bytes as they come. Errors: OutOfRange when the head is too long, ResourceExhausted when the body is,
// InvalidArgument when it is no HTTP.
class MessageParser {
 public:
  enum class Kind { kRequest, kResponse };
  struct Limits {
    size_t header_bytes = 64 * 1024;
    uint64_t body_bytes = UINT64_MAX;
  };
  MessageParser(Kind kind, Limits limits);
  ~MessageParser();
  MessageParser(MessageParser&&) noexcept;
  MessageParser& operator=(MessageParser&&) noexcept;

  // Response to HEAD or CONNECT: the head is all there is. Call before the first Feed().
  void ExpectNoBody();
  // Takes what it can of `data` and says how much; the rest must be given again with what follows it. Zero: more is
  // needed. Stops after the message's end.
  StatusOr<size_t> Feed(std::string_view data);
  // The peer ended the stream: OK where that ends the body, else Unavailable.
  Status Eof();

  [[nodiscard]] bool started() const;  // a byte of the message was seen
  [[nodiscard]] bool header_done() const;
  [[nodiscard]] bool done() const;
  // Whether another message may follow on the connection (RFC 9112 §9.3). After header_done().
  [[nodiscard]] bool keep_alive() const;
  [[nodiscard]] bool http10() const;
  [[nodiscard]] int status() const;
  [[nodiscard]] const Headers& headers() const;
  Headers TakeHeaders();
  std::string TakeMethod();
  std::string TakeTarget();
  // The body bytes since the last call.
  std::string TakeBody();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// InvalidArgument when a method, target or field could not be written without becoming something else.
Status CheckHead(std::string_view method, std::string_view target, const Headers& headers);
// True for fields that the client or server sets by itself and drops when given.
bool IsFramingField(std::string_view name);
void AppendFields(std::string* out, const Headers& headers);
std::string_view ReasonPhrase(int status);

}  // namespace vck::http::internal
