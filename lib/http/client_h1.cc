#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "http/client_internal.h"
#include "http/h1.h"
#include "http/socket_stream.h"

namespace vck::http {
namespace internal {
namespace {

constexpr size_t kOneWrite = size_t{16} * 1024;  // a body up to this goes out together with the head
constexpr size_t kPiece = size_t{64} * 1024;

std::string BuildHead(const Request& request, const ClientOptions& options, const Upload* upload) {
  std::string out = absl::StrCat(request.method, " ", request.target, " HTTP/1.1\r\n");
  if (!request.headers.Get("Host")) {
    bool standard = options.origin.port == (options.origin.scheme == "https" ? 443 : 80);
    bool ipv6 = absl::StrContains(options.origin.host, ':');
    absl::StrAppend(&out, "Host: ",
                    !standard ? options.origin.HostPort()
                    : ipv6    ? absl::StrCat("[", options.origin.host, "]")
                              : options.origin.host,
                    "\r\n");
  }
  AppendFields(&out, request.headers);
  if (upload != nullptr && upload->size < 0) {
    out += "Transfer-Encoding: chunked\r\n";
  } else {
    size_t size = upload != nullptr ? static_cast<size_t>(upload->size) : request.body.size();
    // RFC 9110 §8.6: a method that usually has a body says so when it is empty.
    bool expected = request.method == "POST" || request.method == "PUT" || request.method == "PATCH";
    if (size > 0 || upload != nullptr || expected) absl::StrAppend(&out, "Content-Length: ", size, "\r\n");
  }
  out += "\r\n";
  return out;
}

}  // namespace

// A place in the pool and the connection on it. Closes the connection unless it is given back.
class H1Lease {
 public:
  H1Lease(std::shared_ptr<H1Pool> pool, Limiter::Permit place) : pool_(std::move(pool)), place_(std::move(place)) {}
  H1Lease(H1Lease&& other) noexcept
      : pool_(std::move(other.pool_)),
        place_(std::move(other.place_)),
        stream_(std::move(other.stream_)),
        generation_(other.generation_) {}
  H1Lease& operator=(H1Lease&&) = delete;
  ~H1Lease() { Drop(); }

  void Use(std::unique_ptr<Stream> stream, int generation) {
    stream_ = std::move(stream);
    generation_ = generation;
    pool_->in_use_.insert(stream_.get());
    ++pool_->core_->stats.open_connections;
  }
  void Drop() {
    if (stream_ != nullptr) {
      Forget();
      stream_.reset();
    }
    place_.Release();
  }
  void GiveBack() {
    Forget();
    pool_->AddIdle(std::move(stream_), generation_);
    place_.Release();
  }
  Stream& stream() { return *stream_; }

 private:
  void Forget() {
    pool_->in_use_.erase(stream_.get());
    --pool_->core_->stats.open_connections;
  }
  std::shared_ptr<H1Pool> pool_;
  Limiter::Permit place_;
  std::unique_ptr<Stream> stream_;
  int generation_ = 0;
};

namespace {

// One exchange on one connection; afterwards the reader of the response's body.
class H1Exchange : public BodyReader {
 public:
  H1Exchange(H1Lease lease, MessageParser::Limits limits)
      : lease_(std::move(lease)), limits_(limits), parser_(MessageParser::Kind::kResponse, limits) {}

  Task<Status> Send(std::string head, const Request* request, Upload* upload, Progress* progress) {
    progress->maybe_sent = true;
    if (upload == nullptr && request->body.size() <= kOneWrite) {
      head += request->body;
      co_return co_await lease_.stream().Write(head);
    }
    CO_RETURN_IF_ERROR(co_await lease_.stream().Write(head));
    if (upload == nullptr) co_return co_await lease_.stream().Write(request->body);
    int64_t left = upload->size;
    while (true) {
      // A server that has made up its mind before the end need not be sent the rest.
      if (lease_.stream().ReadableNow()) {
        unsent_ = true;
        co_return absl::OkStatus();
      }
      progress->source_used = true;
      auto piece = co_await upload->source();
      if (!piece.ok()) {
        source_error_ = piece.status();
        co_return source_error_;
      }
      if (upload->size >= 0) {
        left -= static_cast<int64_t>(piece->size());
        if (left < 0 || (piece->empty() && left > 0)) {
          source_error_ = absl::InvalidArgumentError("the body is not as long as was said");
          co_return source_error_;
        }
        if (!piece->empty()) CO_RETURN_IF_ERROR(co_await lease_.stream().Write(*piece));
        if (left == 0) co_return absl::OkStatus();
        continue;
      }
      std::string chunk = piece->empty() ? "0\r\n\r\n" : absl::StrCat(absl::Hex(piece->size()), "\r\n", *piece, "\r\n");
      CO_RETURN_IF_ERROR(co_await lease_.stream().Write(chunk));
      if (piece->empty()) co_return absl::OkStatus();
    }
  }

  // Reads up to the end of the header of the final response.
  Task<Status> ReceiveHeader(bool head_only) {
    head_only_ = head_only;
    if (head_only_) parser_.ExpectNoBody();
    while (true) {
      CO_RETURN_IF_ERROR(FeedInput());
      if (parser_.header_done()) {
        int status = parser_.status();
        if (status / 100 != 1 || status == 101) co_return absl::OkStatus();
        parser_ = MessageParser(MessageParser::Kind::kResponse, limits_);  // RFC 9110 §15.2: others may precede
        if (head_only_) parser_.ExpectNoBody();
        continue;
      }
      CO_RETURN_IF_ERROR(co_await Receive());
    }
  }

