// A pod's spec as JSON -> ResolveSpec, with a few objects to refer to.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "gtest/gtest.h"
#include "podvm/resolve_spec.h"

namespace vck::podvm {

using Data = std::map<std::string, std::string>;

struct Inputs {
  LookupResult::State missing = LookupResult::State::kMissing;  // of objects that are not here
  std::string ip = "10.0.0.5";
  TokenResult token = {.state = TokenResult::State::kReady, .token = "t0ken"};
  ServiceEnv services = {};
  bool services_known = true;
  DnsSettings dns = {.cluster_dns = {"10.96.0.10"}, .cluster_domain = "cluster.local", .host = DnsConfig{}};
  std::vector<std::pair<std::string, std::string>> images = {};
  std::string labels = R"({"app":"web"})";
  std::string annotations = R"({"x/y":"z"})";
  std::string name = "p";
};

struct Resolved {
  explicit Resolved(std::string_view spec, Inputs given = {}) {
    static const Data kConfig = {{"KEY", "value"}, {"a b", "spaced"}, {"bad=", "x"}};
    static const Data kFile = {{"one.txt", "1"}, {"two.txt", "2"}};
    static const Data kBinary = {{"bin", std::string("\0\xff", 2)}};
    static const Data kSecret = {{"password", "s3cret"}, {"raw", std::string("\xff\xfe", 2)}};
    auto pod = json::Parse(absl::StrCat(R"({"metadata":{"name":")", given.name,
                                        R"(","namespace":"n","uid":"u","generation":7,"labels":)", given.labels,
                                        R"(,"annotations":)", given.annotations, R"(},"spec":)", spec,
                                        R"(,"status":{"startTime":"2026-01-01T00:00:00Z"}})"));
    EXPECT_TRUE(pod.ok()) << spec;
    kubeapi::PodView view(*pod);
    refs = ReferencedObjects(view);
    tokens = ReferencedTokens(view);
    ResolveInputs in;
    in.pod = &view;
    in.revision = 5;
    in.pod_ip = given.ip;
    in.host_ip = "192.0.2.1";
    in.node_name = "node-1";
    in.allocatable = {.cpu_milli = 8000, .memory_bytes = int64_t{1} << 30, .ephemeral_bytes = int64_t{1} << 34};
    in.lookup = [missing = given.missing](const ObjectRef& ref) -> LookupResult {
      using State = LookupResult::State;
      if (ref == ObjectRef{ObjectRef::Kind::kConfigMap, "cm"}) return {.state = State::kFound, .data = &kConfig};
      if (ref == ObjectRef{ObjectRef::Kind::kConfigMap, "files"})
        return {.state = State::kFound, .data = &kFile, .binary = &kBinary};
      if (ref == ObjectRef{ObjectRef::Kind::kSecret, "sec"}) return {.state = State::kFound, .data = &kSecret};
      return {.state = missing, .error = "configmaps \"no\" is forbidden"};
    };
    in.token = [&](const TokenRef&) { return given.token; };
    in.service_env = given.services_known ? &given.services : nullptr;
    in.dns = given.dns;
    in.images = given.images;
    result = ResolveSpec(in);
  }
  [[nodiscard]] bool ok() const { return result.spec.has_value(); }
  [[nodiscard]] const guestapi::GuestSpec& spec() const { return result.spec.value(); }
  [[nodiscard]] const guestapi::ContainerSpec& container(size_t i = 0) const { return spec().containers.at(i); }
  [[nodiscard]] std::string Env(std::string_view name) const {
    for (const auto& [key, value] : container().env) {
      if (key == name) return value;
    }
    return "(unset)";
  }
  // "path=content(mode) …" of the first volume.
  [[nodiscard]] std::string Files() const {
    if (!ok()) return absl::StrCat(result.reason, ": ", result.message);
    std::string out;
    for (const auto& file : spec().volumes.at(0).files) {
      absl::StrAppend(&out, out.empty() ? "" : " ", absl::StrFormat("%s=%s(%04o)", file.path, file.content, file.mode));
    }
    return out;
  }
  [[nodiscard]] std::string Events() const {
    std::string out;
    for (const auto& e : result.events) absl::StrAppend(&out, out.empty() ? "" : "\n", e.reason, ": ", e.message);
    return out;
  }
  ResolveResult result;
  std::vector<ObjectRef> refs;
  std::vector<TokenRef> tokens;
};

// A pod of one container that mounts one volume.
inline std::string WithVolume(std::string_view source, std::string_view more = "") {
  return absl::StrCat(R"({"volumes":[{"name":"v",)", source,
                      R"(}],"containers":[{"name":"c","volumeMounts":[{"name":"v","mountPath":"/v"}]}])", more, "}");
}

}  // namespace vck::podvm
