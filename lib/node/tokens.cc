#include "node/tokens.h"

#include <algorithm>

#include "base/log.h"
#include "json/json.h"

namespace vck::node {
namespace {

constexpr absl::Duration kMaxAge = absl::Hours(24);
constexpr absl::Duration kMaxJitter = absl::Seconds(10);
// Just after binding, the authorizer may not know yet that the pod is here.
constexpr absl::Duration kPatience = absl::Seconds(5);
constexpr BackoffPolicy kRetry{.initial = absl::Milliseconds(500), .max = absl::Minutes(1), .factor = 2, .jitter = 0.3};

}  // namespace

struct Tokens::Entry {
  std::string uid, ns, pod, service_account;
  podvm::TokenRef ref;
  Instant since;         // first asked for
  std::string token;     // "": none yet
  Instant expires;       // of `token`
  std::string error;     // of the last attempt; "": it went well
  bool refused = false;  // that error was a 403
  bool fetching = false;
  Backoff backoff{kRetry};
  Clock::Timer timer;  // the next attempt
};

Tokens::Tokens(Executor executor, kube::Client& client, std::function<void(const std::string&)> changed)
    : executor_(executor),
      client_(client),
      clock_(client.clock()),
      changed_(std::move(changed)),
      random_(RandomSeed()),
      group_(executor) {}

Tokens::~Tokens() = default;

podvm::TokenResult Tokens::Get(const kubeapi::PodView& pod, const podvm::TokenRef& ref) {
  auto& entry = pods_[pod.uid()][ref];
  if (entry == nullptr) {
    entry = std::make_shared<Entry>();
    entry->uid = pod.uid();
    entry->ns = pod.ns();
    entry->pod = pod.name();
    entry->service_account = pod.service_account().empty() ? "default" : pod.service_account();
    entry->ref = ref;
    entry->since = clock_.Now();
    if (running_) Fetch(entry);
  }
  using State = podvm::TokenResult::State;
  const Instant now = clock_.Now();
  if (!entry->token.empty() && now < entry->expires) return {.state = State::kReady, .token = entry->token};
  if (entry->error.empty() || (entry->refused && now - entry->since < kPatience)) return {.state = State::kPending};
  return {.state = State::kFailed,
          .error = entry->token.empty()
                       ? absl::StrCat("failed to fetch token: ", entry->error)
                       : absl::StrCat("token of service account ", entry->ns, "/", entry->service_account,
                                      " expired and refresh failed: ", entry->error)};
}

void Tokens::Fetch(const std::shared_ptr<Entry>& entry) {
  if (std::exchange(entry->fetching, true)) return;
  group_.Spawn("token", FetchOnce(this, entry));
}

Task<> Tokens::FetchOnce(Tokens* self, std::shared_ptr<Entry> entry) {
  json::Object spec{{"expirationSeconds", entry->ref.expiration_seconds},
                    {"boundObjectRef",
                     json::Object{{"apiVersion", "v1"}, {"kind", "Pod"}, {"name", entry->pod}, {"uid", entry->uid}}}};
  if (!entry->ref.audience.empty()) spec["audiences"] = json::Array{json::Value(entry->ref.audience)};
  json::Object request{{"apiVersion", "authentication.k8s.io/v1"}, {"kind", "TokenRequest"}, {"spec", std::move(spec)}};
  kube::WriteOptions options;
  options.subresource = "token";
  auto answer = co_await self->client_.Create({kube::kServiceAccounts, entry->ns, entry->service_account},
                                              json::Serialize(request), options);
  self->Done(entry, answer);
}

void Tokens::Done(const std::shared_ptr<Entry>& entry, const StatusOr<std::string>& answer) {
  entry->fetching = false;
  // Forgotten meanwhile.
  auto pod = pods_.find(entry->uid);
  if (pod == pods_.end()) return;
  if (auto it = pod->second.find(entry->ref); it == pod->second.end() || it->second != entry) return;
  const Instant now = clock_.Now();
  absl::Duration wait;
  Status status = answer.status();
  if (status.ok()) {
    auto document = json::Document::Parse(*answer);
    const json::Value* root = document.ok() ? &document->root() : nullptr;
    const std::string_view token = json::String(json::Get(root, "status"), "token");
    if (token.empty()) {
      status = absl::InternalError("the API server answered a token request without a token");
    } else {
      // The server may grant another life than was asked for. Its clock may differ from ours, so time counts from now.
      const absl::Duration life = absl::Seconds(
          std::max<int64_t>(1, json::Int(json::Get(root, "spec"), "expirationSeconds", entry->ref.expiration_seconds)));
      entry->token = token;
      entry->expires = now + life;
      entry->error.clear();
      entry->backoff.Reset();
      const absl::Duration age = std::min(kMaxAge, life * 0.8);
      wait = std::max(age - kMaxJitter * NextRandom(random_), age / 2);
    }
  }
  if (!status.ok()) {
    entry->error = kube::ServerMessage(status);
    entry->refused = absl::IsPermissionDenied(status);
    wait = entry->backoff.Next();
    LogV(2, "No service account token",
         {{"pod", absl::StrCat(entry->ns, "/", entry->pod)}, {"sa", entry->service_account}, {"err", status}});
  }
  entry->timer = clock_.Schedule(now + wait, [this, weak = std::weak_ptr<Entry>(entry)] {
    auto due = weak.lock();
    if (due != nullptr && running_) Fetch(due);
  });
  changed_(entry->uid);
}

Task<> Tokens::Run() {
  running_ = true;
  for (const auto& [uid, tokens] : pods_) {
    for (const auto& [ref, entry] : tokens) Fetch(entry);
  }
  Event never;
  bool aborted = false;
  try {
    co_await never.Wait();
  } catch (const boost::system::system_error& e) {
    if (!IsCancelled(e)) throw;
    aborted = true;
  }
  running_ = false;
  co_await asio::this_coro::reset_cancellation_state(asio::disable_cancellation());
  group_.Cancel();
  (void)co_await group_.Join();
  if (aborted) ThrowCancelled();
}

}  // namespace vck::node
