// What the tests of lib/kube share: a Client over FakeHttp, and the texts that an API server would send.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "async/task_group.h"
#include "kube/client.h"
#include "support/fake_http.h"
#include "support/loop.h"

namespace vck::kube {

class FixedCredentials : public CredentialSource {
 public:
  Task<StatusOr<std::shared_ptr<const Credentials>>> Get() override { co_return current; }
  void Invalidate(const std::shared_ptr<const Credentials>& used) override {
    if (used != current) return;
    ++invalidated;
    auto next = std::make_shared<Credentials>();
    next->headers.Set("Authorization", absl::StrCat("Bearer t", invalidated));
    current = next;
  }
  void Refresh() override { ++refreshed; }
  int refreshed = 0;
  std::shared_ptr<const Credentials> current = std::make_shared<Credentials>();
  int invalidated = 0;
};

// A loop, and a Client whose requests `handler` answers.
struct ClientFixture {
  explicit ClientFixture(testing::FakeHttp::Handler handler, ClientOptions options = {})
      : http(std::make_shared<testing::FakeHttp>(loop.clock(), std::move(handler))),
        credentials(std::make_shared<FixedCredentials>()),
        client(loop.clock(), http, credentials, Config(), options) {}
  static RestConfig Config() {
    RestConfig config;
    config.server.path = "/prefix";
    return config;
  }
  testing::Loop loop;
  std::shared_ptr<testing::FakeHttp> http;
  std::shared_ptr<FixedCredentials> credentials;
  Client client;
};

// A task in the background that ends with the fixture's scope.
class Background {
 public:
  Background(testing::Loop& loop, Task<> task) : loop_(loop), group_(loop.executor()) {
    group_.Spawn("background", std::move(task));
  }
  ~Background() { Stop(); }
  void Stop() {
    group_.Cancel();
    Status status = loop_.Run(group_.Join());
    EXPECT_TRUE(status.ok()) << status;
  }
  [[nodiscard]] bool running() const { return group_.size() > 0; }

 private:
  testing::Loop& loop_;
  TaskGroup group_;
};

inline std::string Pod(const std::string& name, const std::string& uid, int rv, const std::string& more = "") {
  return absl::StrCat(R"({"kind":"Pod","apiVersion":"v1","metadata":{"name":")", name, R"(","namespace":"ns","uid":")",
                      uid, R"(","resourceVersion":")", rv, R"("},"spec":{"nodeName":"n")", more, "}}");
}
inline std::string Event(const std::string& type, const std::string& object) {
  return absl::StrCat(R"({"type":")", type, R"(","object":)", object, "}\n");
}
inline std::string Bookmark(int rv, bool initial_end = false) {
  return Event("BOOKMARK", absl::StrCat(R"({"kind":"Pod","apiVersion":"v1","metadata":{"resourceVersion":")", rv,
                                        R"(","creationTimestamp":null)",
                                        initial_end ? R"(,"annotations":{"k8s.io/initial-events-end":"true"})" : "",
                                        R"(},"spec":{"containers":null},"status":{}})"));
}
inline std::string StatusObject(int code, const std::string& reason, const std::string& message = "no") {
  return absl::StrCat(R"({"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":")", message,
                      R"(","reason":")", reason, R"(","code":)", code, "}");
}
inline std::string PodList(int rv, const std::vector<std::string>& items, const std::string& token = "") {
  std::string out = absl::StrCat(R"({"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":")", rv, "\"");
  if (!token.empty()) absl::StrAppend(&out, R"(,"continue":")", token, R"(","remainingItemCount":1)");
  absl::StrAppend(&out, R"(},"items":[)");
  for (size_t i = 0; i < items.size(); ++i) absl::StrAppend(&out, i > 0 ? "," : "", items[i]);
  return absl::StrCat(out, "]}\n");
}

}  // namespace vck::kube
