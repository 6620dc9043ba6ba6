#include "node/services.h"

#include "gtest/gtest.h"

namespace vck::node {
namespace {

kube::ObjectPtr Service(const std::string& ns, const std::string& name, const std::string& ip, int rv = 1) {
  return *kube::Object::Parse(absl::StrCat(R"({"metadata":{"name":")", name, R"(","namespace":")", ns,
                                           R"(","uid":"u","resourceVersion":")", rv, R"("},"spec":{"clusterIP":")", ip,
                                           R"(","ports":[{"port":80,"protocol":"TCP"}]}})"));
}

struct Fixture {
  std::string Env(const std::string& uid, const std::string& ns, std::string_view name, bool links = true) {
    auto pod = json::Parse(absl::StrCat(R"({"metadata":{"uid":")", uid, R"(","namespace":")", ns,
                                        R"("},"spec":{"enableServiceLinks":)", links ? "true" : "false", "}}"));
    auto env = services.EnvOf(kubeapi::PodView(*pod));
    if (env == nullptr) return "(unknown)";
    auto it = env->find(std::string(name));
    return it == env->end() ? "(unset)" : it->second;
  }
  int synced = 0;
  Services services{[this] { ++synced; }};
};

TEST(Services, APodIsToldOfItsNamespaceAndOfTheApiServer) {
  Fixture f;
  EXPECT_EQ(f.Env("a", "n", "KUBERNETES_SERVICE_HOST"), "(unknown)");
  f.services.Replace({Service("default", "kubernetes", "10.96.0.1"), Service("n", "web", "10.96.0.7"),
                      Service("n", "headless", "None"), Service("default", "other", "10.96.0.8")});
  EXPECT_EQ(f.synced, 1);
  EXPECT_EQ(f.Env("a", "n", "KUBERNETES_SERVICE_HOST"), "10.96.0.1");
  EXPECT_EQ(f.Env("a", "n", "WEB_SERVICE_HOST"), "10.96.0.7");
  EXPECT_EQ(f.Env("a", "n", "OTHER_SERVICE_HOST"), "(unset)");
  EXPECT_EQ(f.Env("a", "n", "HEADLESS_SERVICE_HOST"), "(unset)");
  EXPECT_EQ(f.Env("b", "n", "WEB_SERVICE_HOST", false), "(unset)");
  EXPECT_EQ(f.Env("b", "n", "KUBERNETES_SERVICE_HOST", false), "10.96.0.1");
  EXPECT_EQ(f.Env("c", "default", "OTHER_SERVICE_HOST"), "10.96.0.8");
}

TEST(Services, WhatAPodWasToldStays) {
  Fixture f;
  f.services.Replace({Service("n", "web", "10.96.0.7")});
  EXPECT_EQ(f.Env("a", "n", "WEB_SERVICE_HOST"), "10.96.0.7");
  f.services.Upsert(Service("n", "db", "10.96.0.9", 2));
  f.services.Upsert(Service("n", "web", "10.96.0.70", 3));
  EXPECT_EQ(f.Env("a", "n", "DB_SERVICE_HOST"), "(unset)");
  EXPECT_EQ(f.Env("a", "n", "WEB_SERVICE_HOST"), "10.96.0.7");
  EXPECT_EQ(f.Env("b", "n", "DB_SERVICE_HOST"), "10.96.0.9");
  EXPECT_EQ(f.Env("b", "n", "WEB_SERVICE_HOST"), "10.96.0.70");
  f.services.Delete(Service("n", "db", "10.96.0.9", 4));
  EXPECT_EQ(f.Env("c", "n", "DB_SERVICE_HOST"), "(unset)");
  f.services.Release("a");
  EXPECT_EQ(f.Env("a", "n", "WEB_SERVICE_HOST"), "10.96.0.70") << "another pod of that name";
  f.services.Replace({});
  EXPECT_EQ(f.synced, 1);
  EXPECT_EQ(f.Env("d", "n", "WEB_SERVICE_HOST"), "(unset)");
}

TEST(Services, OnesOwnKubernetesComesBeforeTheApiServers) {
  Fixture f;
  f.services.Replace({Service("default", "kubernetes", "10.96.0.1"), Service("n", "kubernetes", "10.96.0.2")});
  EXPECT_EQ(f.Env("a", "n", "KUBERNETES_SERVICE_HOST"), "10.96.0.2");
  EXPECT_EQ(f.Env("b", "n", "KUBERNETES_SERVICE_HOST", false), "10.96.0.1");
}

}  // namespace
}  // namespace vck::node
