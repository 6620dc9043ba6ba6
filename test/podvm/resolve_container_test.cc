#include <gtest/gtest.h>

#include "resolve.h"

namespace vck::podvm {
namespace {

using guestapi::ContainerSpec;
using guestapi::Handler;
using guestapi::Security;

ContainerSpec One(std::string_view container, std::string_view pod = "") {
  Resolved r(
      absl::StrCat(R"({"volumes":[{"name":"v","emptyDir":{}}],"containers":[{"name":"c",)", container, "}]", pod, "}"));
  EXPECT_TRUE(r.ok()) << r.Events();
  return r.container();
}

TEST(ResolveContainer, Probes) {
  ContainerSpec c = One(R"("ports":[{"name":"web","containerPort":8080},{"name":"9","containerPort":90}],
    "startupProbe":{"httpGet":{"path":"/x?y","port":"web","scheme":"HTTPS","host":"h","httpHeaders":[{"name":"A","value":"b"},{"name":"A","value":"c"}]},
      "initialDelaySeconds":1,"timeoutSeconds":2,"periodSeconds":3,"successThreshold":4,"failureThreshold":5,"terminationGracePeriodSeconds":6},
    "livenessProbe":{"exec":{"command":["cat","/x"]}},"readinessProbe":{"grpc":{"port":5000,"service":"s"}})");
  ASSERT_TRUE(c.startup && c.liveness && c.readiness);
  const guestapi::Probe& http = *c.startup;
  EXPECT_EQ(http.handler.kind, Handler::Kind::kHttp);
  EXPECT_EQ(http.handler.port, 8080);
  EXPECT_EQ(http.handler.path, "/x?y");
  EXPECT_TRUE(http.handler.https);
  EXPECT_EQ(http.handler.host, "h");
  EXPECT_EQ(http.handler.headers, (std::vector<std::pair<std::string, std::string>>{{"A", "b"}, {"A", "c"}}));
  EXPECT_EQ(http.initial_delay, 1);
  EXPECT_EQ(http.timeout, 2);
  EXPECT_EQ(http.period, 3);
  EXPECT_EQ(http.success_threshold, 4);
  EXPECT_EQ(http.failure_threshold, 5);
  EXPECT_EQ(http.grace_seconds, 6);
  EXPECT_EQ(c.liveness->handler.command, (std::vector<std::string>{"cat", "/x"}));
  EXPECT_EQ(c.liveness->timeout, 1);
  EXPECT_EQ(c.liveness->period, 10);
  EXPECT_EQ(c.liveness->failure_threshold, 3);
  EXPECT_EQ(c.liveness->grace_seconds, std::nullopt);
  EXPECT_EQ(c.readiness->handler.kind, Handler::Kind::kGrpc);
  EXPECT_EQ(c.readiness->handler.port, 5000);
  EXPECT_EQ(c.readiness->handler.service, "s");
  const auto port = [](std::string_view text) {
    return One(absl::StrCat(R"("ports":[{"name":"web","containerPort":8080}],"livenessProbe":{"tcpSocket":{"port":)",
                            text, "}}"))
        .liveness->handler.port;
  };
  EXPECT_EQ(port("22"), 22);
  EXPECT_EQ(port("\"web\""), 8080);
  EXPECT_EQ(port("\"23\""), 23) << "the last chance";
  EXPECT_EQ(port("\"none\""), 0);
  EXPECT_EQ(port("70000"), 0);
}

TEST(ResolveContainer, CommandsOfProbesKnowTheVariablesThatStandInTheSpec) {
  ContainerSpec c = One(R"x("env":[{"name":"A","value":"a"},{"name":"B","value":"$(A)b"},
      {"name":"P","valueFrom":{"fieldRef":{"fieldPath":"metadata.name"}}}],
    "livenessProbe":{"exec":{"command":["test","$(A)","$(B)","[$(P)]","$(NONE)","$$(A)"]}},
    "lifecycle":{"preStop":{"exec":{"command":["echo","$(A)"]}}})x");
  ASSERT_TRUE(c.liveness && c.pre_stop);
  EXPECT_EQ(c.liveness->handler.command, (std::vector<std::string>{"test", "a", "$(A)b", "[]", "$(NONE)", "$(A)"}));
  EXPECT_EQ(c.pre_stop->command, (std::vector<std::string>{"echo", "$(A)"}));
}

TEST(ResolveContainer, Hooks) {
  ContainerSpec c = One(
      R"("lifecycle":{"stopSignal":"SIGUSR1","postStart":{"httpGet":{"port":80}},"preStop":{"sleep":{"seconds":7}}})");
  EXPECT_EQ(c.stop_signal, "SIGUSR1");
  ASSERT_TRUE(c.post_start && c.pre_stop);
  EXPECT_EQ(c.post_start->path, "/");
  EXPECT_EQ(c.post_start->host, "") << "the pod's address";
  EXPECT_EQ(c.pre_stop->kind, Handler::Kind::kSleep);
  EXPECT_EQ(c.pre_stop->seconds, 7);
}

TEST(ResolveContainer, SecurityOfThePodAndItsOwn) {
  ContainerSpec c = One(
      R"("securityContext":{"runAsUser":7,"readOnlyRootFilesystem":true,"allowPrivilegeEscalation":false,"procMount":"Unmasked",
      "capabilities":{"add":["NET_ADMIN","cap_sys_time"],"drop":["ALL"]}})",
      R"(,"securityContext":{"runAsUser":1,"runAsGroup":2,"runAsNonRoot":true,"seccompProfile":{"type":"RuntimeDefault"}})");
  const Security& s = c.security;
  EXPECT_EQ(s.user, 7);
  EXPECT_EQ(s.group, 2);
  EXPECT_TRUE(s.run_as_non_root);
  EXPECT_TRUE(s.read_only_root && s.no_new_privileges && s.unmasked_proc);
  EXPECT_FALSE(s.privileged);
  EXPECT_EQ(s.add_capabilities, (std::vector<std::string>{"NET_ADMIN", "SYS_TIME"}));
  EXPECT_EQ(s.drop_capabilities, (std::vector<std::string>{"ALL"}));
  EXPECT_EQ(s.seccomp, Security::Seccomp::kRuntimeDefault);

  ContainerSpec plain = One(R"("image":"i")");
  EXPECT_EQ(plain.security, Security{}) << "seccomp is unconfined by default, as without --seccomp-default";
  ContainerSpec own = One(R"("securityContext":{"runAsNonRoot":false,"seccompProfile":{"type":"Unconfined"}})",
                          R"(,"securityContext":{"runAsNonRoot":true,"seccompProfile":{"type":"RuntimeDefault"}})");
  EXPECT_FALSE(own.security.run_as_non_root);
  EXPECT_EQ(own.security.seccomp, Security::Seccomp::kUnconfined);
  ContainerSpec privileged = One(R"("securityContext":{"privileged":true,"seccompProfile":{"type":"RuntimeDefault"}})");
  EXPECT_TRUE(privileged.security.privileged);
  EXPECT_EQ(privileged.security.seccomp, Security::Seccomp::kUnconfined);
  EXPECT_EQ(One(R"("securityContext":{"runAsUser":0})", R"(,"securityContext":{"runAsNonRoot":true})").config_error,
            "container's runAsUser breaks non-root policy (pod: \"p_n(u)\", container: c)");
  EXPECT_EQ(One(R"("image":"i")", R"(,"securityContext":{"seccompProfile":{"type":"Localhost"}})").config_error,
            "seccompProfile of type Localhost is not supported on this node");
}

