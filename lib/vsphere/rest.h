// vCenter's REST API (vAPI): /api since 7.0 U2, /rest before.
#pragma once

#include <memory>
#include <string>

#include "http/client.h"
#include "json/json.h"
#include "vsphere/session.h"

namespace vck::vsphere {

// A session of its own beside the SOAP session, with the same credentials; logs in when needed, once for all callers,
// and anew when a call answers 401. Logins go through the SOAP session's guard: one at a time, and none with
// credentials that either API has refused a short while ago.
class RestSession {
 public:
  RestSession(std::shared_ptr<http::Client> client, Session& soap);

  // `path` without the prefix: "/com/vmware/cis/tagging/tag" is the form of /rest, and "/cis/tagging/tag" that of /api;
  // the first is given, and shortened where /api is spoken. `action` goes into the query. The answer without the
  // {"value": …} that /rest puts around it. `body` is the object of /rest with its wrapper, see Wrap().
  Task<StatusOr<json::Value>> Call(std::string method, std::string path, std::string action, json::Object body);
  // The parameter `name` of a create call: /rest wants {"name": {…}}, /api the fields alone.
  [[nodiscard]] json::Object Wrap(std::string_view name, json::Object fields) const;
  // Which of the two is spoken; logs in to find out.
  Task<StatusOr<bool>> SpeaksApi();
  // In /rest an id in a path is written "id:<id>".
  [[nodiscard]] std::string Id(std::string_view id) const;
  // Ends the session on the server, best effort. Later calls log in anew.
  Task<> Logout();

 private:
  Task<Status> Login();
  Task<Status> Connect();
  Task<StatusOr<http::Response>> Send(http::Request request, absl::Duration timeout);

  std::shared_ptr<http::Client> client_;
  Session& soap_;
  std::string token_;
  bool api_ = true;
};

}  // namespace vck::vsphere
