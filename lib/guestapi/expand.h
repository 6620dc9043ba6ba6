// $(NAME) in commands, arguments and values of variables (k8s.io/kubernetes third_party/forked/golang/expansion).
#pragma once

#include <functional>
#include <string>
#include <string_view>

namespace vck::guestapi {

// The value of a variable; null: there is none of that name.
using Lookup = std::function<const std::string*(std::string_view)>;
using NameSet = std::function<bool(std::string_view)>;

// $(NAME) becomes its value, $$ is $, anything else stays.
std::string Expand(std::string_view text, const Lookup& env);

// The same in two steps, for when the variables in `later` get their values only then: the result still has to be
// expanded with these, and with no others.
std::string ExpandExcept(std::string_view text, const NameSet& later, const Lookup& env);

// True if it holds a $(NAME) of one of them.
bool RefersTo(std::string_view text, const NameSet& names);

// What expands to `text`.
std::string EscapeDollars(std::string_view text);

}  // namespace vck::guestapi
