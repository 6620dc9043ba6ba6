#include <gtest/gtest.h>

#include "absl/strings/str_join.h"
#include "resolve.h"

namespace vck::podvm {
namespace {

constexpr std::string_view kFixedHosts =
    "127.0.0.1\tlocalhost\n"
    "::1\tlocalhost ip6-localhost ip6-loopback\n"
    "fe00::0\tip6-localnet\n"
    "fe00::0\tip6-mcastprefix\n"
    "fe00::1\tip6-allnodes\n"
    "fe00::2\tip6-allrouters\n";

guestapi::GuestSpec With(std::string_view fields, Inputs in = {}) {
  Resolved r(absl::StrCat("{", fields, fields.empty() ? "" : ",", R"("containers":[{"name":"c"}]})"), in);
  EXPECT_TRUE(r.ok()) << r.Events();
  return r.ok() ? r.spec() : guestapi::GuestSpec{};
}

TEST(ResolveNetwork, HostsFile) {
  EXPECT_EQ(With("").hosts_file, absl::StrCat("# Kubernetes-managed hosts file.\n", kFixedHosts, "10.0.0.5\tp\n"));
  EXPECT_EQ(With(R"("hostname":"web-0","subdomain":"svc",
      "hostAliases":[{"ip":"1.2.3.4","hostnames":["a","b"]},{"ip":"::5","hostnames":["c"]}])")
                .hosts_file,
            absl::StrCat("# Kubernetes-managed hosts file.\n", kFixedHosts,
                         "10.0.0.5\tweb-0.svc.n.svc.cluster.local\tweb-0\n"
                         "\n# Entries added by HostAliases.\n1.2.3.4\ta\tb\n::5\tc\n"));
  EXPECT_EQ(With(R"("hostNetwork":true,"hostAliases":[{"ip":"1.2.3.4","hostnames":["a"]}])").hosts_file,
            absl::StrCat("# Kubernetes-managed hosts file (host network).\n", kFixedHosts,
                         "10.0.0.5\tnode-1\n\n# Entries added by HostAliases.\n1.2.3.4\ta\n"));
}

TEST(ResolveNetwork, HostName) {
  EXPECT_EQ(With("").host_name, "p");
  EXPECT_EQ(With(R"("hostname":"h","subdomain":"s")").host_name, "h");
  EXPECT_EQ(With(R"("hostname":"h","subdomain":"s","setHostnameAsFQDN":true)").host_name, "h.s.n.svc.cluster.local");
  EXPECT_EQ(With(R"("setHostnameAsFQDN":true)").host_name, "p");
  EXPECT_EQ(With(R"("hostname":"h","subdomain":"s","hostnameOverride":"over.ride")").host_name, "over.ride");
  EXPECT_EQ(With(R"("hostNetwork":true)").host_name, "node-1") << "of whoever's network it is";
  EXPECT_EQ(With("", {.name = std::string(62, 'a') + "-b"}).host_name, std::string(62, 'a'));
  Resolved r(absl::StrCat(R"({"hostname":")", std::string(60, 'h'),
                          R"(","subdomain":"s","setHostnameAsFQDN":true,"containers":[{"name":"c"}]})"));
  EXPECT_FALSE(r.ok());
  EXPECT_EQ(r.Events(), absl::StrCat("FailedCreatePodSandBox: Failed to create pod sandbox: failed to construct FQDN "
                                     "from pod hostname and cluster domain, FQDN ",
                                     std::string(60, 'h'),
                                     ".s.n.svc.cluster.local is too long (64 characters is the max, 82 characters "
                                     "requested)"));
}

TEST(ResolveNetwork, ResolvConfByPolicy) {
  DnsSettings dns{.cluster_dns = {"10.96.0.10"},
                  .cluster_domain = "cluster.local",
                  .host = DnsConfig{.servers = {"192.0.2.53"}, .searches = {"example.com"}, .options = {"rotate"}}};
  const auto conf = [&](std::string_view fields) { return With(fields, {.dns = dns}).resolv_conf; };
  constexpr std::string_view kCluster =
      "search n.svc.cluster.local svc.cluster.local cluster.local example.com\nnameserver 10.96.0.10\noptions "
      "ndots:5\n";
  constexpr std::string_view kHost = "search example.com\nnameserver 192.0.2.53\noptions rotate\n";
  EXPECT_EQ(conf(""), kCluster);
  EXPECT_EQ(conf(R"("dnsPolicy":"ClusterFirst")"), kCluster);
  EXPECT_EQ(conf(R"("dnsPolicy":"ClusterFirst","hostNetwork":true)"), kHost);
  EXPECT_EQ(conf(R"("dnsPolicy":"ClusterFirstWithHostNet","hostNetwork":true)"), kCluster);
  EXPECT_EQ(conf(R"("dnsPolicy":"Default")"), kHost);
  EXPECT_EQ(conf(R"("dnsPolicy":"None","dnsConfig":{"nameservers":["1.1.1.1","1.1.1.1"],"searches":["a.b"],
      "options":[{"name":"ndots","value":"2"},{"name":"edns0"}]})"),
            "search a.b\nnameserver 1.1.1.1\noptions ndots:2 edns0\n");
  EXPECT_EQ(
      conf(
          R"("dnsConfig":{"nameservers":["1.1.1.1"],"searches":["cluster.local","more"],"options":[{"name":"ndots","value":"1"}]})"),
      "search n.svc.cluster.local svc.cluster.local cluster.local example.com more\nnameserver 10.96.0.10\n"
      "nameserver 1.1.1.1\noptions ndots:1\n");
}

