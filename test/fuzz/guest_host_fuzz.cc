#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

#include "guestos/netlink.h"
#include "guestos/virtio_port.h"
#include "guestos/vmware_rpc.h"
#include "guestos/vmware_tools.h"

namespace {

// A host that answers each backdoor call with whatever comes next.
class WildHost : public vck::guestos::Backdoor {
 public:
  explicit WildHost(std::string_view bytes) : bytes_(bytes) {}
  void Call(vck::guestos::BackdoorRegisters* r) override {
    r->cx = uint64_t{Next()} << 16;
    r->dx = uint64_t{Next() % 4U} << 16;
    r->bx = Next();
    if (r->bx == 0xFF) r->bx = 0xFFFFFFFF;
  }
  void SendBytes(vck::guestos::BackdoorRegisters* r) override { r->bx = uint64_t{Next()} << 16; }
  void ReceiveBytes(vck::guestos::BackdoorRegisters* r) override {
    std::memset(reinterpret_cast<void*>(r->di), Next(), r->cx);  // NOLINT(performance-no-int-to-ptr): a register
    r->bx = uint64_t{Next()} << 16;
  }

 private:
  uint8_t Next() {
    if (bytes_.empty()) return 0;
    const auto out = static_cast<uint8_t>(bytes_.front());
    bytes_.remove_prefix(1);
    return out;
  }
  std::string_view bytes_;
};

}  // namespace

// What a hypervisor (or who pretends to be one) may say to a guest.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace vck::guestos;  // NOLINT
  const std::string_view text(reinterpret_cast<const char*>(data), size);

  VmwareTools tools;
  tools.SetNet({.host_name = "web-0", .mac = "00:50:56:00:00:01", .addresses = {"10.1.2.3/20"}});
  if (tools.OnRequest(text).reply.empty()) std::abort();
  tools.SetNet({.mac = "m", .addresses = {std::string(text)}});

  (void)ParseRpciReply(text);
  auto packet_size = PacketSize(text);
  (void)packet_size;
  auto payload = DecodePacket(text);
  if (payload.ok() && DecodePacket(EncodePacket(*payload, false)).value_or("\xFF") != *payload) std::abort();
  (void)netlink::ParseAck(text, 1);

  PortReader whole, pieces;
  int one = 0, two = 0;
  whole.Feed(text, [&](PowerRequest) { ++one; });
  for (char c : text) pieces.Feed({&c, 1}, [&](PowerRequest) { ++two; });
  if (one != two) std::abort();

  WildHost host(text);
  MessageChannel channel(&host, MessageChannel::kRpci);
  for (int i = 0; i < 4; ++i) {
    if (!channel.open() && !channel.Open().ok()) continue;
    (void)channel.Send(text.substr(0, 64));
    (void)channel.Receive();
  }
  return 0;
}
