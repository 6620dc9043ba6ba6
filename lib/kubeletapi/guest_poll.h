// GuestPoll: asks all guests the same question, when somebody wants to know.
#pragma once

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/match.h"
#include "async/clock.h"
#include "async/task_group.h"
#include "async/timeout.h"
#include "async/wait.h"
#include "base/log.h"
#include "guestlink/links.h"
#include "kubeletapi/pod_directory.h"
#include "metrics/metrics.h"

namespace vck::kubeletapi {

struct PollOptions {
  absl::Duration fresh = absl::Seconds(5);     // between two rounds at least: who asks meanwhile shares the answers
  absl::Duration patience = absl::Seconds(4);  // then whoever asks gets what has come so far; the round goes on
  absl::Duration guest = absl::Seconds(3);     // for one guest
  absl::Duration expiry = absl::Minutes(1);    // older answers are told to nobody
  int concurrency = 32;
  size_t max_body = size_t{1024} * 1024;
};

// The bodies of a guest's answers, at most `max`; ResourceExhausted beyond.
Task<StatusOr<std::string>> FetchFromGuest(guestlink::Links& links, std::string uid, std::string target, size_t max);

// One thread. T has uid, time and guest_time.
template <class T>
class GuestPoll {
 public:
  using Ptr = std::shared_ptr<const T>;
  struct Question {
    std::string target;
    // `previous` may be null.
    StatusOr<Ptr> (*decode)(const kube::Object& pod, const guestlink::LinkState& link, std::string_view body,
                            absl::Time now, const T* previous);
    std::string only_if;                 // a text that the pod's JSON must have; "": all pods
    std::function<void(const T&)> seen;  // told of each answer; may be empty
  };
  struct Deps {
    Clock& clock;
    guestlink::Links& links;
    const PodDirectory& pods;
    metrics::Counter& answered;
    metrics::Counter& failed;
  };
  GuestPoll(Deps deps, Question question, PollOptions options = {})
      : deps_(std::move(deps)), question_(std::move(question)), options_(options) {}

  // The newest answers, by namespace and name. A guest that is not connected, or did not answer when it was asked last,
  // is not among them.
  Task<std::vector<Ptr>> Get() {
    if (!busy_ && (!begun_ || deps_.clock.Now() - *begun_ >= options_.fresh)) {
      busy_ = true;
      wanted_.Set();
    }
    if (busy_) (void)co_await WithTimeout(deps_.clock, options_.patience, "asking the guests", Await(&ended_));
    std::vector<Ptr> out;
    const absl::Time oldest = deps_.clock.WallNow() - options_.expiry;
    for (const kube::ObjectPtr& pod : deps_.pods.All()) {
      auto sample = samples_.find(pod->uid());
      if (sample == samples_.end() || sample->second->time < oldest) continue;
      if (Connected(*pod) != nullptr) out.push_back(sample->second);
    }
    std::sort(out.begin(), out.end(),
              [](const Ptr& a, const Ptr& b) { return std::tie(a->ns, a->name) < std::tie(b->ns, b->name); });
    co_return out;
  }

  // Does the rounds until cancelled.
  Task<Status> Run() {
    while (true) {
      co_await wanted_.Wait();
      wanted_.Reset();
      busy_ = true;
      begun_ = deps_.clock.Now();
      CO_RETURN_IF_ERROR(co_await Ask());
      busy_ = false;
      ended_.NotifyAll();
    }
  }

 private:
  struct Round {
    std::vector<kube::ObjectPtr> pods;
    size_t next = 0;
  };

  static Task<Status> Await(Signal* signal) {
    co_await signal->Wait();
    co_return absl::OkStatus();
  }

  [[nodiscard]] std::shared_ptr<const guestlink::LinkState> Connected(const kube::Object& pod) const {
    auto link = deps_.links.states().Get(std::string(pod.uid()));
    return link != nullptr && link->connected ? link : nullptr;
  }

  Task<Status> Ask() {
    auto round = std::make_shared<Round>();
    absl::flat_hash_map<std::string, Ptr> known;
    for (kube::ObjectPtr& pod : deps_.pods.All()) {
      if (auto sample = samples_.find(pod->uid()); sample != samples_.end()) {
        known.emplace(sample->first, std::move(sample->second));
      }
      if (Connected(*pod) == nullptr || !absl::StrContains(pod->json(), question_.only_if)) continue;
      round->pods.push_back(std::move(pod));
    }
    samples_ = std::move(known);
    // If there is not time enough for all, those come first that have waited longest.
    std::sort(round->pods.begin(), round->pods.end(),
              [this](const auto& a, const auto& b) { return AskedAt(*a) < AskedAt(*b); });
    auto executor = co_await asio::this_coro::executor;
    TaskGroup workers(executor);
    const auto count = std::min(static_cast<size_t>(options_.concurrency), round->pods.size());
    for (size_t i = 0; i < count; ++i) workers.Spawn(question_.target, Work(this, round));
    co_return co_await workers.Join();
  }

  [[nodiscard]] absl::Time AskedAt(const kube::Object& pod) const {
    auto sample = samples_.find(pod.uid());
    return sample == samples_.end() ? absl::InfinitePast() : sample->second->time;
  }

  static Task<Status> Work(GuestPoll* self, std::shared_ptr<Round> round) {
    while (round->next < round->pods.size()) {
      kube::ObjectPtr pod = std::move(round->pods[round->next++]);
      co_await self->AskOne(std::move(pod));
    }
    co_return absl::OkStatus();
  }

  Task<> AskOne(kube::ObjectPtr pod) {
    const std::string uid(pod->uid());
    auto body = co_await WithTimeout(deps_.clock, options_.guest, "asking the guest",
                                     FetchFromGuest(deps_.links, uid, question_.target, options_.max_body));
    StatusOr<Ptr> answer = body.ok() ? StatusOr<Ptr>(nullptr) : StatusOr<Ptr>(body.status());
    auto previous = samples_.find(uid);
    if (auto link = Connected(*pod); body.ok() && link != nullptr) {
      answer = question_.decode(*pod, *link, *body, deps_.clock.WallNow(),
                                previous == samples_.end() ? nullptr : previous->second.get());
    }
    if (answer.ok() && *answer != nullptr) {
      deps_.answered.Increment();
      if (question_.seen) question_.seen(**answer);
      samples_[uid] = *std::move(answer);
      co_return;
    }
    deps_.failed.Increment();
    if (previous != samples_.end()) samples_.erase(previous);
    LogV(2, "Guest does not tell its figures", {{"pod", uid}, {"target", question_.target}, {"err", answer.status()}});
  }

  Deps deps_;
  Question question_;
  PollOptions options_;
  absl::flat_hash_map<std::string, Ptr> samples_;  // by UID
  std::optional<Instant> begun_;
  bool busy_ = false;  // a round is wanted, or under way
  Event wanted_;
  Signal ended_;
};

}  // namespace vck::kubeletapi
