#include "guestos/vmware_rpc.h"

#include <algorithm>
#include <array>
#include <cstring>

#include <cpuid.h>

#include "absl/strings/match.h"
#include "absl/strings/strip.h"

namespace vck::guestos {
namespace {

// backdoor_def.h, guest_msg_def.h
constexpr uint32_t kMagic = 0x564D5868;
constexpr uint16_t kPort = 0x5658;
constexpr uint16_t kBytesPort = 0x5659;
constexpr uint16_t kCommandMessage = 30;
constexpr uint32_t kFlagCookie = 0x80000000;
enum MessageType : uint16_t { kOpen, kSendSize, kSendPayload, kReceiveSize, kReceivePayload, kReceiveStatus, kClose };
enum MessageStatus : uint16_t {
  kSuccess = 0x01,
  kDoReceive = 0x02,
  kCheckpoint = 0x10,  // the VM was moved or restored in between: once more
  kHighBandwidth = 0x80
};
constexpr int kMaxTries = 8;

constexpr uint16_t High(uint64_t value) { return static_cast<uint16_t>(value >> 16); }
constexpr uint64_t Halves(uint16_t high, uint16_t low) { return static_cast<uint64_t>(high) << 16 | low; }

Status Broken(std::string_view what) { return absl::UnavailableError(absl::StrCat("VMware backdoor: ", what)); }

class RealBackdoor : public Backdoor {
 public:
  void Call(BackdoorRegisters* r) override {
    asm volatile("inl %%dx, %%eax"
                 : "+a"(r->ax), "+b"(r->bx), "+c"(r->cx), "+d"(r->dx), "+S"(r->si), "+D"(r->di)
                 :
                 : "memory", "cc");
  }
  // rbp carries half of the cookie, and the compiler has its own use for it; below the stack pointer may be its data.
  void SendBytes(BackdoorRegisters* r) override {
    asm volatile(
        "leaq -128(%%rsp), %%rsp\n\tpushq %%rbp\n\tmovq %[bp], %%rbp\n\tcld\n\trep outsb\n\t"
        "popq %%rbp\n\tleaq 128(%%rsp), %%rsp"
        : "+a"(r->ax), "+b"(r->bx), "+c"(r->cx), "+d"(r->dx), "+S"(r->si), "+D"(r->di)
        : [bp] "r"(r->bp)
        : "memory", "cc");
  }
  void ReceiveBytes(BackdoorRegisters* r) override {
    asm volatile(
        "leaq -128(%%rsp), %%rsp\n\tpushq %%rbp\n\tmovq %[bp], %%rbp\n\tcld\n\trep insb\n\t"
        "popq %%rbp\n\tleaq 128(%%rsp), %%rsp"
        : "+a"(r->ax), "+b"(r->bx), "+c"(r->cx), "+d"(r->dx), "+S"(r->si), "+D"(r->di)
        : [bp] "r"(r->bp)
        : "memory", "cc");
  }
};

// DataMap: numbers are big endian; of 64 bits, the low half comes first.
constexpr uint32_t kTypeInt64 = 1, kTypeString = 2, kTypeInt64List = 3, kTypeStringList = 4;
constexpr uint32_t kFieldType = 1, kFieldPayload = 2, kFieldFastClose = 3;
constexpr uint32_t kPacketData = 1;
constexpr size_t kMaxPacket = size_t{1} << 20;

void Put(std::string* out, uint32_t value) {
  for (int shift : {24, 16, 8, 0}) out->push_back(static_cast<char>(value >> shift & 0xFF));
}
bool Take(std::string_view* in, uint32_t* value) {
  if (in->size() < sizeof *value) return false;
  *value = 0;
  for (char c : in->substr(0, sizeof *value)) *value = *value << 8 | static_cast<unsigned char>(c);
  in->remove_prefix(sizeof *value);
  return true;
}
bool TakeString(std::string_view* in, std::string_view* value) {
  uint32_t size = 0;
  if (!Take(in, &size) || size > in->size()) return false;
  *value = in->substr(0, size);
  in->remove_prefix(size);
  return true;
}
void PutNumber(std::string* out, uint32_t field, uint32_t value) {
  for (uint32_t v : {kTypeInt64, field, value, uint32_t{0}}) Put(out, v);
}

}  // namespace

std::unique_ptr<Backdoor> MakeBackdoor() { return std::make_unique<RealBackdoor>(); }

bool IsVmware() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  constexpr unsigned kHypervisorBit = 1U << 31, kHypervisorLeaf = 0x40000000;
  if (__get_cpuid(1, &a, &b, &c, &d) == 0 || (c & kHypervisorBit) == 0) return false;
  __cpuid(kHypervisorLeaf, a, b, c, d);
  std::array<char, 12> name{};
  std::memcpy(name.data(), &b, sizeof b);
  std::memcpy(name.data() + 4, &c, sizeof c);
  std::memcpy(name.data() + 8, &d, sizeof d);
  return std::string_view(name.data(), name.size()) == "VMwareVMware";
}

