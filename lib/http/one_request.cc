// Requests on connections that somebody else has made.
#include <utility>

#include "absl/strings/str_cat.h"
#include "http/client.h"
#include "http/h1.h"
#include "http/socket_stream.h"

namespace vck::http {
namespace {

using internal::MessageParser;

constexpr size_t kMaxSmallBody = size_t{1024} * 1024;  // of an answer to an upgrade

Status Send(Stream& stream, const Request& request, std::string* head) {
  RETURN_IF_ERROR(internal::CheckHead(request.method, request.target, request.headers));
  *head = absl::StrCat(request.method, " ", request.target, " HTTP/1.1\r\n");
  if (!request.headers.Get("Host")) absl::StrAppend(head, "Host: ", stream.remote_address(), "\r\n");
  internal::AppendFields(head, request.headers);
  if (!request.body.empty()) absl::StrAppend(head, "Content-Length: ", request.body.size(), "\r\n");
  absl::StrAppend(head, "\r\n", request.body);
  return absl::OkStatus();
}

Status Feed(MessageParser* parser, std::string* input) {
  while (!input->empty() && !parser->done()) {
    ASSIGN_OR_RETURN(size_t used, parser->Feed(*input));
    input->erase(0, used);
    if (used == 0) break;
  }
  if (input->empty()) input->shrink_to_fit();
  return absl::OkStatus();
}

// OK also at an end of the stream that ends the message.
Task<Status> Receive(Stream& stream, MessageParser* parser, std::string* input) {
  std::span<char> buffer = internal::SharedReadBuffer();
  CO_ASSIGN_OR_RETURN(size_t n, co_await stream.ReadSome(buffer));
  if (n == 0) co_return parser->Eof();
  input->append(buffer.data(), n);
  co_return Feed(parser, input);
}

// Up to the end of the final response's header, or of all of it.
Task<Status> ReceiveFinal(Stream& stream, MessageParser* parser, std::string* input, MessageParser::Limits limits,
                          bool head_only, bool whole) {
  while (true) {
    if (head_only && !parser->started()) parser->ExpectNoBody();
    CO_RETURN_IF_ERROR(Feed(parser, input));
    // RFC 9110 §15.2: others may precede it.
    if (parser->header_done() && parser->status() / 100 == 1 && parser->status() != 101) {
      *parser = MessageParser(MessageParser::Kind::kResponse, limits);
      continue;
    }
    if (whole ? parser->done() : parser->header_done()) co_return absl::OkStatus();
    CO_RETURN_IF_ERROR(co_await Receive(stream, parser, input));
  }
}

class OwningReader : public BodyReader {
 public:
  OwningReader(std::unique_ptr<Stream> stream, MessageParser parser, std::string input)
      : stream_(std::move(stream)), parser_(std::move(parser)), input_(std::move(input)) {}

  Task<StatusOr<std::string>> Read() override {
    while (true) {
      // What one read gives is at most the shared buffer's size, so that no piece is larger than promised.
      std::string piece = parser_.TakeBody();
      if (!piece.empty()) co_return piece;
      if (!error_.ok()) co_return error_;
      if (parser_.done()) {
        stream_->Close();
        co_return std::string();
      }
      error_ = co_await stream_->WaitReadable();
      if (error_.ok()) error_ = co_await Receive(*stream_, &parser_, &input_);
    }
  }

 private:
  std::unique_ptr<Stream> stream_;
  MessageParser parser_;
  std::string input_;  // read, not yet parsed
  Status error_;
};

}  // namespace

Task<StatusOr<Response>> Upgrade(Stream& stream, Request request, std::string* leftover) {
  std::string head;
  CO_RETURN_IF_ERROR(Send(stream, request, &head));
  CO_RETURN_IF_ERROR(co_await stream.Write(head));
  const MessageParser::Limits limits{.body_bytes = kMaxSmallBody};
  MessageParser parser(MessageParser::Kind::kResponse, limits);
  std::string input;
  CO_RETURN_IF_ERROR(co_await ReceiveFinal(stream, &parser, &input, limits, request.method == "HEAD", true));
  *leftover = std::move(input);
  Response response;
  response.status = parser.status();
  response.headers = parser.TakeHeaders();
  response.body = parser.TakeBody();
  co_return response;
}

Task<StatusOr<StreamingResponse>> FetchOn(std::unique_ptr<Stream> stream, Request request) {
  std::string head;
  CO_RETURN_IF_ERROR(Send(*stream, request, &head));
  CO_RETURN_IF_ERROR(co_await stream->Write(head));
  MessageParser parser(MessageParser::Kind::kResponse, {});
  std::string input;
  CO_RETURN_IF_ERROR(co_await ReceiveFinal(*stream, &parser, &input, {}, request.method == "HEAD", false));
  StreamingResponse response;
  response.status = parser.status();
  response.headers = parser.TakeHeaders();
  response.body = std::make_unique<OwningReader>(std::move(stream), std::move(parser), std::move(input));
  co_return response;
}

}  // namespace vck::http
