// Figures and configuration through the port, from a guest that does what a test says.
#include "json/json.h"
#include "kubeletapi/fixture.h"
#include "kubeletapi/guest_figures.h"

namespace vck::kubeletapi {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

class ObserverTest : public ApiTest {
 protected:
  ObserverTest() {
    further_ = [this](http::Exchange& exchange) { return Answer(this, &exchange); };
  }
  static Task<Status> Answer(ObserverTest* self, http::Exchange* exchange) {
    ++self->asked_[exchange->request().target];
    while (self->hold_) co_await self->net_.clock().Sleep(absl::Milliseconds(5));
    auto answer = self->answers_.find(exchange->request().target);
    if (answer == self->answers_.end()) {
      co_return co_await exchange->Respond({404, {}, R"({"error":{"code":"NotFound","message":"no such endpoint"}})"});
    }
    co_return co_await exchange->Respond({200, {{"Content-Type", "application/json"}}, answer->second});
  }
  // The pods that the summary names.
  std::vector<std::string> PodsOf(const http::Response& response) {
    std::vector<std::string> out;
    auto summary = json::Parse(response.body);
    EXPECT_TRUE(summary.ok()) << response.body;
    if (!summary.ok()) return out;
    for (const json::Value& pod : json::Items(*summary, "pods")) {
      out.emplace_back(json::String(json::Get(pod, "podRef"), "name"));
    }
    return out;
  }
  void NextRound() { net_.Pass(absl::Milliseconds(350)); }

  std::map<std::string, std::string> answers_{{"/v1/stats", kGuestFigures}};
  std::map<std::string, int> asked_;
  bool hold_ = false;
};

TEST_F(ObserverTest, SummaryOfAGuest) {
  Connect();
  node_.name = "vch1";
  auto response = Get("/stats/summary");
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.headers.Get("Content-Type"), "application/json");
  EXPECT_THAT(PodsOf(response), ElementsAre("web"));
  EXPECT_THAT(response.body, HasSubstr(R"({"node":{"nodeName":"vch1")"));
  EXPECT_THAT(response.body, HasSubstr(R"("usageCoreNanoSeconds":1500000000)"));
  EXPECT_THAT(response.body, HasSubstr(R"("rxBytes":11)"));
  auto some = Get("/stats/summary?only_cpu_and_memory=true");
  EXPECT_THAT(PodsOf(some), ElementsAre("web"));
  EXPECT_THAT(some.body, HasSubstr(R"("usageCoreNanoSeconds":1500000000)"));
  EXPECT_THAT(some.body, Not(HasSubstr("rxBytes")));
}

class PollTest : public ObserverTest {
 protected:
  PollTest() { net_.Spawn(poll_.Run()); }
  ~PollTest() override { net_.Close(); }
  metrics::Counter& answered_ = registry_.counter("answered", "-");
  metrics::Counter& failed_ = registry_.counter("failed", "-");
  GuestPoll<PodStats> poll_{
      {.clock = net_.clock(), .links = *kubelet_, .pods = directory_, .answered = answered_, .failed = failed_},
      {.target = "/v1/stats", .decode = DecodePodStats, .only_if = {}},
      {.fresh = absl::Hours(1)}};
};

TEST_F(PollTest, ScrapesShareTheGuestsAnswers) {
  Connect();
  for (int i = 0; i < 3; ++i) EXPECT_EQ(net_.Run(poll_.Get()).size(), 1u);
  EXPECT_EQ(asked_["/v1/stats"], 1);
  EXPECT_EQ(answered_.Value(), 1);
  EXPECT_EQ(failed_.Value(), 0);
}

TEST_F(ObserverTest, MetricsAreText) {
  Connect();
  auto resource = Get("/metrics/resource");
  EXPECT_EQ(resource.headers.Get("Content-Type"), "text/plain; version=0.0.4; charset=utf-8");
  EXPECT_THAT(resource.body,
              HasSubstr("\ncontainer_cpu_usage_seconds_total{container=\"c\",namespace=\"default\",pod=\"web\"} 1.5 "));
  EXPECT_THAT(resource.body, HasSubstr("\nresource_scrape_error 0\n"));
  EXPECT_THAT(resource.body, Not(HasSubstr("node_cpu"))) << "vCenter has not told";
  auto cadvisor = Get("/metrics/cadvisor");
  EXPECT_THAT(cadvisor.body, HasSubstr("container_network_receive_bytes_total{container=\"\","));
  EXPECT_THAT(cadvisor.body, HasSubstr("\ncontainer_scrape_error 0\n"));
}

