#include "podvm/resolv_conf.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "podvm/go_quote.h"

namespace vck::podvm {
namespace {

// Of k8s.io/kubernetes pkg/apis/core/validation.
constexpr size_t kMaxServers = 3, kMaxSearches = 32, kMaxSearchChars = 2048, kMaxDomain = 253;

using Warnings = std::vector<std::pair<std::string, std::string>>;

void AddOnce(std::vector<std::string>* list, std::string_view item) {
  if (std::find(list->begin(), list->end(), item) == list->end()) list->emplace_back(item);
}

// The later value of an option counts; it keeps its place.
void SetOption(std::vector<std::string>* options, std::string_view name, std::string option) {
  for (std::string& have : *options) {
    if (std::string_view(have).substr(0, have.find(':')) == name) {
      have = std::move(option);
      return;
    }
  }
  options->push_back(std::move(option));
}

enum class Policy { kCluster, kHost, kNone };

Policy PolicyOf(const kubeapi::PodView& pod) {
  const std::string_view policy = json::String(pod.spec(), "dnsPolicy", "ClusterFirst");
  if (policy == "None") return Policy::kNone;
  if (policy == "Default" || (policy == "ClusterFirst" && pod.host_network())) return Policy::kHost;
  return Policy::kCluster;
}

void AddPodConfig(const json::Value* config, DnsConfig* dns) {
  for (const json::Value& server : json::Items(config, "nameservers")) AddOnce(&dns->servers, json::AsString(server));
  for (const json::Value& search : json::Items(config, "searches")) AddOnce(&dns->searches, json::AsString(search));
  for (const json::Value& option : json::Items(config, "options")) {
    const std::string_view name = json::String(option, "name"), value = json::String(option, "value");
    SetOption(&dns->options, name, value.empty() ? std::string(name) : absl::StrCat(name, ":", value));
  }
}

void FitLimits(DnsConfig* dns, Warnings* warnings) {
  if (dns->servers.size() > kMaxServers) {
    dns->servers.resize(kMaxServers);
    warnings->emplace_back("DNSConfigForming",
                           absl::StrCat("Nameserver limits were exceeded, some nameservers have been omitted, the "
                                        "applied nameserver line is: ",
                                        absl::StrJoin(dns->servers, " ")));
  }
  std::vector<std::string>& searches = dns->searches;
  const size_t before = searches.size();
  if (searches.size() > kMaxSearches) searches.resize(kMaxSearches);
  std::erase_if(searches, [](const std::string& domain) { return domain.size() > kMaxDomain; });
  size_t chars = searches.empty() ? 0 : searches.size() - 1;
  for (const std::string& domain : searches) chars += domain.size();
  while (chars > kMaxSearchChars) {
    chars -= searches.back().size() + 1;
    searches.pop_back();
  }
  if (searches.size() != before) {
    warnings->emplace_back("DNSConfigForming",
                           absl::StrCat("Search Line limits were exceeded, some search paths have been omitted, the "
                                        "applied search line is: ",
                                        absl::StrJoin(searches, " ")));
  }
}

}  // namespace

DnsConfig ParseResolvConf(std::string_view text) {
  DnsConfig config;
  for (std::string_view line : absl::StrSplit(text, '\n')) {
    line = absl::StripAsciiWhitespace(line);
    if (line.starts_with('#')) continue;
    std::vector<std::string_view> words = absl::StrSplit(line, absl::ByAnyChar(" \t\r\v\f"), absl::SkipEmpty());
    if (words.size() < 2 && (words.empty() || words[0] != "search")) continue;
    if (words[0] == "nameserver") {
      config.servers.emplace_back(words[1]);
    } else if (words[0] == "search") {
      config.searches.clear();
      for (size_t i = 1; i < words.size(); ++i) {
        if (words[i] != ".") config.searches.emplace_back(absl::StripSuffix(words[i], "."));
      }
    } else if (words[0] == "options") {
      for (size_t i = 1; i < words.size(); ++i) {
        SetOption(&config.options, words[i].substr(0, words[i].find(':')), std::string(words[i]));
      }
    }
  }
  return config;
}

std::string FormatResolvConf(const DnsConfig& config) {
  std::string text;
  if (!config.searches.empty()) absl::StrAppend(&text, "search ", absl::StrJoin(config.searches, " "), "\n");
  for (const std::string& server : config.servers) absl::StrAppend(&text, "nameserver ", server, "\n");
  if (!config.options.empty()) absl::StrAppend(&text, "options ", absl::StrJoin(config.options, " "), "\n");
  return text;
}

DnsConfig PodDns(const kubeapi::PodView& pod, const DnsSettings& settings, Warnings* warnings) {
  DnsConfig dns;
  Policy policy = PolicyOf(pod);
  if (policy == Policy::kCluster && settings.cluster_dns.empty()) {
    warnings->emplace_back(
        "MissingClusterDNS",
        absl::StrCat("pod: ", GoQuote(absl::StrCat(pod.name(), "_", pod.ns(), "(", pod.uid(), ")")),
                     ". kubelet does not have ClusterDNS IP configured and cannot create Pod using \"ClusterFirst\" "
                     "policy. Falling back to \"Default\" policy."));
    policy = Policy::kHost;
  }
  switch (policy) {
    case Policy::kNone:
      break;
    case Policy::kHost:
      dns = settings.host.value_or(DnsConfig{.servers = {"127.0.0.1"}, .searches = {"."}, .options = {}});
      break;
    case Policy::kCluster:
      dns.servers = settings.cluster_dns;
      dns.options = {"ndots:5"};
      if (const std::string& domain = settings.cluster_domain; !domain.empty()) {
        AddOnce(&dns.searches, absl::StrCat(pod.ns(), ".svc.", domain));
        AddOnce(&dns.searches, absl::StrCat("svc.", domain));
        AddOnce(&dns.searches, domain);
      }
      if (settings.host) {
        for (const std::string& search : settings.host->searches) AddOnce(&dns.searches, search);
      }
      break;
  }
  AddPodConfig(json::Get(pod.spec(), "dnsConfig"), &dns);
  FitLimits(&dns, warnings);
  return dns;
}

}  // namespace vck::podvm
