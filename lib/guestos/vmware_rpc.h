// How bytes get to a VM's VMX: the backdoor's message channels (open-vm-tools lib/message), and packets over vsock
// (lib/rpcChannel/simpleSocket.c, lib/dataMap).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/status.h"

namespace vck::guestos {

// The registers of one backdoor call.
struct BackdoorRegisters {
  uint64_t ax = 0, bx = 0, cx = 0, dx = 0, si = 0, di = 0, bp = 0;
};

// The port that VMware watches; tests have a host of their own behind it.
class Backdoor {
 public:
  virtual ~Backdoor() = default;
  virtual void Call(BackdoorRegisters* r) = 0;          // in eax, dx
  virtual void SendBytes(BackdoorRegisters* r) = 0;     // rep outsb: cx bytes at si
  virtual void ReceiveBytes(BackdoorRegisters* r) = 0;  // rep insb: cx bytes to di
};
// The real one. Only where IsVmware(): elsewhere the instruction is a fault.
std::unique_ptr<Backdoor> MakeBackdoor();
// Asks the processor (CPUID leaf 0x40000000).
bool IsVmware();

// A message channel to the VMX. Calls take microseconds and block.
class MessageChannel {
 public:
  static constexpr uint32_t kRpci = 0x49435052;  // guest asks
  static constexpr uint32_t kTclo = 0x4F4C4354;  // host asks

  MessageChannel(Backdoor* backdoor, uint32_t protocol) : backdoor_(backdoor), protocol_(protocol) {}
  ~MessageChannel() { Close(); }
  MessageChannel(const MessageChannel&) = delete;
  MessageChannel& operator=(const MessageChannel&) = delete;

  // Unavailable when the host gives no channel (there are eight).
  Status Open();
  void Close();
  [[nodiscard]] bool open() const { return open_; }
  // Unavailable: the channel is broken; close it and open it again.
  Status Send(std::string_view message);
  // nullopt: nothing is there. Larger than kMaxMessage: InvalidArgument, and the message is thrown away.
  StatusOr<std::optional<std::string>> Receive();

  static constexpr size_t kMaxMessage = size_t{64} * 1024;

 private:
  BackdoorRegisters Call(uint16_t type, uint32_t size);
  Status SendOnce(std::string_view message, bool* again);
  StatusOr<std::optional<std::string>> ReceiveOnce(bool* again);

  Backdoor* backdoor_;
  uint32_t protocol_;
  bool open_ = false;
  uint16_t id_ = 0;
  uint32_t cookie_high_ = 0, cookie_low_ = 0;
};

// A vsock packet with an RPCI command, length and all. `fast_close`: the host closes after its reply.
std::string EncodePacket(std::string_view payload, bool fast_close);
// How long the packet is that begins with these bytes, its length field included; 0: that takes more bytes.
// InvalidArgument when no packet is so long.
StatusOr<size_t> PacketSize(std::string_view head);
// The payload of a whole packet.
StatusOr<std::string> DecodePacket(std::string_view packet);

// "1 value" is a value, "0 reason" an error (NotFound for "No value found", PermissionDenied, else Internal).
StatusOr<std::string> ParseRpciReply(std::string_view reply);

}  // namespace vck::guestos