TEST_F(ObserverTest, AGuestThatIsNotReachedIsLeftOut) {
  auto without = Get("/stats/summary");
  EXPECT_EQ(without.status, 200);
  EXPECT_THAT(PodsOf(without), ElementsAre()) << "not connected";
  EXPECT_EQ(asked_["/v1/stats"], 0);
  Connect();
  NextRound();
  EXPECT_THAT(PodsOf(Get("/stats/summary")), ElementsAre("web"));
  // It hangs: after a second nothing is said of it, and nobody waits for longer.
  hold_ = true;
  NextRound();
  auto begin = net_.clock().Now();
  EXPECT_THAT(PodsOf(Get("/stats/summary")), ElementsAre());
  EXPECT_LT(net_.clock().Now() - begin, absl::Seconds(10));
  hold_ = false;
  NextRound();
  EXPECT_THAT(PodsOf(Get("/stats/summary")), ElementsAre("web"));
  // It says something else than figures, or nothing.
  for (std::string body : {"", "[]", R"({"containers":[]})"}) {
    answers_["/v1/stats"] = body;
    NextRound();
    EXPECT_THAT(PodsOf(Get("/stats/summary")), ElementsAre()) << body;
  }
  answers_["/v1/stats"] = std::string(size_t{2} << 20, ' ');
  NextRound();
  EXPECT_THAT(PodsOf(Get("/stats/summary")), ElementsAre()) << "too much";
  answers_.clear();
  NextRound();
  EXPECT_THAT(PodsOf(Get("/stats/summary")), ElementsAre()) << "simulated guests have none";
  answers_["/v1/stats"] = kGuestFigures;
  NextRound();
  EXPECT_THAT(PodsOf(Get("/stats/summary")), ElementsAre("web"));
  kubelet_->Disconnect("uid-1");
  EXPECT_THAT(PodsOf(Get("/stats/summary")), ElementsAre()) << "not connected any more";
}

TEST_F(ObserverTest, ProbesOfPodsThatHaveSome) {
  Connect();
  answers_["/v1/probes"] = R"({"time":1,"probes":[{"container":"c","type":"Liveness","successful":3,"failed":0}]})";
  EXPECT_EQ(Get("/metrics/probes").body, "");
  EXPECT_EQ(asked_["/v1/probes"], 0) << "the pod has none";
  pods_.Put("uid-1", *kube::Object::Parse(R"({"metadata":{"name":"web","namespace":"default","uid":"uid-1"},)"
                                          R"("spec":{"containers":[{"name":"c","livenessProbe":{}}]}})"));
  NextRound();
  EXPECT_EQ(Get("/metrics/probes").body,
            "# HELP prober_probe_total Results of probes of containers, by type\n# TYPE prober_probe_total counter\n"
            "prober_probe_total{container=\"c\",namespace=\"default\",pod=\"web\",pod_uid=\"uid-1\","
            "probe_type=\"Liveness\",result=\"successful\"} 3\n");
}

TEST_F(ObserverTest, TheKubeletItself) {
  registry_.counter("a_total", "A counter.").Increment();
  EXPECT_THAT(Get("/metrics").body, HasSubstr("\na_total 1\n"));
  EXPECT_EQ(Get("/configz").body, "{\"kubeletconfig\":{\"kind\":\"KubeletConfiguration\",\"maxPods\":7}}\n");
  EXPECT_THAT(Get("/flagz").body, HasSubstr("\nmax-pods=7\nnode-name=vch1\n"));
  auto statusz = Get("/statusz").body;
  EXPECT_THAT(statusz, HasSubstr("kubelet statusz\n"));
  EXPECT_THAT(statusz, HasSubstr("\nUp: 0 hr 00 min 0"));
  EXPECT_THAT(statusz, HasSubstr("\nBinary version: vch-kubelet 1.2.3\n"));
  for (const char* path :
       {"/stats", "/stats/container", "/stats/summary/x", "/metrics/x", "/configz/x", "/statusz/x"}) {
    EXPECT_EQ(Get(path).status, 404) << path;
  }
  for (const char* path : {"/stats/summary", "/metrics", "/metrics/resource", "/configz", "/logs/x"}) {
    EXPECT_EQ(Fetch({.method = "POST", .target = path}).status, 405) << path;
  }
}

