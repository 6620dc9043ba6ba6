#include "tether/tether.h"

#include <algorithm>
#include <array>
#include <list>
#include <utility>

#include "absl/strings/match.h"
#include "async/backoff.h"
#include "async/task_group.h"
#include "async/timeout.h"
#include "async/wait.h"
#include "base/digest.h"
#include "base/log.h"
#include "guestapi/frame.h"
#include "http/server.h"
#include "tether/handlers.h"
#include "tether/identity.h"
#include "tether/probe_counts.h"
#include "tether/streams.h"

namespace vck::tether {
namespace {

// Room for two kubelets (one that takes over), what is half open, and sessions of people.
constexpr int kMaxConnections = 256;
constexpr absl::Duration kMaxBindRetry = absl::Seconds(2);
constexpr size_t kRunIdBytes = 16;
constexpr std::string_view kProbesPath = "/v1/probes";
constexpr absl::Duration kJournalRetry = absl::Seconds(5);
constexpr absl::Duration kJournalMaxRetry = absl::Minutes(1);
constexpr absl::Duration kLastJournal = absl::Seconds(2);  // for the last entry, at the end

std::span<char> ReadBuffer() {
  thread_local std::array<char, size_t{16} * 1024> buffer;
  return buffer;
}

class TetherImpl : public Tether {
 public:
  TetherImpl(Executor executor, Clock& clock, Options options, Identity identity)
      : executor_(executor),
        clock_(clock),
        options_(std::move(options)),
        identity_(std::move(identity)),
        announcement_{options_.boot_id, identity_.key_hash()},
        lifecycle_(
            options_.boot_id, [] { return RandomHex(kRunIdBytes); }, options_.capacity),
        runtime_(options_.runtime([this](Event event) { Step(std::move(event)); })),
        prober_(options_.prober(clock, *runtime_, Address())),
        handlers_(executor, clock_, *prober_, [this](Event event) { Step(std::move(event)); }) {
    runtime_->SetWaits([this](std::string_view container) { return lifecycle_.Waits(container); });
    if (options_.journal != nullptr) LoadJournal();
  }

  [[nodiscard]] const guestapi::GuestAnnouncement& announcement() const override { return announcement_; }

  Task<Status> Run(std::function<void()> ready) override {
    auto server = co_await Listen();
    if (off_.IsSet()) co_return absl::OkStatus();
    CO_RETURN_IF_ERROR(server.status());
    server_ = *std::move(server);
    ready();
    GoOn();
    TaskGroup group(executor_);
    group.Spawn("tether", server_->Run());
    group.Spawn("power", AwaitOff());
    if (options_.journal != nullptr) group.Spawn("journal", KeepJournal());
    Status status;
    bool cancelled = false;
    try {
      status = co_await group.Join();
    } catch (const boost::system::system_error& e) {
      if (!IsCancelled(e)) throw;
      cancelled = true;
    }
    if (cancelled) co_await asio::this_coro::reset_cancellation_state(asio::disable_cancellation());
    closed_ = true;
    tick_ = {};
    co_await handlers_.Close();
    if (options_.journal != nullptr && journal_kept_ != lifecycle_.journal_version()) {
      (void)co_await WithTimeout(clock_, kLastJournal, "journal", WriteJournal());
    }
    runtime_.reset();
    if (cancelled) {
      co_await asio::this_coro::reset_cancellation_state(asio::enable_terminal_cancellation());
      ThrowCancelled();
    }
    co_return off_.IsSet() ? absl::OkStatus() : status;
  }

  void Shutdown() override {
    int64_t grace = lifecycle_.spec() != nullptr ? lifecycle_.spec()->grace_seconds : 0;
    Step(Stop{{.grace_seconds = grace, .reason = "the guest was asked to shut down"}});
  }

  void PowerOff() override {
    if (off_.IsSet()) return;
    // Containers die with the guest; nobody is to be told of their end.
    tick_ = {};
    off_.Set();
  }

 private:
  // A kubelet's connection. Idle, it is one coroutine that waits for something to read.
  struct Channel {
    explicit Channel(Executor executor) : writers(executor) {}
    std::unique_ptr<http::Stream> stream;
    guestapi::FrameSplitter splitter;
    TaskGroup writers;
    bool writing = false;
    int64_t sent = 0;  // sequence
  };

