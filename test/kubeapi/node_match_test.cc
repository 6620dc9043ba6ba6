#include "kubeapi/node_match.h"

#include <gtest/gtest.h>

namespace vck::kubeapi {
namespace {

bool Selects(std::string_view pod_spec) {
  auto node = json::Parse(R"({"metadata":{"name":"n1","labels":{"zone":"a","cores":"8","gpu":""}}})");
  auto pod = json::Parse(absl::StrCat(R"({"spec":)", pod_spec, "}"));
  EXPECT_TRUE(pod.ok()) << pod_spec;
  return SelectsNode(PodView(*pod), NodeView(*node));
}

bool Term(std::string_view expression, std::string_view kind = "matchExpressions") {
  return Selects(absl::StrCat(
      R"({"affinity":{"nodeAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":{"nodeSelectorTerms":[{")", kind,
      R"(":[)", expression, "]}]}}}}"));
}

TEST(SelectsNode, BySelectorAndAffinity) {
  EXPECT_TRUE(Selects("{}"));
  EXPECT_TRUE(Selects(R"({"nodeSelector":{"zone":"a"}})"));
  EXPECT_FALSE(Selects(R"({"nodeSelector":{"zone":"a","x":"y"}})"));
  EXPECT_FALSE(Selects(R"({"nodeSelector":{"zone":"b"}})"));
  EXPECT_TRUE(Term(R"({"key":"zone","operator":"In","values":["b","a"]})"));
  EXPECT_FALSE(Term(R"({"key":"zone","operator":"NotIn","values":["a"]})"));
  EXPECT_TRUE(Term(R"({"key":"other","operator":"NotIn","values":["a"]})"));
  EXPECT_TRUE(Term(R"({"key":"gpu","operator":"Exists"})"));
  EXPECT_FALSE(Term(R"({"key":"gpu","operator":"DoesNotExist"})"));
  EXPECT_TRUE(Term(R"({"key":"cores","operator":"Gt","values":["4"]})"));
  EXPECT_FALSE(Term(R"({"key":"cores","operator":"Lt","values":["4"]})"));
  EXPECT_FALSE(Term(R"({"key":"zone","operator":"Gt","values":["4"]})"));
  EXPECT_TRUE(Term(R"({"key":"metadata.name","operator":"In","values":["n1"]})", "matchFields"));
  EXPECT_FALSE(Term(R"({"key":"metadata.name","operator":"In","values":["n2"]})", "matchFields"));
  EXPECT_FALSE(Term(""));  // an empty term matches nothing
  EXPECT_FALSE(Selects(
      R"({"affinity":{"nodeAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":{"nodeSelectorTerms":[]}}}})"));
}

TEST(Tolerations, AsTheSchedulerReadsThem) {
  struct {
    std::string_view toleration, taint;
    bool tolerates;
  } const kCases[] = {
      {R"({"operator":"Exists"})", R"({"key":"a","value":"b","effect":"NoExecute"})", true},
      {R"({"key":"a","operator":"Exists"})", R"({"key":"a","value":"b","effect":"NoSchedule"})", true},
      {R"({"key":"a","operator":"Exists","effect":"NoExecute"})", R"({"key":"a","effect":"NoSchedule"})", false},
      {R"({"key":"a","value":"b"})", R"({"key":"a","value":"b","effect":"NoSchedule"})", true},
      {R"({"key":"a","value":"c"})", R"({"key":"a","value":"b","effect":"NoSchedule"})", false},
      {R"({"key":"c","operator":"Exists"})", R"({"key":"a","effect":"NoSchedule"})", false},
  };
  for (const auto& c : kCases)
    EXPECT_EQ(Tolerates(*json::Parse(c.toleration), *json::Parse(c.taint)), c.tolerates) << c.toleration;

  auto pod = json::Parse(R"({"spec":{"tolerations":[{"key":"a","operator":"Exists"}]}})");
  auto taints = json::Parse(
      R"([{"key":"a","effect":"NoExecute"},{"key":"b","effect":"NoSchedule"},{"key":"c","effect":"PreferNoSchedule"}])");
  EXPECT_EQ(FirstUntolerated(PodView(*pod), taints->as_array(), false), nullptr);
  EXPECT_EQ(FirstUntolerated(PodView(*pod), taints->as_array(), true), &taints->as_array()[1]);
}

}  // namespace
}  // namespace vck::kubeapi
