#include "guestos/virtio_port.h"

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "json/json.h"

namespace vck::guestos {
namespace {

constexpr size_t kMaxLine = size_t{64} * 1024;

void Read(std::string_view line, const std::function<void(PowerRequest)>& on_request) {
  if (line.empty()) return;
  auto document = json::Document::Parse(line);
  const std::string_view op = document.ok() ? json::String(document->root(), "op") : "";
  if (op == "shutdown") {
    on_request(PowerRequest::kShutdown);
  } else if (op == "reboot") {
    on_request(PowerRequest::kReboot);
  } else {
    Log(Severity::kWarning, "Host says something that is not understood", {{"bytes", line.size()}});
  }
}

}  // namespace

std::string SetLine(std::string_view key, std::string_view value) {
  json::Object guestinfo;
  guestinfo[key] = value;
  json::Object line;
  line["op"] = "set";
  line["guestinfo"] = std::move(guestinfo);
  return json::Serialize(std::move(line)) + "\n";
}

std::string NetLine(const GuestNet& net) {
  json::Array addresses;
  for (const std::string& address : net.addresses) {
    addresses.emplace_back(std::string_view(address).substr(0, address.find('/')));
  }
  json::Object line;
  line["op"] = "net";
  line["ip"] = std::move(addresses);
  line["hostname"] = net.host_name;
  line["mac"] = net.mac;
  return json::Serialize(std::move(line)) + "\n";
}

void PortReader::Feed(std::string_view bytes, const std::function<void(PowerRequest)>& on_request) {
  while (!bytes.empty()) {
    const size_t end = bytes.find('\n');
    const std::string_view piece = bytes.substr(0, end);
    too_long_ = too_long_ || line_.size() + piece.size() > kMaxLine;
    if (too_long_) {
      line_.clear();
    } else {
      line_ += piece;
    }
    if (end == std::string_view::npos) return;
    bytes.remove_prefix(end + 1);
    std::string line = std::exchange(line_, {});
    if (!std::exchange(too_long_, false)) Read(line, on_request);
  }
}

}  // namespace vck::guestos
