#include "vimtypes/soap.h"

#include <utility>

#include <pugixml.hpp>

#include "absl/strings/str_cat.h"
#include "vimtypes/wire_impl.h"

namespace vck::vimtypes {
namespace {

constexpr std::string_view kHead =
    "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
    "<soapenv:Envelope xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\" "
    "xmlns:xsd=\"http://www.w3.org/2001/XMLSchema\" xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\">"
    "<soapenv:Body>";
constexpr std::string_view kTail = "</soapenv:Body></soapenv:Envelope>";

// White space counts when it is all that a value has ("a" key set to " "), comments and declarations never.
constexpr unsigned kParse = pugi::parse_escapes | pugi::parse_cdata | pugi::parse_eol | pugi::parse_wconv_attribute |
                            pugi::parse_ws_pcdata_single;

}  // namespace

struct Reply::Impl {
  std::string text;
  pugi::xml_document document;
  pugi::xml_node root;
};

Reply::Reply(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Reply::Reply(Reply&&) noexcept = default;
Reply& Reply::operator=(Reply&&) noexcept = default;
Reply::~Reply() = default;

std::string Envelope(std::string_view body) {
  std::string out;
  out.reserve(kHead.size() + body.size() + kTail.size());
  out += kHead;
  out += body;
  out += kTail;
  return out;
}

StatusOr<Reply> Reply::Parse(std::string body) {
  auto impl = std::make_unique<Impl>();
  impl->text = std::move(body);
  pugi::xml_parse_result parsed =
      impl->document.load_buffer_inplace(impl->text.data(), impl->text.size(), kParse, pugi::encoding_utf8);
  if (!parsed) {
    return absl::InternalError(absl::StrCat("response is not XML: ", parsed.description(), " at byte ", parsed.offset));
  }
  pugi::xml_node envelope = impl->document.document_element();
  pugi::xml_node content = Child(envelope, "Body").first_child();
  if (LocalName(envelope) != "Envelope" || !content) return absl::InternalError("response is not a SOAP envelope");
  if (LocalName(content) == "Fault") {
    pugi::xml_node detail = Child(content, "detail").first_child();
    Fault fault;
    if (detail) fault = GetFault(detail);
    if (fault.type.empty()) fault.type = LocalName(Text(Child(content, "faultcode")));
    fault.message = Text(Child(content, "faultstring"));
    return FaultStatus(fault);
  }
  impl->root = content;
  return Reply(std::move(impl));
}

pugi::xml_node Reply::root() const { return impl_->root; }
pugi::xml_node Reply::returnval() const { return Child(impl_->root, "returnval"); }

}  // namespace vck::vimtypes
