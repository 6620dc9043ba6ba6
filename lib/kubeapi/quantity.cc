#include "kubeapi/quantity.h"

#include <algorithm>
#include <limits>

#include "absl/strings/numbers.h"

namespace vck::kubeapi {
namespace {

__extension__ using Int128 = __int128;
constexpr Int128 kNano = 1'000'000'000;
constexpr Int128 kMilli = 1'000'000;
constexpr int64_t kInt64Max = std::numeric_limits<int64_t>::max();
// The largest value kept: int64 units.
constexpr Int128 kMax = Int128{kInt64Max} * kNano;

Status Malformed(std::string_view text) {
  return absl::InvalidArgumentError(
      absl::StrCat("\"", text.substr(0, 64),
                   "\" is not a quantity: expected a number with an optional suffix such as m, k, M, Gi or e3"));
}

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

// The suffix as a power of ten or of two. False if there is no such suffix.
bool ParseSuffix(std::string_view suffix, int64_t* exponent10, int* exponent2) {
  static constexpr struct {
    std::string_view text;
    int ten, two;
  } kSuffixes[] = {{"", 0, 0},    {"n", -9, 0},  {"u", -6, 0},  {"m", -3, 0}, {"k", 3, 0},   {"M", 6, 0},
                   {"G", 9, 0},   {"T", 12, 0},  {"P", 15, 0},  {"E", 18, 0}, {"Ki", 0, 10}, {"Mi", 0, 20},
                   {"Gi", 0, 30}, {"Ti", 0, 40}, {"Pi", 0, 50}, {"Ei", 0, 60}};
  for (const auto& s : kSuffixes) {
    if (s.text == suffix) {
      *exponent10 = s.ten;
      *exponent2 = s.two;
      return true;
    }
  }
  if (suffix.size() < 2 || (suffix[0] != 'e' && suffix[0] != 'E')) return false;
  std::string_view digits = suffix.substr(1);
  const bool negative = digits[0] == '-';
  if (negative || digits[0] == '+') digits.remove_prefix(1);
  if (digits.empty() || !std::all_of(digits.begin(), digits.end(), IsDigit)) return false;
  if (!absl::SimpleAtoi(digits, exponent10) || *exponent10 > 1'000'000) return false;
  if (negative) *exponent10 = -*exponent10;
  *exponent2 = 0;
  return true;
}

// digits * 10^exponent10 * 2^exponent2 in nano, away from zero, saturating.
Int128 Scale(std::string_view digits, int64_t exponent10, int exponent2) {
  while (!digits.empty() && digits.front() == '0') digits.remove_prefix(1);
  if (digits.empty()) return 0;
  exponent10 += 9;
  // Digits beyond what fits count only as "a little more".
  bool rest = false;
  Int128 value = 0;
  size_t used = 0;
  for (; used < digits.size() && used < 29; ++used) value = value * 10 + (digits[used] - '0');
  for (size_t i = used; i < digits.size(); ++i) {
    rest |= digits[i] != '0';
    ++exponent10;
  }
  // The power of two first: it may make a fraction whole. Limits keep every product within 127 bits.
  int twos = exponent2;
  while (twos > 0 && value < (Int128{1} << 100)) {
    value <<= 1;
    --twos;
  }
  while (exponent10 < 0 && value != 0) {
    rest |= value % 10 != 0;
    value /= 10;
    ++exponent10;
    while (twos > 0 && value < (Int128{1} << 100)) {
      value <<= 1;
      --twos;
    }
  }
  if (value == 0) return 1;  // too small for a nano, but not nothing
  if (twos > 0) return kMax;
  for (; exponent10 > 0; --exponent10) {
    if (value > kMax / 10) return kMax;
    value *= 10;
  }
  if (rest) ++value;
  return std::min(value, kMax);
}

int64_t DivideUp(Int128 nano, Int128 unit) {
  Int128 quotient = nano / unit;
  const Int128 rest = nano % unit;
  if (rest > 0) ++quotient;
  if (rest < 0) --quotient;
  if (quotient > kInt64Max) return kInt64Max;
  if (quotient < std::numeric_limits<int64_t>::min()) return std::numeric_limits<int64_t>::min();
  return static_cast<int64_t>(quotient);
}

std::string Decimal(Int128 value) {
  if (value == 0) return "0";
  std::string out;
  const bool negative = value < 0;
  for (; value != 0; value /= 10) {
    int digit = static_cast<int>(value % 10);
    out += static_cast<char>('0' + (digit < 0 ? -digit : digit));
  }
  if (negative) out += '-';
  std::reverse(out.begin(), out.end());
  return out;
}

}  // namespace

Quantity Quantity::FromValue(int64_t value) { return Quantity(Int128{value} * kNano); }
Quantity Quantity::FromMilli(int64_t milli) { return Quantity(Int128{milli} * kMilli); }

StatusOr<Quantity> Quantity::Parse(std::string_view text) {
  if (text.empty()) return Malformed(text);
  std::string_view rest = text;
  const bool negative = rest.front() == '-';
  if (negative || rest.front() == '+') rest.remove_prefix(1);
  auto take_digits = [&rest] {
    size_t n = 0;
    while (n < rest.size() && IsDigit(rest[n])) ++n;
    std::string_view digits = rest.substr(0, n);
    rest.remove_prefix(n);
    return digits;
  };
  std::string digits(take_digits());
  int64_t fraction = 0;
  if (!rest.empty() && rest.front() == '.') {
    rest.remove_prefix(1);
    std::string_view after = take_digits();
    fraction = static_cast<int64_t>(after.size());
    digits += after;
  }
  int64_t exponent10 = 0;
  int exponent2 = 0;
  if (digits.empty() || !ParseSuffix(rest, &exponent10, &exponent2)) return Malformed(text);
  // Twice the power of two is never needed: 60 bits and 29 digits (the largest value in nanos has 28) fit.
  Int128 nano = Scale(digits, exponent10 - fraction, exponent2);
  return Quantity(negative ? -nano : nano);
}

StatusOr<Quantity> Quantity::Parse(const json::Value& value) {
  if (value.is_string()) return Parse(json::AsString(value));
  if (value.is_int64()) return FromValue(value.get_int64());
  if (value.is_number()) return Parse(json::Serialize(value));
  return absl::InvalidArgumentError("a quantity must be a string or a number");
}

int64_t Quantity::Value() const { return DivideUp(nano_, kNano); }
int64_t Quantity::MilliValue() const { return DivideUp(nano_, kMilli); }

Quantity& Quantity::operator+=(Quantity other) {
  nano_ = std::clamp(nano_ + other.nano_, -kMax, kMax);
  return *this;
}

Quantity& Quantity::operator-=(Quantity other) {
  nano_ = std::clamp(nano_ - other.nano_, -kMax, kMax);
  return *this;
}

std::string Quantity::ToString() const {
  static constexpr std::string_view kSuffixes[] = {"n", "u", "m", "", "k", "M", "G", "T", "P", "E"};
  if (nano_ == 0) return "0";
  Int128 value = nano_;
  size_t at = 0;
  while (at + 1 < std::size(kSuffixes) && value % 1000 == 0) {
    value /= 1000;
    ++at;
  }
  return Decimal(value).append(kSuffixes[at]);
}

std::string Quantity::ToBinaryString() const {
  static constexpr std::string_view kSuffixes[] = {"", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"};
  if (nano_ == 0 || nano_ % kNano != 0) return ToString();
  Int128 value = nano_ / kNano;
  size_t at = 0;
  while (at + 1 < std::size(kSuffixes) && value % 1024 == 0) {
    value /= 1024;
    ++at;
  }
  return Decimal(value).append(kSuffixes[at]);
}

}  // namespace vck::kubeapi