BackdoorRegisters MessageChannel::Call(uint16_t type, uint32_t size) {
  BackdoorRegisters r{.ax = kMagic,
                      .bx = size,
                      .cx = Halves(type, kCommandMessage),
                      .dx = Halves(id_, kPort),
                      .si = cookie_high_,
                      .di = cookie_low_};
  backdoor_->Call(&r);
  return r;
}

Status MessageChannel::Open() {
  Close();
  id_ = 0;
  cookie_high_ = cookie_low_ = 0;
  // Hosts before ESX 3 know no cookies.
  for (uint32_t flags : {kFlagCookie, uint32_t{0}}) {
    const BackdoorRegisters r = Call(kOpen, protocol_ | flags);
    if ((High(r.cx) & kSuccess) == 0) continue;
    id_ = High(r.dx);
    if (flags != 0) {
      cookie_high_ = static_cast<uint32_t>(r.si);
      cookie_low_ = static_cast<uint32_t>(r.di);
    }
    open_ = true;
    return absl::OkStatus();
  }
  return Broken("no channel");
}

void MessageChannel::Close() {
  if (open_) Call(kClose, 0);
  open_ = false;
}

Status MessageChannel::Send(std::string_view message) {
  if (!open_) return Broken("not open");
  for (int i = 0; i < kMaxTries; ++i) {
    bool again = false;
    Status status = SendOnce(message, &again);
    if (!again) return status;
  }
  return Broken("the VM is moved all the time");
}

Status MessageChannel::SendOnce(std::string_view message, bool* again) {
  BackdoorRegisters r = Call(kSendSize, static_cast<uint32_t>(message.size()));
  if ((High(r.cx) & kSuccess) == 0) return Broken("not sent");
  if ((High(r.cx) & kHighBandwidth) != 0) {
    if (message.empty()) return absl::OkStatus();
    BackdoorRegisters bytes{.ax = kMagic,
                            .bx = Halves(kSuccess, 0),
                            .cx = message.size(),
                            .dx = Halves(id_, kBytesPort),
                            .si = reinterpret_cast<uintptr_t>(message.data()),
                            .di = cookie_low_,
                            .bp = cookie_high_};
    backdoor_->SendBytes(&bytes);
    if ((High(bytes.bx) & kSuccess) != 0) return absl::OkStatus();
    *again = (High(bytes.bx) & kCheckpoint) != 0;
    return Broken("not sent");
  }
  while (!message.empty()) {
    uint32_t piece = 0;
    const size_t n = std::min(message.size(), sizeof piece);
    std::memcpy(&piece, message.data(), n);
    message.remove_prefix(n);
    r = Call(kSendPayload, piece);
    if ((High(r.cx) & kSuccess) == 0) {
      *again = (High(r.cx) & kCheckpoint) != 0;
      return Broken("not sent");
    }
  }
  return absl::OkStatus();
}

StatusOr<std::optional<std::string>> MessageChannel::Receive() {
  if (!open_) return Broken("not open");
  for (int i = 0; i < kMaxTries; ++i) {
    bool again = false;
    auto message = ReceiveOnce(&again);
    if (!again) return message;
  }
  return Broken("the VM is moved all the time");
}