  Task<StatusOr<std::string>> Read() override {
    while (true) {
      if (ready_.empty()) ready_ = parser_.TakeBody();
      if (!ready_.empty()) {
        if (ready_.size() <= kPiece) co_return std::exchange(ready_, {});
        std::string piece = ready_.substr(0, kPiece);
        ready_.erase(0, kPiece);
        co_return piece;
      }
      if (!error_.ok()) co_return error_;
      if (parser_.done()) {
        End();
        co_return std::string();
      }
      error_ = co_await Receive();
      if (error_.ok()) error_ = FeedInput();
      if (!error_.ok()) lease_.Drop();
    }
  }

  // Gives the connection back when nothing is left to read.
  void End() {
    if (ended_) return;
    ended_ = true;
    if (!unsent_ && parser_.keep_alive() && parser_.status() != 101 && input_.empty() &&
        !lease_.stream().ReadableNow()) {
      lease_.GiveBack();
    } else {
      lease_.Drop();
    }
  }

  [[nodiscard]] bool got_any() const { return got_any_; }
  [[nodiscard]] const Status& source_error() const { return source_error_; }
  MessageParser& parser() { return parser_; }
  void NotAllSent() { unsent_ = true; }

 private:
  Status FeedInput() {
    while (!input_.empty() && !parser_.done()) {
      auto used = parser_.Feed(input_);
      if (!used.ok()) {
        // A peer that does not speak HTTP is as good as none.
        if (absl::IsInvalidArgument(used.status())) return absl::UnavailableError(used.status().message());
        return absl::ResourceExhaustedError(used.status().message());
      }
      input_.erase(0, *used);
      if (*used == 0) break;
    }
    if (input_.empty()) input_.shrink_to_fit();
    return absl::OkStatus();
  }

  Task<Status> Receive() {
    std::span<char> buffer = SharedReadBuffer();
    CO_ASSIGN_OR_RETURN(size_t n, co_await lease_.stream().ReadSome(buffer));
    if (n == 0) co_return parser_.Eof();
    got_any_ = true;
    input_.append(buffer.data(), n);
    co_return absl::OkStatus();
  }

  H1Lease lease_;
  MessageParser::Limits limits_;
  MessageParser parser_;
  std::string input_;  // read, not yet parsed
  std::string ready_;  // parsed, not yet taken
  Status error_;
  Status source_error_;
  bool got_any_ = false;
  bool unsent_ = false;
  bool ended_ = false;
  bool head_only_ = false;
};

}  // namespace

H1Pool::H1Pool(std::shared_ptr<ClientCore> core) : core_(std::move(core)), places_(core_->options.max_connections) {}

Task<StatusOr<StreamingResponse>> H1Pool::Start(Call call) {
  H1Lease lease(shared_from_this(), co_await places_.Acquire());
  if (core_->closed) co_return ClosedClient();
  std::unique_ptr<Stream> stream = call.progress->need_fresh ? nullptr : TakeIdle();
  bool reused = stream != nullptr;
  int generation = core_->generation;
  if (!reused) {
    std::vector<std::string> alpn;
    if (core_->options.tls != nullptr) alpn = {"http/1.1"};
    CO_ASSIGN_OR_RETURN(stream, co_await DialOrigin(core_, std::move(alpn)));
    if (core_->closed) co_return ClosedClient();
  }
  lease.Use(std::move(stream), generation);
  auto exchange = std::make_unique<H1Exchange>(std::move(lease),
                                               MessageParser::Limits{.header_bytes = core_->options.max_header_bytes});
  Status sent = co_await exchange->Send(BuildHead(*call.request, core_->options, call.upload), call.request,
                                        call.upload, call.progress);
  if (!exchange->source_error().ok()) co_return exchange->source_error();
  // A server may answer and close without reading all of the request; then its answer counts.
  if (!sent.ok()) exchange->NotAllSent();
  Status received = co_await exchange->ReceiveHeader(call.request->method == "HEAD");
  if (!received.ok()) {
    call.progress->stale = reused && !exchange->got_any();
    if (!sent.ok() && absl::IsUnavailable(received)) received = sent;
    co_return Annotate(received, core_->options.origin.HostPort());
  }
  StreamingResponse response;
  response.status = exchange->parser().status();
  response.headers = exchange->parser().TakeHeaders();
  response.body = std::move(exchange);
  co_return response;
}

std::unique_ptr<Stream> H1Pool::TakeIdle() {
  while (!idle_.empty()) {
    Idle last = std::move(idle_.back());
    idle_.pop_back();
    --core_->stats.open_connections;
    bool usable = last.generation == core_->generation && !last.stream->ReadableNow();
    if (usable) return std::move(last.stream);
  }
  return nullptr;
}

void H1Pool::AddIdle(std::unique_ptr<Stream> stream, int generation) {
  if (core_->closed || generation != core_->generation) return;
  ++core_->stats.open_connections;
  idle_.push_back({std::move(stream), generation, core_->clock.Now()});
  if (!expiry_.armed()) {
    expiry_ = core_->clock.Schedule(core_->clock.Now() + core_->options.idle_timeout, [this] { ExpireIdle(); });
  }
}

void H1Pool::DropFrontIdle() {
  idle_.pop_front();
  --core_->stats.open_connections;
}

void H1Pool::ExpireIdle() {
  Instant now = core_->clock.Now();
  while (!idle_.empty() && idle_.front().since + core_->options.idle_timeout <= now) DropFrontIdle();
  if (!idle_.empty()) {
    expiry_ = core_->clock.Schedule(idle_.front().since + core_->options.idle_timeout, [this] { ExpireIdle(); });
  }
}

void H1Pool::DropIdle() {
  while (!idle_.empty()) DropFrontIdle();
  expiry_.Cancel();
}

void H1Pool::Close() {
  DropIdle();
  for (Stream* stream : in_use_) stream->Close();
}

}  // namespace internal
}  // namespace vck::http
