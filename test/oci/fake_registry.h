// A registry at the wire: repositories of manifests and blobs, tokens, and faults on demand.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/digest.h"
#include "oci/registry_client.h"
#include "support/fake_http.h"

namespace vck::oci {

inline std::string DigestOf(std::string_view data) { return absl::StrCat("sha256:", Sha256Hex(data)); }

class FakeRegistry {
 public:
  using Handler = std::function<testing::FakeReply(const http::Request&)>;
  explicit FakeRegistry(Clock& clock) : clock_(clock) {}

  // ---- content ----
  std::string AddBlob(std::string data) {
    std::string digest = DigestOf(data);
    blobs[digest] = std::move(data);
    return digest;
  }
  std::string AddManifest(const std::string& repository, const std::string& tag, std::string text,
                          std::string_view type = kOciManifest) {
    std::string digest = DigestOf(text);
    manifests[repository + "@" + digest] = {std::string(type), text};
    if (!tag.empty()) tags[repository + ":" + tag] = digest;
    return digest;
  }
  // An image of these layers (already packed), and the digests of what they unpack to.
  std::string AddImage(const std::string& repository, const std::string& tag, const std::vector<std::string>& layers,
                       const std::vector<std::string>& diff_ids, std::string_view architecture = "amd64",
                       std::string_view layer_type = "application/vnd.oci.image.layer.v1.tar+gzip") {
    std::string ids;
    for (const std::string& id : diff_ids) absl::StrAppend(&ids, ids.empty() ? "" : ",", "\"", id, "\"");
    std::string config =
        absl::StrCat(R"({"os":"linux","architecture":")", architecture,
                     R"(","config":{"Cmd":["/x"]},"rootfs":{"type":"layers","diff_ids":[)", ids, "]}}");
    std::string text = absl::StrCat(R"({"schemaVersion":2,"mediaType":")", kOciManifest,
                                    R"(","config":{"mediaType":"application/vnd.oci.image.config.v1+json","size":)",
                                    config.size(), R"(,"digest":")", AddBlob(config), R"("},"layers":[)");
    for (size_t i = 0; i < layers.size(); ++i) {
      absl::StrAppend(&text, i == 0 ? "" : ",", R"({"mediaType":")", layer_type, R"(","size":)", layers[i].size(),
                      R"(,"digest":")", AddBlob(layers[i]), "\"}");
    }
    return AddManifest(repository, tag, text + "]}");
  }

  // ---- clients ----
  HttpFactory Factory() {
    return [this](http::ClientOptions options) -> StatusOr<std::shared_ptr<http::Client>> {
      std::string origin = absl::StrCat(options.origin.scheme, "://", options.origin.HostPort());
      proxies[origin] = options.dial.proxy_url;
      auto handler = hosts.find(origin);
      if (handler == hosts.end()) {
        return std::shared_ptr<http::Client>(
            std::make_shared<testing::FakeHttp>(clock_, [origin](const http::Request&) {
              return testing::FakeReply{.error = absl::UnavailableError("dial " + origin + ": no such host")};
            }));
      }
      return std::shared_ptr<http::Client>(
          std::make_shared<testing::FakeHttp>(clock_, [this, origin](const http::Request& request) {
            log.push_back(absl::StrCat(request.method, " ", origin, request.target));
            requests.push_back(request);
            return hosts[origin](request);
          }));
    };
  }
  // What a registry with this content answers.
  Handler Serve() {
    return [this](const http::Request& request) { return Answer(request); };
  }

  testing::FakeReply Answer(const http::Request& request) {
    std::string target = request.target.substr(0, request.target.find('?'));
    if (!authorization.empty() &&
        !authorization.contains(std::string(request.headers.Get("Authorization").value_or("")))) {
      return {.status = 401,
              .body = R"({"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]})",
              .headers = {{"WWW-Authenticate", challenge}}};
    }
    std::vector<std::string> parts = absl::StrSplit(target, '/');
    if (parts.size() < 5) return {.status = 404};
    std::string what = parts.back();
    const std::string& kind = parts[parts.size() - 2];
    std::string repository;
    for (size_t i = 2; i + 2 < parts.size(); ++i) absl::StrAppend(&repository, i == 2 ? "" : "/", parts[i]);
    if (kind == "manifests") {
      if (tags.contains(repository + ":" + what)) what = tags[repository + ":" + what];
      auto it = manifests.find(repository + "@" + what);
      if (it == manifests.end()) return {.status = 404, .body = R"({"errors":[{"code":"MANIFEST_UNKNOWN"}]})"};
      return {.body = request.method == "HEAD" ? "" : it->second.second,
              .headers = {{"Content-Type", it->second.first}, {"Docker-Content-Digest", what}}};
    }
    auto it = blobs.find(what);
    if (it == blobs.end()) return {.status = 404, .body = R"({"errors":[{"code":"BLOB_UNKNOWN"}]})"};
    return Blob(request, it->second);
  }
  testing::FakeReply Blob(const http::Request& request, const std::string& data) {
    std::string range(request.headers.Get("Range").value_or(""));
    size_t start = 0;
    if (!range.empty() && ranges) {
      (void)absl::SimpleAtoi(std::string_view(range).substr(6, range.size() - 7), &start);
    }
    testing::FakeReply reply;
    if (start > 0) {
      reply.status = 206;
      reply.headers.Add("Content-Range", absl::StrCat("bytes ", start, "-", data.size() - 1, "/", data.size()));
    }
    for (size_t at = start; at < data.size(); at += piece) {
      if (break_after > 0 && at - start >= break_after) {
        reply.pieces.push_back(testing::FakeReply::Break());
        if (breaks == 1) break_after = 0;
        if (breaks > 0) --breaks;
        break;
      }
      reply.pieces.push_back(data.substr(at, piece));
    }
    return reply;
  }

  std::map<std::string, Handler> hosts;  // "https://registry-1.docker.io:443"
  std::map<std::string, std::string> blobs, tags, proxies;
  std::map<std::string, std::pair<std::string, std::string>> manifests;
  std::set<std::string> authorization;  // what is accepted; empty: anything
  std::string challenge;
  bool ranges = true;
  size_t piece = 1000;
  size_t break_after = 0;  // bytes of one answer
  int breaks = 0;          // so many answers; 0: all
  std::vector<std::string> log;
  std::vector<http::Request> requests;

 private:
  Clock& clock_;
};

}  // namespace vck::oci