  Task<StatusOr<std::unique_ptr<http::Server>>> Listen() {
    CO_ASSIGN_OR_RETURN(auto tls, identity_.Tls());
    http::ServerOptions options;
    options.address = Address();
    options.port = options_.config.port;
    options.tls = std::move(tls);
    options.max_connections = kMaxConnections;
    auto handler = [this](http::Exchange& exchange) { return Handle(&exchange); };
    Backoff backoff({.initial = options_.bind_retry, .max = kMaxBindRetry});
    while (true) {
      auto server = http::Server::Listen(executor_, clock_, options, handler);
      if (server.ok() || off_.IsSet()) co_return server;
      // The address may come, or its old owner go.
      if (backoff.failures() == 0) {
        Log(Severity::kWarning, "Tether cannot listen yet",
            {{"pod", options_.config.pod_uid}, {"err", server.status()}});
      }
      co_await clock_.Sleep(backoff.Next());
      if (off_.IsSet()) co_return server;
    }
  }

  [[nodiscard]] std::string Address() const {
    const std::string& address = options_.config.address;
    return address.substr(0, address.find('/'));
  }

  void LoadJournal() {
    auto text = options_.journal->Load();
    if (absl::IsNotFound(text.status())) return;
    auto journal = text.ok() ? DecodeJournal(*text) : text.status();
    if (journal.ok() && journal->spec.pod_uid != options_.config.pod_uid) {
      journal = absl::FailedPreconditionError("it is of another pod");
    }
    if (!journal.ok()) {
      Log(Severity::kError, "Journal cannot be used: the pod begins anew",
          {{"pod", options_.config.pod_uid}, {"err", journal.status()}});
      return;
    }
    Log(Severity::kInfo, "Guest was rebooted; the pod goes on",
        {{"pod", options_.config.pod_uid}, {"boot", options_.boot_id}, {"was", journal->state.boot_id}});
    lifecycle_.Restore(*std::move(journal), Now());
    if (lifecycle_.first_boot() != options_.boot_id) announcement_.first_boot = lifecycle_.first_boot();
  }

  // With what the journal had.
  void GoOn() {
    if (lifecycle_.spec() == nullptr) return;
    runtime_->Apply(lifecycle_.spec());
    Step(Tick{});
  }

  Task<Status> KeepJournal() {
    Backoff backoff({.initial = kJournalRetry, .max = kJournalMaxRetry});
    while (true) {
      co_await journal_changed_.Wait();
      journal_changed_.Reset();
      while (journal_kept_ != lifecycle_.journal_version()) {
        Status status = co_await WriteJournal();
        if (status.ok()) {
          backoff.Reset();
          continue;
        }
        if (backoff.failures() == 0) {
          Log(Severity::kError, "Journal cannot be written", {{"pod", options_.config.pod_uid}, {"err", status}});
          Step(Noticed{.container = "",
                       .reason = "JournalFailed",
                       .message = absl::StrCat("What happens to the pod is not on its disk, and is lost if its VM is "
                                               "restarted: ",
                                               status.message())});
        }
        co_await clock_.Sleep(backoff.Next());
      }
    }
  }

  // What changes meanwhile is for the next time.
  Task<Status> WriteJournal() {
    const int64_t version = lifecycle_.journal_version();
    if (lifecycle_.spec() != nullptr) {
      CO_RETURN_IF_ERROR(co_await options_.journal->Store(Encode(lifecycle_.ToJournal(Now()))));
    }
    journal_kept_ = version;
    co_return absl::OkStatus();
  }

  Task<Status> AwaitOff() {
    co_await off_.Wait();
    co_return absl::CancelledError("power off");
  }

