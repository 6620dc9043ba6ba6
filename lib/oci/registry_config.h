// The administrator's settings for registries (--registries FILE).
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "http/message.h"
#include "oci/keyring.h"

namespace vck::oci {

// How a host is reached.
struct HostSettings {
  std::string ca_file;      // PEM; "": the system's store
  bool insecure = false;    // any certificate
  bool plain_http = false;  // http:// where no scheme is written
  std::string username, password_file;
  friend bool operator==(const HostSettings&, const HostSettings&) = default;
};

struct Mirror {
  http::Url url;  // scheme, host and port; a path comes before /v2
  HostSettings settings;
  bool inherits = false;  // written as text: the settings are its entry's
};

struct RegistryEntry {
  std::string prefix;  // "docker.io", "quay.io/team": of names that it is for; "*": of all
  HostSettings settings;
  std::vector<Mirror> mirrors;  // asked in this order, then the registry itself
  bool mirrors_only = false;    // the registry itself is never asked
};

struct RegistryConfig {
  std::vector<RegistryEntry> entries;
  // The entry with the longest prefix that fits `name` ("docker.io/library/busybox"): a prefix ends at a '/' or
  // where the name ends. Null: none.
  [[nodiscard]] const RegistryEntry* Find(std::string_view name) const;
};

// JSON: {"registries":[{"prefix":"docker.io","mirrors":["https://127.0.0.1:5000"],"mirrorsOnly":false,"caFile":"…",
// "insecure":false,"plainHttp":false,"auth":{"username":"u","passwordFile":"f"}}]}. A mirror may also be an object,
// {"url": …} with caFile, insecure, plainHttp and auth of its own. Where mirrors are written as text, the entry's
// settings are theirs, and the registry itself is reached without any. InvalidArgument says where
// ("registries[0].mirrors[1]: …"); unknown fields are mistakes.
StatusOr<RegistryConfig> ParseRegistryConfig(std::string_view json);

}  // namespace vck::oci
