#include "http/h1.h"

#include <optional>

#include <boost/asio/buffer.hpp>
#include <boost/beast/http/basic_parser.hpp>
#include <boost/beast/http/status.hpp>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace vck::http::internal {
namespace {

namespace beast = boost::beast;
using ErrorCode = boost::system::error_code;

// What both kinds of messages are collected in.
struct Collected {
  std::string method, target;
  int status = 0;
  int version = 11;
  Headers headers;
  std::string body;
  bool saw_chunk = false;
};

template <bool IsRequest>
class Collector : public beast::http::basic_parser<IsRequest> {
 public:
  explicit Collector(Collected* out) : out_(out) {}

 private:
  using Text = beast::string_view;
  void on_request_impl(beast::http::verb, Text method, Text target, int version, ErrorCode&) override {
    out_->method = std::string(method);
    out_->target = std::string(target);
    out_->version = version;
  }
  void on_response_impl(int status, Text, int version, ErrorCode&) override {
    out_->status = status;
    out_->version = version;
  }
  void on_field_impl(beast::http::field, Text name, Text value, ErrorCode&) override {
    // Trailers arrive here too; nobody here has a use for them.
    if (!in_body_) out_->headers.Add(std::string(name), std::string(value));
  }
  void on_header_impl(ErrorCode&) override { in_body_ = true; }
  void on_body_init_impl(boost::optional<std::uint64_t> const&, ErrorCode&) override {}
  std::size_t on_body_impl(Text body, ErrorCode&) override {
    out_->body.append(body.data(), body.size());
    return body.size();
  }
  void on_chunk_header_impl(std::uint64_t, Text, ErrorCode&) override { out_->saw_chunk = true; }
  std::size_t on_chunk_body_impl(std::uint64_t, Text body, ErrorCode&) override {
    out_->body.append(body.data(), body.size());
    return body.size();
  }
  void on_finish_impl(ErrorCode&) override {}

  Collected* out_;
  bool in_body_ = false;
};

}  // namespace

struct MessageParser::Impl {
  Collected message;
  std::optional<Collector<true>> request;
  std::optional<Collector<false>> response;

  template <class Fn>
  decltype(auto) With(Fn fn) {
    return request ? fn(*request) : fn(*response);
  }
};

MessageParser::MessageParser(Kind kind, Limits limits) : impl_(std::make_unique<Impl>()) {
  if (kind == Kind::kRequest) {
    impl_->request.emplace(&impl_->message);
  } else {
    impl_->response.emplace(&impl_->message);
  }
  impl_->With([&](auto& parser) {
    parser.eager(true);
    parser.header_limit(static_cast<std::uint32_t>(limits.header_bytes));
    parser.body_limit(limits.body_bytes == UINT64_MAX ? boost::none
                                                      : boost::optional<std::uint64_t>(limits.body_bytes));
  });
}

MessageParser::~MessageParser() = default;
MessageParser::MessageParser(MessageParser&&) noexcept = default;
MessageParser& MessageParser::operator=(MessageParser&&) noexcept = default;

void MessageParser::ExpectNoBody() {
  impl_->With([](auto& parser) { parser.skip(true); });
}

StatusOr<size_t> MessageParser::Feed(std::string_view data) {
  size_t used = 0;
  while (used < data.size() && !done()) {
    // Beast (1.83) asserts that the last chunk, when it is the only one, is not looked at again with fewer than the
    // five bytes of "0\r\n\r\n".
    bool chunks_next = header_done() && impl_->With([](auto& parser) { return parser.chunked(); });
    if (chunks_next && !impl_->message.saw_chunk && data[used] == '0' && data.size() - used < 5) break;
    ErrorCode ec;
    size_t n = impl_->With([&](auto& parser) { return parser.put(boost::asio::buffer(data.substr(used)), ec); });
    used += n;
    if (ec == beast::http::error::need_more) break;
    if (ec == beast::http::error::header_limit) return absl::OutOfRangeError("the header is too long");
    if (ec == beast::http::error::body_limit) return absl::ResourceExhaustedError("the body is too long");
    if (ec) return absl::InvalidArgumentError(absl::StrCat("not HTTP: ", ec.message()));
    if (n == 0) break;
  }
  return used;
}

Status MessageParser::Eof() {
  if (done()) return absl::OkStatus();
  if (!header_done()) return absl::UnavailableError("the connection ended before the end of the header");
  ErrorCode ec;
  impl_->With([&](auto& parser) { parser.put_eof(ec); });
  if (ec) return absl::UnavailableError("the connection ended before the end of the body");
  return absl::OkStatus();
}

bool MessageParser::started() const {
  return impl_->With([](auto& parser) { return parser.got_some(); });
}
bool MessageParser::header_done() const {
  return impl_->With([](auto& parser) { return parser.is_header_done(); });
}
bool MessageParser::done() const {
  return impl_->With([](auto& parser) { return parser.is_done(); });
}
bool MessageParser::keep_alive() const {
  return impl_->With([](auto& parser) { return parser.keep_alive(); });
}
bool MessageParser::http10() const { return impl_->message.version < 11; }
int MessageParser::status() const { return impl_->message.status; }
const Headers& MessageParser::headers() const { return impl_->message.headers; }
Headers MessageParser::TakeHeaders() { return std::exchange(impl_->message.headers, {}); }
std::string MessageParser::TakeMethod() { return std::exchange(impl_->message.method, {}); }
std::string MessageParser::TakeTarget() { return std::exchange(impl_->message.target, {}); }
std::string MessageParser::TakeBody() { return std::exchange(impl_->message.body, {}); }

namespace {

bool IsToken(std::string_view text) {
  if (text.empty()) return false;
  for (char c : text) {
    // RFC 9110 §5.6.2
    if (!absl::ascii_isalnum(static_cast<unsigned char>(c)) && !absl::StrContains("!#$%&'*+-.^_`|~", c)) return false;
  }
  return true;
}

}  // namespace

Status CheckHead(std::string_view method, std::string_view target, const Headers& headers) {
  if (!IsToken(method)) return absl::InvalidArgumentError("the method is not a token");
  if (target.empty()) return absl::InvalidArgumentError("the target is empty");
  for (char c : target) {
    if (static_cast<unsigned char>(c) <= 0x20 || c == 0x7f) {
      return absl::InvalidArgumentError("the target holds a space or control character");
    }
  }
  for (const auto& [name, value] : headers.fields()) {
    if (!IsToken(name)) return absl::InvalidArgumentError("a field's name is not a token");
    for (char c : value) {
      if ((static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == 0x7f) {
        return absl::InvalidArgumentError(absl::StrCat("the field ", name, " holds a control character"));
      }
    }
  }
  return absl::OkStatus();
}

bool IsFramingField(std::string_view name) {
  return absl::EqualsIgnoreCase(name, "Content-Length") || absl::EqualsIgnoreCase(name, "Transfer-Encoding");
}

void AppendFields(std::string* out, const Headers& headers) {
  for (const auto& [name, value] : headers.fields()) {
    if (!IsFramingField(name)) absl::StrAppend(out, name, ": ", value, "\r\n");
  }
}

std::string_view ReasonPhrase(int status) {
  auto text = beast::http::obsolete_reason(beast::http::int_to_status(static_cast<unsigned>(status)));
  return {text.data(), text.size()};
}

}  // namespace vck::http::internal