  Task<Status> Handle(http::Exchange* exchange) {
    // Certificates of pods have the same issuer; only the VCH's own key is the kubelet's.
    if (!identity_.IsKubelet(exchange->stream().PeerKeyHash())) {
      co_return co_await exchange->Respond(
          ErrorResponse(403, "NotTheKubelet", "the client's key is not the kubelet's"));
    }
    const http::Request& request = exchange->request();
    if (request.target == kProbesPath && request.method == "GET") {
      co_return co_await exchange->Respond(
          {200, {{"Content-Type", "application/json"}}, json::Serialize(probes_.ToJson(clock_.WallNow()))});
    }
    if (request.target != guestapi::kChannelPath) {
      if (options_.streams != nullptr) co_return co_await options_.streams->Serve(exchange);
      co_return co_await exchange->Respond(ErrorResponse(404, "NotFound", "no such endpoint"));
    }
    if (request.method != "GET" || !guestapi::OffersChannel(request.headers.Get("Upgrade").value_or(""))) {
      http::Response refusal =
          ErrorResponse(426, "UnsupportedVersion", absl::StrCat("this tether speaks ", guestapi::kChannelProtocol));
      refusal.headers.Set("Upgrade", std::string(guestapi::kChannelProtocol));
      co_return co_await exchange->Respond(std::move(refusal));
    }
    std::string leftover;
    http::Headers headers{{"Upgrade", std::string(guestapi::kChannelProtocol)}};
    CO_ASSIGN_OR_RETURN(auto stream, co_await exchange->Upgrade(std::move(headers), &leftover));
    co_return co_await Serve(std::move(stream), std::move(leftover));
  }

  Task<Status> Serve(std::unique_ptr<http::Stream> stream, std::string leftover) {
    auto channel = channels_.emplace(channels_.end(), executor_);
    channel->stream = std::move(stream);
    Kick(&*channel);
    bool cancelled = false;
    Status status;
    try {
      status = Receive(std::exchange(leftover, {}), &*channel);
      if (status.ok()) status = co_await Read(&*channel);
    } catch (const boost::system::system_error& e) {
      if (!IsCancelled(e)) throw;
      cancelled = true;
    }
    if (cancelled) co_await asio::this_coro::reset_cancellation_state(asio::disable_cancellation());
    channel->writers.Cancel();
    (void)co_await channel->writers.Join();
    channels_.erase(channel);
    if (cancelled) {
      co_await asio::this_coro::reset_cancellation_state(asio::enable_terminal_cancellation());
      ThrowCancelled();
    }
    LogV(2, "Channel closed", {{"pod", options_.config.pod_uid}, {"why", status}});
    co_return absl::OkStatus();
  }

  Task<Status> Read(Channel* channel) {
    while (true) {
      CO_RETURN_IF_ERROR(co_await channel->stream->WaitReadable());
      std::span<char> buffer = ReadBuffer();
      CO_ASSIGN_OR_RETURN(size_t n, co_await channel->stream->ReadSome(buffer));
      if (n == 0) co_return absl::OkStatus();
      CO_RETURN_IF_ERROR(Receive({buffer.data(), n}, channel));
    }
  }

  Status Receive(std::string_view data, Channel* channel) {
    return channel->splitter.Feed(data, [this](std::string_view line) -> Status {
      ASSIGN_OR_RETURN(guestapi::Frame frame, guestapi::DecodeFrame(line));
      std::visit([this](auto& content) { On(content); }, frame);
      return absl::OkStatus();
    });
  }

  void On(guestapi::GuestSpec& spec) {
    if (spec.pod_uid != options_.config.pod_uid) {
      Log(Severity::kError, "Spec is of another pod", {{"pod", options_.config.pod_uid}, {"spec", spec.pod_uid}});
      return;
    }
    Step(Apply{std::make_shared<const guestapi::GuestSpec>(std::move(spec))});
  }
  void On(guestapi::StopRequest& request) {
    stay_on_ = request.stay_on;
    Step(Stop{std::move(request)});
  }
  void On(const guestapi::Ack& ack) {
    acked_ = std::max(acked_, ack.sequence);
    ConsiderPowerOff();
  }
  void On(const guestapi::PowerOff&) { PowerOff(); }
  void On(const guestapi::Certificate& certificate) {
    if (identity_.certified()) return;
    Status status = identity_.Certify(certificate.pem);
    auto tls = status.ok() ? identity_.Tls() : status;
    if (!tls.ok()) {
      Log(Severity::kError, "Certificate of the kubelet cannot be used",
          {{"pod", options_.config.pod_uid}, {"err", tls.status()}});
      return;
    }
    server_->SetTls(*std::move(tls));
  }
  // The tether's own kinds, and those of later versions.
  void On(const guestapi::Hello&) {}
  void On(const guestapi::GuestState&) {}
  void On(const guestapi::UnknownFrame&) {}

  [[nodiscard]] Stamp Now() const { return {clock_.Now(), clock_.WallNow()}; }