TEST_F(ObserverTest, TheKubeletsLog) {
  log_.Add(1'000'000, "first\n");
  log_.Add(2'000'000, "second\n");
  log_.Add(3'000'000, "third\n");
  for (const char* path : {"/logs", "/logs/"}) {
    auto list = Get(path);
    EXPECT_EQ(list.headers.Get("Content-Type"), "text/html; charset=utf-8");
    EXPECT_EQ(list.body, "<pre>\n<a href=\"vch-kubelet.log\">vch-kubelet.log</a>\n</pre>\n");
  }
  auto all = Get("/logs/vch-kubelet.log");
  EXPECT_EQ(all.headers.Get("Content-Type"), "text/plain; charset=utf-8");
  EXPECT_EQ(all.body, "first\nsecond\nthird\n");
  // As kubectl's node log queries ask.
  EXPECT_EQ(Get("/logs/?query=kubelet").body, all.body);
  EXPECT_EQ(Get("/logs/?query=vch-kubelet&tailLines=1").body, "third\n");
  EXPECT_EQ(Get("/logs/?query=kubelet&sinceTime=1970-01-01T00:00:02Z").body, "second\nthird\n");
  EXPECT_EQ(Get("/logs/?query=kubelet&untilTime=1970-01-01T00:00:02Z&tailLines=1").body, "second\n");
  EXPECT_EQ(Get("/logs/?query=kubelet&query=containerd").status, 404);
  EXPECT_EQ(Get("/logs/syslog").status, 404);
  EXPECT_EQ(Get("/logs/vch-kubelet.log/x").status, 404);
  for (const char* wrong : {"tailLines=x", "tailLines=-1", "tailLines=100001", "sinceTime=yesterday", "untilTime=0",
                            "pattern=a", "boot=-1", "sinceTime=1970-01-01T00:00:02Z&untilTime=1970-01-01T00:00:01Z"}) {
    EXPECT_EQ(Get(absl::StrCat("/logs/?query=kubelet&", wrong)).status, 400) << wrong;
  }
}

TEST_F(ObserverTest, WhoMayKnow) {
  struct Case {
    std::string path;
    std::vector<std::string> any_of;  // subresources
  };
  for (const Case& c : {Case{"/stats/summary", {"stats"}}, Case{"/metrics", {"metrics"}},
                        Case{"/metrics/resource", {"metrics"}}, Case{"/metrics/cadvisor", {"metrics"}},
                        Case{"/metrics/probes", {"metrics"}}, Case{"/configz", {"configz", "proxy"}},
                        Case{"/statusz", {"statusz"}}, Case{"/flagz", {"configz"}}, Case{"/logs/", {"log"}}}) {
    const auto as = [&] { return Fetch({.target = c.path}, ClientTls(ca_.Issue({.common_name = "alice"}))).status; };
    EXPECT_EQ(Fetch({.target = c.path}, *http::TlsContext::Client({.ca_pem = server_cert_})).status, 401) << c.path;
    reviews_.allowed = {"alice get pods", "alice get healthz", "alice create stats", "alice create metrics"};
    EXPECT_EQ(as(), 403) << c.path;
    for (const std::string& subresource : c.any_of) {
      reviews_.allowed = {absl::StrCat("alice get ", subresource)};
      EXPECT_EQ(as(), 200) << c.path << " " << subresource;
    }
  }
  EXPECT_EQ(asked_["/v1/stats"], 0);
}

}  // namespace
}  // namespace vck::kubeletapi
