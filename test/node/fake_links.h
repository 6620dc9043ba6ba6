// Links that only note what they are asked for, and answer as they are told.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "guestlink/links.h"

namespace vck::node {

// A body in pieces of ten bytes.
class TextBody : public http::BodyReader {
 public:
  explicit TextBody(std::string text) : text_(std::move(text)) {}
  Task<StatusOr<std::string>> Read() override {
    std::string piece = text_.substr(0, 10);
    text_.erase(0, piece.size());
    co_return piece;
  }

 private:
  std::string text_;
};

class FakeLinks : public guestlink::Links {
 public:
  void Connect(const std::string& uid, const guestlink::Endpoint& endpoint) override { connected[uid] = endpoint; }
  void Disconnect(const std::string& uid) override { connected.erase(uid); }
  void Forget(const std::string& uid) override {
    connected.erase(uid);
    store.Erase(uid);
  }
  void Push(const std::string& uid, std::shared_ptr<const guestapi::GuestSpec> spec) override {
    pushed[uid] = std::move(spec);
  }
  void Stop(const std::string& uid, guestapi::StopRequest request) override {
    stops[uid].push_back(request.grace_seconds);
  }
  void PowerOff(const std::string& uid) override { powered_off.push_back(uid); }
  Task<StatusOr<http::StreamingResponse>> Get(std::string uid, std::string target) override {
    asked.push_back(absl::StrCat(uid, " ", target));
    auto answer = answers.find(target);
    if (answer == answers.end()) co_return absl::UnavailableError("not connected");
    if (!answer->second.ok()) co_return answer->second.status();
    http::StreamingResponse response{.status = 200};
    response.body = std::make_unique<TextBody>(*answer->second);
    co_return response;
  }
  flow::Store<std::string, guestlink::LinkState>& states() override { return store; }
  [[nodiscard]] std::string key_hash() const override { return "hash"; }
  Task<Status> Run() override { co_return absl::OkStatus(); }

  std::map<std::string, guestlink::Endpoint> connected;
  std::vector<std::string> powered_off, asked;
  std::map<std::string, StatusOr<std::string>> answers;  // by target
  std::map<std::string, std::shared_ptr<const guestapi::GuestSpec>> pushed;
  std::map<std::string, std::vector<int64_t>> stops;
  flow::Store<std::string, guestlink::LinkState> store;
};

}  // namespace vck::node
