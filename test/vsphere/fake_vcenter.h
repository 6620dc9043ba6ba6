// A vCenter at the wire: scripted SOAP answers, sessions that end when a test says so, and update sets on demand.
#pragma once

#include <algorithm>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "async/clock.h"
#include "async/timeout.h"
#include "async/wait.h"
#include "http/client.h"

namespace vck::vsphere {

class FakeVcenter : public http::Client {
 public:
  // Answers a method: the content of <XxxResponse>, or what Fault() or Transport() returns.
  using Handler = std::function<std::string(const std::string& body)>;

  explicit FakeVcenter(Clock& clock) : clock_(clock) {
    On("RetrieveServiceContent", [](const std::string&) {
      return std::string(
          "<returnval><rootFolder type=\"Folder\">group-d1</rootFolder>"
          "<propertyCollector type=\"PropertyCollector\">propertyCollector</propertyCollector>"
          "<viewManager type=\"ViewManager\">ViewManager</viewManager><about><name>x</name><fullName>Fake</fullName>"
          "</about><sessionManager type=\"SessionManager\">SessionManager</sessionManager>"
          "<searchIndex type=\"SearchIndex\">SearchIndex</searchIndex></returnval>");
    });
    On("Login", [this](const std::string& body) {
      if (!absl::StrContains(body, absl::StrCat("<password>", password, "</password>"))) {
        return Fault("InvalidLogin", "Cannot complete login due to an incorrect user name or password.");
      }
      session = absl::StrCat("s", ++sessions);
      return std::string("<returnval><key>k</key><userName>u</userName></returnval>");
    });
    On("CreatePropertyCollector",
       [this](const std::string&) { return Ref("PropertyCollector", absl::StrCat("pc-", ++collectors)); });
    On("CreateListView", [this](const std::string&) { return Ref("ListView", absl::StrCat("view-", ++views)); });
    On("CreateFilter", [](const std::string&) { return Ref("PropertyFilter", "filter"); });
    for (const char* method : {"ModifyListView", "DestroyPropertyCollector", "DestroyView", "Logout"}) {
      On(method, [](const std::string&) { return std::string(); });
    }
    On("CurrentTime", [](const std::string&) { return std::string("<returnval>2026-01-01T00:00:00Z</returnval>"); });
  }

  void On(std::string method, Handler handler) { handlers_[std::move(method)] = std::move(handler); }
  static std::string Fault(std::string_view type, std::string_view text = "it failed", std::string_view fields = "") {
    return absl::StrCat("\x01<soapenv:Fault><faultcode>ServerFaultCode</faultcode><faultstring>", text,
                        "</faultstring><detail><", type, "Fault xmlns=\"urn:vim25\" xsi:type=\"", type, "\">", fields,
                        "</", type, "Fault></detail></soapenv:Fault>");
  }
  static std::string Transport() { return "\x02"; }
  static std::string Ref(std::string_view type, std::string_view value) {
    return absl::StrCat("<returnval type=\"", type, "\">", value, "</returnval>");
  }

  // ---- updates ----
  // Answers the next WaitForUpdatesEx (or the one that waits) with this.
  void Push(std::string answer) {
    updates_.push_back(std::move(answer));
    pushed_.NotifyAll();
  }
  void PushSet(std::string_view version, std::string_view objects, bool truncated = false) {
    Push(absl::StrCat("<returnval><version>", version,
                      "</version><filterSet><filter type=\"PropertyFilter\">f</filter>", objects, "</filterSet>",
                      truncated ? "<truncated>true</truncated>" : "", "</returnval>"));
  }
  static std::string Object(std::string_view kind, std::string_view type, std::string_view id,
                            std::string_view changes = "") {
    return absl::StrCat("<objectSet><kind>", kind, "</kind><obj type=\"", type, "\">", id, "</obj>", changes,
                        "</objectSet>");
  }
  static std::string Change(std::string_view name, std::string_view type, std::string_view value) {
    return absl::StrCat("<changeSet><name>", name, "</name><op>assign</op><val xsi:type=\"", type, "\">", value,
                        "</val></changeSet>");
  }
  static std::string Vm(std::string_view id, std::string_view name, std::string_view power = "poweredOff") {
    return Object("enter", "VirtualMachine", id,
                  absl::StrCat(Change("name", "xsd:string", name),
                               Change("runtime.powerState", "VirtualMachinePowerState", power),
                               Change("runtime.connectionState", "VirtualMachineConnectionState", "connected")));
  }
  static std::string TaskState(std::string_view id, std::string_view state, std::string_view more = "") {
    return Object("modify", "Task", id, absl::StrCat(Change("info.state", "TaskInfoState", state), more));
  }