  void Step(Event event) {
    if (closed_ || off_.IsSet()) return;
    const int64_t before = lifecycle_.sequence();
    if (const auto* done = std::get_if<ProbeDone>(&event)) probes_.Count(*done);
    std::vector<Action> actions = lifecycle_.Step(event, Now());
    const auto* apply = std::get_if<Apply>(&event);
    if (apply != nullptr && apply->spec == lifecycle_.spec()) runtime_->Apply(apply->spec);
    for (Action& action : actions) {
      std::visit([this](auto& a) { Do(a); }, action);
    }
    if (lifecycle_.journal_version() != journal_kept_) journal_changed_.Set();
    Instant next = lifecycle_.deadline();
    if (next != tick_at_ || !tick_.armed()) {
      tick_ = next < Instant::Never() ? clock_.Schedule(next, [this] { Step(Tick{}); }) : Clock::Timer();
      tick_at_ = next;
    }
    if (lifecycle_.sequence() != before) {
      for (Channel& channel : channels_) Kick(&channel);
    }
    ConsiderPowerOff();
  }

  void Do(const StartContainer& start) {
    probes_.Started(start.run_id, start.spec.name);
    runtime_->Start(start.run_id, start.attempt, start.spec);
  }
  void Do(const StopContainer& stop) { runtime_->Stop(stop.run_id); }
  void Do(const KillContainer& kill) { runtime_->Kill(kill.run_id); }
  void Do(RunProbe& probe) { handlers_.Do(std::move(probe)); }
  void Do(RunHook& hook) { handlers_.Do(std::move(hook)); }
  void Do(const EndHandlers& end) { handlers_.Do(end); }
  void Do(const ResizeContainer& resize) { runtime_->Resize(resize.run_id, resize.resources); }

  void ConsiderPowerOff() {
    if (!lifecycle_.finished() || !lifecycle_.stopping() || stay_on_) return;
    if (acked_ >= lifecycle_.sequence()) return PowerOff();
    if (!last_wait_.armed()) {
      last_wait_ = clock_.Schedule(clock_.Now() + options_.ack_timeout, [this] { PowerOff(); });
    }
  }

  // Writes what the kubelet has not seen, in a coroutine that lives only so long.
  void Kick(Channel* channel) {
    if (std::exchange(channel->writing, true)) return;
    channel->writers.Spawn("write", Write(channel));
  }

  Task<> Write(Channel* channel) {
    Status status;
    if (channel->sent == 0) status = co_await WriteHello(channel);
    while (status.ok() && channel->sent < lifecycle_.sequence()) {
      if (channel->sent > 0) co_await clock_.Sleep(options_.coalesce);
      guestapi::GuestState state = lifecycle_.Snapshot(Now());
      std::string frame = guestapi::EncodeFrame(state);
      channel->sent = state.sequence;
      status = co_await channel->stream->Write(frame);
    }
    channel->writing = false;
    if (!status.ok()) channel->stream->Close();  // ends the reader, too
  }

  Task<Status> WriteHello(Channel* channel) {
    std::string frame = guestapi::EncodeFrame(guestapi::Hello{
        .boot_id = options_.boot_id, .pod_uid = options_.config.pod_uid, .certify = !identity_.certified()});
    co_return co_await channel->stream->Write(frame);
  }

  Executor executor_;
  Clock& clock_;
  Options options_;
  Identity identity_;
  guestapi::GuestAnnouncement announcement_;
  Lifecycle lifecycle_;
  std::unique_ptr<Runtime> runtime_;
  std::unique_ptr<Prober> prober_;
  Handlers handlers_;
  ProbeCounts probes_;
  std::unique_ptr<http::Server> server_;
  std::list<Channel> channels_;
  int64_t acked_ = 0;
  bool stay_on_ = false;  // when the pod has been stopped
  Instant tick_at_ = Instant::Never();
  Clock::Timer tick_;
  Clock::Timer last_wait_;
  vck::Event off_;
  bool closed_ = false;
  int64_t journal_kept_ = 0;  // the version that was written
  vck::Event journal_changed_;
};

}  // namespace

StatusOr<std::unique_ptr<Tether>> Tether::Create(Executor executor, Clock& clock, Options options) {
  ASSIGN_OR_RETURN(Identity identity, Identity::Create(options.config, clock.WallNow()));
  return std::make_unique<TetherImpl>(executor, clock, std::move(options), std::move(identity));
}

}  // namespace vck::tether
