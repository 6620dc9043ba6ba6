// SOAP 1.1 envelopes of the vim25 binding.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/status.h"
#include "vimtypes/faults.h"
#include "vimtypes/wire.h"

namespace vck::vimtypes {

// A whole request around a method's element.
std::string Envelope(std::string_view body);

// A parsed response, which owns its text and tree.
class Reply {
 public:
  // An error for what is no SOAP response, and for a fault (see faults.h). `body` is parsed in place.
  static StatusOr<Reply> Parse(std::string body);
  Reply(Reply&&) noexcept;
  Reply& operator=(Reply&&) noexcept;
  ~Reply();

  // The `<XxxResponse>` element.
  [[nodiscard]] pugi::xml_node root() const;
  // Its first `<returnval>`; empty where the method returned nothing.
  [[nodiscard]] pugi::xml_node returnval() const;

 private:
  struct Impl;
  explicit Reply(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// A method's outcome: Status where it returns nothing, else StatusOr.
template <class Result>
struct OutcomeOf {
  using type = StatusOr<Result>;
};
template <>
struct OutcomeOf<void> {
  using type = Status;
};
template <class Result>
using Outcome = typename OutcomeOf<Result>::type;

// What a reply returns. Internal when a required value is absent or malformed. Instantiated (results.gen.cc) for every
// result type of methods.gen.h.
template <class Result>
Outcome<Result> Decode(const Reply& reply);
template <>
inline Status Decode<void>(const Reply& /*reply*/) {
  return absl::OkStatus();
}

// An object that came as anyType (a task's result, a property), as its type. Instantiated for those that come so.
template <class Object>
StatusOr<Object> FromRaw(const RawXml& raw);

}  // namespace vck::vimtypes