  void EndSession() { session = "ended"; }
  [[nodiscard]] int Count(std::string_view method) const {
    return static_cast<int>(std::count(calls.begin(), calls.end(), method));
  }

  std::string password = "secret";
  std::string session;  // the cookie that is good
  int sessions = 0, collectors = 0, views = 0;
  absl::Duration latency;          // of all calls but WaitForUpdatesEx
  std::vector<std::string> calls;  // methods, in order
  std::vector<std::string> bodies;
  std::vector<http::Request> requests;
  std::vector<std::string> wait_versions;
  std::vector<Instant> wait_times;
  int versions_status = 200;

  // ---- http::Client ----
  Task<StatusOr<http::Response>> Do(http::Request request, http::CallOptions options) override {
    requests.push_back(request);
    if (latency > options.timeout) {
      co_await clock_.Sleep(options.timeout);
      co_return Lost(absl::DeadlineExceededError("no answer"));
    }
    if (latency > absl::ZeroDuration()) co_await clock_.Sleep(latency);
    if (request.method == "GET") {
      co_return http::Response{
          .status = versions_status,
          .body =
              "<?xml version=\"1.0\"?><namespaces version=\"1.0\"><namespace><name>urn:vim25</name>"
              "<version>9.9.0.0</version><priorVersions><version>7.0.3.2</version><version>8.0.2.0</version>"
              "<version>6.5</version></priorVersions></namespace></namespaces>"};
    }
    size_t start = request.body.find("<soapenv:Body><") + 15;
    std::string method = request.body.substr(start, request.body.find(' ', start) - start);
    calls.push_back(method);
    bodies.push_back(request.body);
    bool open = method == "RetrieveServiceContent" || method == "Login";
    if (!open && request.headers.Get("Cookie").value_or("") != absl::StrCat("vmware_soap_session=", session)) {
      co_return Wrap(method, Fault("NotAuthenticated", "The session is not authenticated."));
    }
    if (method == "WaitForUpdatesEx") co_return co_await Wait(std::move(request.body), options.timeout);
    auto handler = handlers_.find(method);
    co_return Wrap(method,
                   handler == handlers_.end() ? Fault("NotImplemented", method) : handler->second(request.body));
  }
  Task<StatusOr<http::StreamingResponse>> Open(http::Request, http::CallOptions) override {
    co_return absl::UnimplementedError("Open");
  }
  Task<StatusOr<http::Response>> Upload(http::Request, int64_t, http::BodySource, http::CallOptions) override {
    co_return absl::UnimplementedError("Upload");
  }
  void SetTls(std::shared_ptr<http::TlsContext>) override {}
  Task<> Close() override { co_return; }
  [[nodiscard]] Stats stats() const override { return {}; }

 private:
  static Status Lost(Status status) {
    status.SetPayload(http::kMaybeSent, absl::Cord("1"));
    return status;
  }
  StatusOr<http::Response> Wrap(const std::string& method, const std::string& answer) {
    if (answer.starts_with('\x02')) return Lost(absl::UnavailableError("connection reset by peer"));
    bool fault = answer.starts_with('\x01');
    std::string inner =
        fault ? answer.substr(1)
              : absl::StrCat("<", method, "Response xmlns=\"urn:vim25\">", answer, "</", method, "Response>");
    http::Response response{
        .status = fault ? 500 : 200,
        .body = absl::StrCat("<?xml version=\"1.0\" encoding=\"UTF-8\"?><soapenv:Envelope "
                             "xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\"><soapenv:Body>",
                             inner, "</soapenv:Body></soapenv:Envelope>")};
    if (method == "Login" && !fault) {
      response.headers.Add("Set-Cookie", absl::StrCat("vmware_soap_session=", session, "; Path=/; HttpOnly"));
    }
    return response;
  }
  Task<StatusOr<http::Response>> Wait(std::string body, absl::Duration timeout) {
    size_t start = body.find("<version>");
    wait_versions.push_back(start == std::string::npos ? ""
                                                       : body.substr(start + 9, body.find("</version>") - start - 9));
    wait_times.push_back(clock_.Now());
    Instant deadline = clock_.Now() + timeout;
    while (updates_.empty()) {
      Clock::Timer timer = clock_.Schedule(deadline, [this] { pushed_.NotifyAll(); });
      co_await pushed_.Wait();
      if (clock_.Now() >= deadline) co_return Lost(absl::DeadlineExceededError("no answer"));
    }
    std::string answer = std::move(updates_.front());
    updates_.pop_front();
    co_return Wrap("WaitForUpdatesEx", answer);
  }

  Clock& clock_;
  std::map<std::string, Handler> handlers_;
  std::deque<std::string> updates_;
  Signal pushed_;
};

}  // namespace vck::vsphere