StatusOr<std::optional<std::string>> MessageChannel::ReceiveOnce(bool* again) {
  BackdoorRegisters r = Call(kReceiveSize, 0);
  if ((High(r.cx) & kSuccess) == 0) return Broken("nothing received");
  if ((High(r.cx) & kDoReceive) == 0) return std::optional<std::string>();
  if (High(r.dx) != kSendSize) return Broken("a size was to come");
  const auto size = static_cast<uint32_t>(r.bx);
  if (size > kMaxMessage) {
    Call(size == 0 ? kReceiveStatus : kReceivePayload, 0);  // not taken
    return absl::InvalidArgumentError(absl::StrCat("VMware backdoor: a message of ", size, " bytes"));
  }
  std::string out(size, '\0');
  if ((High(r.cx) & kHighBandwidth) != 0) {
    if (size > 0) {
      BackdoorRegisters bytes{.ax = kMagic,
                              .bx = Halves(kSuccess, 0),
                              .cx = size,
                              .dx = Halves(id_, kBytesPort),
                              .si = cookie_high_,
                              .di = reinterpret_cast<uintptr_t>(out.data()),
                              .bp = cookie_low_};
      backdoor_->ReceiveBytes(&bytes);
      if ((High(bytes.bx) & kSuccess) == 0) {
        *again = (High(bytes.bx) & kCheckpoint) != 0;
        if (!*again) Call(kReceivePayload, 0);
        return Broken("message cut off");
      }
    }
  } else {
    for (size_t done = 0; done < size;) {
      r = Call(kReceivePayload, kSuccess);
      if ((High(r.cx) & kSuccess) == 0) {
        *again = (High(r.cx) & kCheckpoint) != 0;
        return Broken("message cut off");
      }
      if (High(r.dx) != kSendPayload) {
        Call(kReceivePayload, 0);
        return Broken("a piece of a message was to come");
      }
      const auto piece = static_cast<uint32_t>(r.bx);
      const size_t n = std::min(size - done, sizeof piece);
      std::memcpy(out.data() + done, &piece, n);
      done += n;
    }
  }
  r = Call(kReceiveStatus, kSuccess);
  if ((High(r.cx) & kSuccess) == 0) {
    *again = (High(r.cx) & kCheckpoint) != 0;
    return Broken("message not confirmed");
  }
  return std::optional<std::string>(std::move(out));
}

std::string EncodePacket(std::string_view payload, bool fast_close) {
  std::string content;
  PutNumber(&content, kFieldType, kPacketData);
  Put(&content, kTypeString);
  Put(&content, kFieldPayload);
  Put(&content, static_cast<uint32_t>(payload.size()));
  content += payload;
  if (fast_close) PutNumber(&content, kFieldFastClose, 1);
  std::string out;
  Put(&out, static_cast<uint32_t>(content.size()));
  return out + content;
}

StatusOr<size_t> PacketSize(std::string_view head) {
  uint32_t size = 0;
  if (!Take(&head, &size)) return 0;
  if (size > kMaxPacket) return absl::InvalidArgumentError(absl::StrCat("VMware vsock: a packet of ", size, " bytes"));
  return sizeof size + size;
}

StatusOr<std::string> DecodePacket(std::string_view packet) {
  Status bad = absl::InvalidArgumentError("VMware vsock: a packet that cannot be read");
  uint32_t size = 0;
  if (!Take(&packet, &size) || size != packet.size()) return bad;
  std::optional<std::string> payload;
  while (!packet.empty()) {
    uint32_t type = 0, field = 0, count = 0, number = 0;
    std::string_view text;
    if (!Take(&packet, &type) || !Take(&packet, &field)) return bad;
    switch (type) {
      case kTypeInt64:
        if (!Take(&packet, &number) || !Take(&packet, &number)) return bad;
        break;
      case kTypeString:
        if (!TakeString(&packet, &text)) return bad;
        if (field == kFieldPayload) payload = text;
        break;
      case kTypeInt64List:
        if (!Take(&packet, &count)) return bad;
        for (uint32_t i = 0; i < count; ++i) {
          if (!Take(&packet, &number) || !Take(&packet, &number)) return bad;
        }
        break;
      case kTypeStringList:
        if (!Take(&packet, &count)) return bad;
        for (uint32_t i = 0; i < count; ++i) {
          if (!TakeString(&packet, &text)) return bad;
        }
        break;
      default:
        return bad;
    }
  }
  if (!payload.has_value()) return bad;
  return *std::move(payload);
}

StatusOr<std::string> ParseRpciReply(std::string_view reply) {
  // The VMX ends text with a NUL as it likes.
  while (absl::ConsumeSuffix(&reply, std::string_view("\0", 1))) {
  }
  if (absl::ConsumePrefix(&reply, "1 ") || reply == "1") return std::string(reply == "1" ? "" : reply);
  if (!absl::ConsumePrefix(&reply, "0 ") && reply != "0") {
    return absl::InternalError("VMware RPCI: a reply that cannot be read");
  }
  if (absl::StartsWith(reply, "No value found")) return absl::NotFoundError(reply);
  if (absl::StrContains(reply, "Permission denied")) return absl::PermissionDeniedError(reply);
  return absl::InternalError(absl::StrCat("VMware RPCI: ", reply));
}

}  // namespace vck::guestos