TEST(ResolveNetwork, WithoutClusterDnsOrHostConfiguration) {
  Resolved r(R"({"containers":[{"name":"c"}]})",
             {.dns = {.cluster_dns = {}, .cluster_domain = "", .host = std::nullopt}});
  ASSERT_TRUE(r.ok());
  EXPECT_EQ(r.spec().resolv_conf, "search .\nnameserver 127.0.0.1\n");
  EXPECT_EQ(r.Events(),
            "MissingClusterDNS: pod: \"p_n(u)\". kubelet does not have ClusterDNS IP configured and cannot create Pod "
            "using \"ClusterFirst\" policy. Falling back to \"Default\" policy.");
}

TEST(ResolvConf, LimitsAreToldAndKept) {
  std::vector<std::string> many;
  for (int i = 0; i < 40; ++i) many.push_back(absl::StrCat("\"d", i, ".example\""));
  Resolved r(absl::StrCat(
      R"({"dnsPolicy":"None","dnsConfig":{"nameservers":["1.0.0.1","1.0.0.2","1.0.0.3","1.0.0.4"],"searches":[)",
      absl::StrJoin(many, ","), R"(]},"containers":[{"name":"c"}]})"));
  ASSERT_TRUE(r.ok());
  EXPECT_EQ(r.result.events.size(), 2);
  EXPECT_NE(
      r.Events().find("DNSConfigForming: Nameserver limits were exceeded, some nameservers have been omitted, the "
                      "applied nameserver line is: 1.0.0.1 1.0.0.2 1.0.0.3\n"),
      std::string::npos)
      << r.Events();
  DnsConfig config = ParseResolvConf(r.spec().resolv_conf);
  EXPECT_EQ(config.servers.size(), 3);
  EXPECT_EQ(config.searches.size(), 32);
  // By characters: what does not fit in 2,048 goes from the end.
  const std::string long_name(250, 'x');
  std::vector<std::string> wide;
  for (int i = 0; i < 9; ++i) wide.push_back(absl::StrCat("\"", i, long_name, "\""));
  Resolved w(absl::StrCat(R"({"dnsPolicy":"None","dnsConfig":{"searches":[)", absl::StrJoin(wide, ","), ",\"",
                          std::string(254, 'y'), R"("]},"containers":[{"name":"c"}]})"));
  EXPECT_EQ(ParseResolvConf(w.spec().resolv_conf).searches.size(), 8);
}

TEST(ResolvConf, IsReadAsTheKubeletReadsIt) {
  DnsConfig config = ParseResolvConf(
      "# comment\nnameserver 1.2.3.4 \n\tnameserver\t5.6.7.8\nnameserver\nsearch a b\nsearch c. . d\n"
      "options ndots:1 rotate\noptions ndots:2\nsortlist x\n");
  EXPECT_EQ(config,
            (DnsConfig{.servers = {"1.2.3.4", "5.6.7.8"}, .searches = {"c", "d"}, .options = {"ndots:2", "rotate"}}));
  EXPECT_EQ(FormatResolvConf(config), "search c d\nnameserver 1.2.3.4\nnameserver 5.6.7.8\noptions ndots:2 rotate\n");
  EXPECT_EQ(FormatResolvConf({}), "");
}

TEST(ResolveNetwork, HostPortsAreToldOnce) {
  constexpr std::string_view kPorts =
      R"("containers":[{"name":"c","ports":[{"containerPort":80},{"containerPort":81,"hostPort":8081,"protocol":"UDP"}]},
         {"name":"d","ports":[{"containerPort":82,"hostPort":8082}]}]})";
  Resolved r(absl::StrCat("{", kPorts));
  ASSERT_TRUE(r.ok());
  EXPECT_EQ(r.Events(),
            "HostPortNotSupported: hostPort is not supported, and nobody listens at the node's address: 8081/UDP of "
            "container c, 8082/TCP of container d; use the pod's IP, or a Service");
  EXPECT_EQ(Resolved(absl::StrCat(R"({"hostNetwork":true,)", kPorts)).Events(), "");
}

}  // namespace
}  // namespace vck::podvm