TEST(ResolveContainer, Resources) {
  ContainerSpec c =
      One(R"("resources":{"limits":{"cpu":"1500m","memory":"64Mi"},"requests":{"cpu":"100m","memory":"32Mi"}})");
  EXPECT_EQ(c.cpu_limit_milli, 1500);
  EXPECT_EQ(c.cpu_request_milli, 100);
  EXPECT_EQ(c.memory_limit_bytes, 64 << 20);
  EXPECT_EQ(c.memory_request_bytes, 32 << 20);
  ContainerSpec limits = One(R"("resources":{"limits":{"cpu":"2"}})");
  EXPECT_EQ(limits.cpu_request_milli, 2000);
  EXPECT_EQ(limits.memory_limit_bytes, 0);
  ContainerSpec of_pod =
      One(R"("resources":{"limits":{"cpu":"1"}})", R"(,"resources":{"limits":{"cpu":"3","memory":"1Gi"}})");
  EXPECT_EQ(of_pod.cpu_limit_milli, 1000);
  EXPECT_EQ(of_pod.memory_limit_bytes, 1 << 30);
}

TEST(ResolveContainer, Mounts) {
  ContainerSpec c = One(R"j("env":[{"name":"A","value":"x"},{"name":"B","value":"y"}],
    "volumeMounts":[{"name":"v","mountPath":"/a","subPath":"s","readOnly":true,"mountPropagation":"HostToContainer"},
      {"name":"v","mountPath":"b","subPathExpr":"$(A)/$(B)","mountPropagation":"Bidirectional"}])j");
  ASSERT_EQ(c.mounts.size(), 2) << c.config_error;
  EXPECT_EQ(
      c.mounts[0],
      (guestapi::Mount{.volume = "v", .path = "/a", .sub_path = "s", .read_only = true, .host_to_container = true}));
  EXPECT_EQ(c.mounts[1], (guestapi::Mount{.volume = "v", .path = "/b", .sub_path = "x/y", .bidirectional = true}));
  const auto error = [](std::string_view mount) {
    return One(absl::StrCat(
                   R"("env":[{"name":"UP","value":".."},{"name":"ROOT","value":"/x"},{"name":"E","value":""}],"volumeMounts":[{"mountPath":"/m",)",
                   mount, "}]"))
        .config_error;
  };
  EXPECT_EQ(error(R"j("name":"v","subPathExpr":"$(UP)")j"), "unable to provision SubPath `..`: must not contain '..'");
  EXPECT_EQ(error(R"j("name":"v","subPathExpr":"$(ROOT)")j"), "error SubPath `/x` must not be an absolute path");
  EXPECT_EQ(error(R"j("name":"v","subPathExpr":"$(Z)/$(E)/$(NO)")j"), "missing value for E, NO, Z");
  EXPECT_EQ(error(R"("name":"no")"), "cannot find volume \"no\" to mount into container \"c\"");
}

TEST(ResolveContainer, TerminalAndTerminationMessage) {
  ContainerSpec c = One(
      R"("tty":true,"stdin":true,"stdinOnce":true,"terminationMessagePath":"/m","terminationMessagePolicy":"FallbackToLogsOnError")");
  EXPECT_TRUE(c.tty && c.stdin && c.stdin_once && c.termination_message_from_logs);
  EXPECT_EQ(c.termination_message_path, "/m");
  EXPECT_EQ(One(R"("image":"i")").termination_message_path, "/dev/termination-log");
}

TEST(ResolveContainer, ResizePolicies) {
  Resolved r(R"({"containers":[{"name":"c","resizePolicy":[{"resourceName":"cpu","restartPolicy":"NotRequired"},
      {"resourceName":"memory","restartPolicy":"RestartContainer"}]}]})");
  ASSERT_TRUE(r.ok());
  EXPECT_FALSE(r.container().restart_for_cpu);
  EXPECT_TRUE(r.container().restart_for_memory);
}

}  // namespace
}  // namespace vck::podvm
